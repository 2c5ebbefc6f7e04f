import { engineDefinition } from '../engines/registry.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { silentLogger } from '../lib/log.ts';
import type { Kind, Resource } from '../model/kinds.ts';
import { finalizers } from '../model/names.ts';
import type { OrphanSnapshot, OrphanVolume } from '../model/orphans.ts';
import type { PoolSpec, PoolStatus } from '../model/pool.ts';
import { change, changeStatus } from '../store/change.ts';
import { createInformer, type Informer } from '../store/informer.ts';
import { openScratchStore, type ScratchStore, untilObject } from '../store/scratch.ts';
import type { Store } from '../store/store.ts';
import { createControllers } from './controllers.ts';
import type { Controllers, NodeSide } from './deps.ts';
import { createOperations } from './operations/index.ts';
import type { Operations } from './operations.ts';

const gibibyte = 2 ** 30;

/** For unit tests: the controllers and operations with a real store, and agents that do at once what they are told. */
export class ControlFixture {
  readonly store: Store;
  readonly controllers: Controllers;
  readonly operations: Operations;
  /** Nodes that were not heard of for so many milliseconds. */
  readonly silent = new Map<string, number>();
  /** Names of objects that the agents leave as they are. */
  readonly stuck = new Set<string>();
  /** What the agents have let go, and whether its data went too. */
  readonly released: { readonly kind: string; readonly name: string; readonly purged: boolean }[] = [];
  /** What lies on pools without objects, by their names; an agent that is asked leaves out what has objects now. */
  readonly orphans = new Map<string, { volumes: OrphanVolume[]; snapshots: OrphanSnapshot[] }>();
  readonly #scratch: ScratchStore;
  readonly #agents: { close(): Promise<void> }[];

  private constructor(scratch: ScratchStore, clock: Clock, answersForAll: boolean) {
    const { store } = scratch;
    this.store = store;
    this.#scratch = scratch;
    const deps = { store, clock, log: silentLogger, engines: engineDefinition };
    this.controllers = createControllers(deps);
    const side: NodeSide = {
      inspectPool: async () => ({ plan: ['make it'], capacityBytes: 10 * gibibyte, existing: false, warnings: [] }),
      checkMountPoint: async () => {},
    };
    const node = (name: string) => (answersForAll || name === 'here' ? side : undefined);
    this.operations = createOperations({
      ...deps,
      view: { ...this.controllers.view, silentMs: (name) => this.silent.get(name) ?? 0 },
      nodeName: 'here',
      version: 'test',
      node,
    });
    this.#agents = this.#startAgents();
  }

  /** @param options.answersForAll it answers for other nodes as well, as the controller of a cluster does */
  static async open(
    options: {
      readonly clock?: Clock;
      readonly pools?: readonly string[];
      readonly store?: Store;
      readonly answersForAll?: boolean;
    } = {},
  ): Promise<ControlFixture> {
    const scratch = await openScratchStore(options.store);
    const fixture = new ControlFixture(scratch, options.clock ?? systemClock, options.answersForAll ?? false);
    await fixture.addNode('here');
    for (const name of options.pools ?? ['main']) await fixture.addPool(name);
    await fixture.controllers.start();
    return fixture;
  }

  async close(): Promise<void> {
    await this.controllers.stop(1_000);
    for (const agent of this.#agents) await agent.close();
    await this.#scratch.close();
  }

  async addNode(name: string): Promise<void> {
    await this.store.create({ kind: 'Node', metadata: { name }, spec: {}, status: { phase: 'Ready' } });
  }

  async addPool(name: string, status: Partial<PoolStatus> = {}, spec: Partial<PoolSpec> = {}): Promise<void> {
    await this.store.create({
      kind: 'Pool',
      metadata: { name },
      spec: { nodeName: 'here', source: { kind: 'directory', path: `/pools/${name}` }, ...spec },
      status: { phase: 'Ready', poolId: name, capacityBytes: 10 * gibibyte, freeBytes: 10 * gibibyte, ...status },
    });
  }

  /** Waits until an object is as the test wants it. @throws with the object as it is, after some seconds */
  async until<K extends Kind>(
    kind: K,
    name: string,
    test: (object: Resource<K> | undefined) => boolean,
  ): Promise<Resource<K> | undefined> {
    return untilObject(this.store, kind, name, test);
  }

  async volume(name: string, sizeBytes = gibibyte): Promise<Resource<'Volume'>> {
    await this.operations.createVolume({ name, sizeBytes });
    await this.ready(name);
    return this.store.get('Volume', name);
  }

  /** Makes a Volume go while its copy stays: it is attached, so that its controller waits with the deletion. */
  async removeByForce(name: string): Promise<void> {
    await this.operations.attachVolume(name, {
      ...{ nodeName: 'here', access: 'filesystem', readOnly: false, mountOptions: [], observeRequestId: 'force' },
    });
    await this.store.delete('Volume', name);
    await change(this.store, 'Volume', name, () => ({ metadata: { finalizers: [] } }));
  }

  async ready(name: string): Promise<void> {
    await this.until('Volume', name, (volume) => volume?.status.phase === 'Ready');
  }

  #startAgents(): Informer<Kind>[] {
    const replicas = createInformer(this.store, 'Replica');
    replicas.onChange(({ object, type }) => {
      const { metadata, spec, status } = object;
      if (type === 'deleted' || this.stuck.has(metadata.name)) return;
      if (metadata.deletionTimestamp) void this.#release('Replica', metadata.name);
      else if (status.observedGeneration !== metadata.generation)
        void changeStatus(this.store, 'Replica', metadata.name, () => ({
          phase: spec.recycled ? ('Recycled' as const) : ('Ready' as const),
          sizeBytes: spec.sizeBytes,
          observedGeneration: metadata.generation,
          ...(spec.restore ? { restoredRequestId: spec.restore.requestId } : {}),
          ...(spec.repair ? { repair: { requestId: spec.repair.requestId, outcome: 'clean' } } : {}),
        }));
    });
    const attachments = createInformer(this.store, 'Attachment');
    attachments.onChange(({ object, type }) => {
      const { metadata } = object;
      if (type === 'deleted' || this.stuck.has(metadata.name)) return;
      if (metadata.deletionTimestamp) void this.#release('Attachment', metadata.name);
      else if (object.status.phase !== 'Attached')
        void changeStatus(this.store, 'Attachment', metadata.name, () => ({ phase: 'Attached' as const }));
    });
    const snapshots = createInformer(this.store, 'Snapshot');
    snapshots.onChange(({ object, type }) => {
      const { metadata, spec, status } = object;
      if (type === 'deleted' || this.stuck.has(metadata.name)) return;
      if (metadata.deletionTimestamp) void this.#release('Snapshot', metadata.name);
      else if (spec.snapshotId && !status.readyToUse)
        void changeStatus(this.store, 'Snapshot', metadata.name, () => ({
          phase: 'Ready' as const,
          readyToUse: true,
          sizeBytes: gibibyte,
        }));
    });
    const pools = createInformer(this.store, 'Pool');
    pools.onChange(({ object, type }) => {
      const requestId = object.spec.scan?.requestId;
      if (type !== 'deleted' && requestId !== undefined && requestId !== object.status.orphans?.requestId)
        void this.#scan(object.metadata.name, requestId);
    });
    return [replicas, attachments, snapshots, pools] as unknown as Informer<Kind>[];
  }

  async #scan(poolName: string, requestId: string): Promise<void> {
    const lying = this.orphans.get(poolName) ?? { volumes: [], snapshots: [] };
    const replicas = (await this.store.list('Replica')).items.filter(({ spec }) => spec.poolName === poolName);
    const known = new Set((await this.store.list('Snapshot')).items.map(({ spec }) => spec.snapshotId));
    const volumes = lying.volumes.filter((one) => !replicas.some(({ spec }) => spec.volumeId === one.volumeId));
    const snapshots = lying.snapshots.filter((one) => !known.has(one.snapshotId));
    await changeStatus(this.store, 'Pool', poolName, () => ({
      orphans: {
        scannedAt: new Date().toISOString(),
        requestId,
        volumeCount: volumes.length,
        snapshotCount: snapshots.length,
        sizeBytes: 0,
        volumes,
        snapshots,
      },
    }));
  }

  async #release(kind: 'Replica' | 'Attachment' | 'Snapshot', name: string): Promise<void> {
    const object: Resource<typeof kind> | undefined = await this.store.find(kind, name);
    if (!object?.metadata.finalizers.includes(finalizers.agent)) return;
    this.released.push({ kind, name, purged: 'purge' in object.spec && object.spec.purge === true });
    await change(this.store, kind, name, ({ metadata }) => ({
      metadata: { finalizers: metadata.finalizers.filter((one) => one !== finalizers.agent) },
    }));
  }
}
