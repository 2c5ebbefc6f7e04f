import { FakeClock } from '../../lib/fake-clock.ts';
import type { Class, Pool, Replica, Volume } from '../../model/kinds.ts';
import { annotations, replicaName } from '../../model/names.ts';
import { Policy } from '../../model/policy.ts';
import { VolumeSpec, VolumeStatus } from '../../model/volume.ts';
import { gibibyte, makeNode, makePool } from '../../placement/fixture.ts';
import { Ledger, PoolStock, place, promise, Reservations } from '../../placement/index.ts';
import type { KeptRoom } from '../deps.ts';
import { FakeCache, FakeClaims } from './fake.ts';
import { PodReservations } from './pod-reservations.ts';

const byName = ({ metadata }: { metadata: { name: string } }) => metadata.name;
export const policy = Policy.parse({ provisioning: 'thick' });

/** A call of CreateVolume that has not ended. */
export interface Making {
  readonly name: string;
  readonly size: number;
  readonly nodeName: string;
  readonly kept: KeptRoom | undefined;
  /** The volume is written, and nobody has heard of it yet. */
  written: boolean;
}

/** For unit tests: nodes with a pool each, and a cluster whose claims become volumes when they are asked for, as CSI does it. */
export class World {
  readonly claims = new FakeClaims();
  readonly classes = new FakeCache<Class>(byName);
  readonly volumes = new FakeCache<Volume>(byName);
  readonly clock = new FakeClock();
  readonly pools: readonly Pool[];
  readonly enabled: boolean;
  readonly making: Making[] = [];
  stock!: PoolStock;
  kept!: PodReservations;
  view!: ReturnType<World['makeView']>;

  constructor(freeOfNodes: Readonly<Record<string, number>>, enabled = true) {
    this.enabled = enabled;
    this.pools = Object.entries(freeOfNodes).map(([nodeName, free]) =>
      makePool(`pool-${nodeName}`, { spec: { nodeName }, status: { freeBytes: free * gibibyte } }),
    );
    this.classes.set({
      apiVersion: 'azekura.dev/v1',
      kind: 'Class',
      metadata: makeNode('local').metadata,
      spec: { ...policy, isDefault: true, recycleMs: 0, description: '' },
      status: { volumes: 0 },
    });
    this.claims.classes.set({ metadata: { name: 'fast' }, provisioner: 'csi.azekura.dev' });
    this.start();
  }

  /** A new process: it knows only what objects say. */
  start(): void {
    this.kept?.close();
    // What was written is there, whoever has begun it.
    for (const one of this.making.splice(0)) if (one.written) this.show(one.name, one.size, one.nodeName);
    const ledger = new Ledger();
    this.stock = new PoolStock(ledger);
    for (const pool of this.pools) {
      this.stock.setNode(makeNode(pool.spec.nodeName));
      this.stock.setPool(pool);
    }
    for (const { metadata, spec, status } of this.volumes.list())
      ledger.set(
        promise(replicaName(status.volumeId ?? '', 0), metadata.annotations[annotations.promisedPool] ?? '', spec),
      );
    this.view = this.makeView(ledger);
    this.kept = new PodReservations({
      claims: this.claims,
      view: this.view,
      clock: this.clock,
      enabled: this.enabled,
    });
  }

  makeView(ledger: Ledger) {
    const pools = new FakeCache<Pool>(byName);
    for (const pool of this.pools) pools.set(pool);
    return {
      classes: this.classes as never,
      volumes: this.volumes as never,
      pools: pools as never,
      replicas: new FakeCache<Replica>(byName) as never,
      replicasOf: () => [],
      stock: this.stock,
      ledger,
      reservations: new Reservations(ledger),
    };
  }

  pod(name: string, sizes: readonly number[]): void {
    for (const [index, size] of sizes.entries())
      this.claims.claims.set({
        metadata: { namespace: 'ns', name: `${name}-${index}`, uid: `${name}-${index}` },
        spec: { storageClassName: 'fast', resources: { requests: { storage: `${size}Gi` } } },
      });
    const volumes = sizes.map((_, index) => ({
      name: `v${index}`,
      persistentVolumeClaim: { claimName: `${name}-${index}` },
    }));
    this.claims.pods.set({ metadata: { namespace: 'ns', name }, spec: { volumes } });
  }

  /** CreateVolume for a claim on a node, whole. @returns whether there is a volume now */
  provision(name: string, size: number, nodeName: string): boolean {
    const call = this.begin(name, size, nodeName);
    return call !== undefined && this.goOn(call) && this.goOn(call);
  }

  /** CreateVolume is called. @returns undefined when it is refused */
  begin(name: string, size: number, nodeName: string): Making | undefined {
    try {
      const claim = { sizeBytes: size * gibibyte, policy };
      const kept = this.kept.reserve({ namespace: 'ns', name }, claim, [nodeName]);
      const call = { name, size, nodeName, kept, written: false };
      this.making.push(call);
      return call;
    } catch {
      return undefined;
    }
  }

  /** A call's next step: the volume is written, or there is no room; then the view hears of it. @returns false when it failed */
  goOn(call: Making): boolean {
    const { name, size, nodeName, kept } = call;
    const claim = { sizeBytes: size * gibibyte, policy };
    const end = () => {
      this.making.splice(this.making.indexOf(call), 1);
      kept?.release();
    };
    if (call.written) {
      this.show(name, size, nodeName);
      end();
      return true;
    }
    if (kept) this.view.reservations.delete(kept.key);
    call.written = place({ claims: [claim], nodeNames: [nodeName] }, this.stock).places !== undefined;
    if (call.written) this.view.ledger.set(promise(replicaName(name, 0), `pool-${nodeName}`, claim));
    else end();
    return call.written;
  }

  /** A volume is there: made by this process or by another. */
  bind(name: string, size: number, nodeName: string): void {
    this.view.ledger.set(promise(replicaName(name, 0), `pool-${nodeName}`, { sizeBytes: size * gibibyte, policy }));
    this.show(name, size, nodeName);
  }

  show(name: string, size: number, nodeName: string): void {
    const base = makeNode(`pvc-${name}`).metadata;
    this.volumes.set({
      apiVersion: 'azekura.dev/v1',
      kind: 'Volume',
      metadata: { ...base, annotations: { [annotations.promisedPool]: `pool-${nodeName}` } },
      spec: VolumeSpec.parse({
        sizeBytes: size * gibibyte,
        className: 'local',
        mode: 'filesystem',
        policy,
        claim: { namespace: 'ns', name },
      }),
      status: VolumeStatus.parse({ volumeId: name }),
    });
  }

  free(nodeName: string): number {
    return this.stock.room(`pool-${nodeName}`).thickBytes / gibibyte;
  }

  nodeOf(name: string): string | undefined {
    return this.volumes.get(`pvc-${name}`)?.metadata.annotations[annotations.promisedPool]?.slice('pool-'.length);
  }
}
