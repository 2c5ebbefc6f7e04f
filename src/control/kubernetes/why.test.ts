import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KubeClaim, KubePersistentVolume, KubePod, ObjectReference } from '../../kube/types.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLogger } from '../../lib/log.ts';
import { sameJson } from '../../lib/same-json.ts';
import { type Cause, makeCause } from '../../model/cause.ts';
import { change, changeStatus } from '../../store/change.ts';
import { ControlFixture } from '../fixture.ts';
import { startClaimEvents } from './claim-events.ts';
import { startClaims } from './claims.ts';
import type { KubernetesLooks } from './looks.ts';
import { startLostClaims } from './lost-claims.ts';
import { whyInKubernetes } from './why.ts';

const uid = '297b355a-d1df-4dce-95ce-147bd551cf14';
const volumeName = `pvc-${uid}`;
const claim = { namespace: 'shop', name: 'database' };

class FakeLooks implements KubernetesLooks {
  readonly claims = new Map<string, Omit<KubeClaim, 'metadata'>>();
  labels: Record<string, string> = {};
  readonly known = new Map<string, Omit<KubePersistentVolume, 'metadata'>>();
  readonly pods = new Map<string, Omit<KubePod, 'metadata'>>();
  warning: string | undefined;

  claim = async (namespace: string, name: string) => {
    const claim = this.claims.get(`${namespace}/${name}`);
    return claim && { ...claim, metadata: { name, labels: this.labels } };
  };
  volume = async (name: string) => named(this.known.get(name), name);
  pod = async (namespace: string, name: string) => named(this.pods.get(`${namespace}/${name}`), name);
  lastWarning = async () => this.warning;
  /** Told to whoever follows them. */
  readonly changes: KubePersistentVolume[] = [];
  async *volumes(signal: AbortSignal): AsyncGenerator<KubePersistentVolume> {
    while (!signal.aborted) {
      const next = this.changes.shift();
      if (next) yield next;
      else await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

function named<T extends object>(
  object: T | undefined,
  name: string,
): (T & { metadata: { name: string } }) | undefined {
  return object && { ...object, metadata: { name } };
}

let fixture: ControlFixture;
let looks: FakeLooks;
beforeEach(async () => {
  fixture = await ControlFixture.open();
  looks = new FakeLooks();
});
afterEach(() => fixture.close());

const why = (kind: 'PersistentVolumeClaim' | 'PersistentVolume' | 'Pod', name: string) =>
  whyInKubernetes({ looks, view: fixture.controllers.view, why: fixture.operations.why }, kind, name);

/** A volume as CSI makes it for the claim, bound. */
async function bound(): Promise<void> {
  await fixture.volume(volumeName);
  await change(fixture.store, 'Volume', volumeName, ({ spec }) => ({ spec: { ...spec, claim } }));
  const { status } = await fixture.store.get('Volume', volumeName);
  looks.known.set('pv', { spec: { csi: { driver: 'csi.azekura.dev', volumeHandle: status.volumeId ?? '' } } });
  looks.claims.set('shop/database', { spec: { volumeName: 'pv' } });
  const volumes = [{ name: 'd', persistentVolumeClaim: { claimName: 'database' } }];
  looks.pods.set('shop/db-0', { spec: { volumes }, status: { phase: 'Running' } });
}

async function missingPool(): Promise<void> {
  const cause = makeCause('PoolMissing', { pool: 'main', place: '/pools/main', problem: 'gone' });
  await changeStatus(fixture.store, 'Pool', 'main', () => ({ phase: 'Missing' as const, causes: [cause] }));
  const { status } = await fixture.store.get('Volume', volumeName);
  const symptom = makeCause('BackingMissing', { volume: volumeName, path: '/pools/main/x' });
  await changeStatus(fixture.store, 'Replica', `${status.volumeId}-0`, () => ({ causes: [symptom] }));
  await fixture.until('Volume', volumeName, (volume) => (volume?.status.causes.length ?? 0) > 0);
}

describe('why, of objects of Kubernetes', () => {
  it('follows a claim, a volume and a pod down to the one cause', async () => {
    await bound();
    for (const [kind, name] of [
      ['PersistentVolumeClaim', 'shop/database'],
      ['PersistentVolume', 'pv'],
      ['Pod', 'shop/db-0'],
    ] as const) {
      expect(await why(kind, name)).toMatchObject({ kind, name, healthy: true });
    }
    await missingPool();
    expect(await why('Pod', 'shop/db-0')).toMatchObject({
      healthy: false,
      phase: 'Running',
      cause: { code: 'PoolMissing' },
      path: [
        { kind: 'Pod', name: 'shop/db-0' },
        { kind: 'PersistentVolumeClaim', name: 'shop/database' },
        { kind: 'PersistentVolume', name: 'pv' },
        { kind: 'Volume', name: volumeName },
        { kind: 'Replica' },
        { kind: 'Pool', name: 'main' },
      ],
    });
  });

  it('tells what was answered to the claim, or that it waits', async () => {
    looks.claims.set('default/new', { spec: {}, status: { phase: 'Pending' } });
    expect(await why('PersistentVolumeClaim', 'new')).toMatchObject({ healthy: true, cause: { code: 'ClaimWaits' } });
    looks.warning =
      'failed to provision volume with StorageClass "a": rpc error: code = InvalidArgument desc = parameter "x" is unknown';
    expect(await why('PersistentVolumeClaim', 'default/new')).toMatchObject({
      healthy: false,
      phase: 'Pending',
      cause: { code: 'ClaimNotProvisioned', message: 'claim default/new has no volume: parameter "x" is unknown' },
    });
  });

  it("tells the scheduler's reason when the volumes are well", async () => {
    await bound();
    const volumes = [{ name: 'd', persistentVolumeClaim: { claimName: 'database' } }];
    const message = '0/3 nodes are available: 3 Insufficient cpu.';
    const conditions = [{ type: 'PodScheduled', status: 'False', message }];
    looks.pods.set('shop/db-0', { spec: { volumes }, status: { phase: 'Pending', conditions } });
    expect((await why('Pod', 'shop/db-0')).cause?.message).toBe(
      'pod shop/db-0 has no node: 0/3 nodes are available: 3 Insufficient cpu',
    );
  });

  it('refuses what is not there, and volumes of others', async () => {
    await expect(why('Pod', 'shop/none')).rejects.toMatchObject({ code: 'NotFound' });
    looks.known.set('foreign', { spec: { csi: { driver: 'other', volumeHandle: 'x' } } });
    await expect(why('PersistentVolume', 'foreign')).rejects.toMatchObject({ code: 'FailedPrecondition' });
  });
});

describe('Events on claims', () => {
  it('tell the one cause of a volume that is not well, once', async () => {
    const told: { regarding: ObjectReference; cause: Cause }[] = [];
    await bound();
    const { view } = fixture.controllers;
    const tellCause = (regarding: ObjectReference, _action: string, cause: Cause) => told.push({ regarding, cause });
    const stop = startClaimEvents({ view, why: fixture.operations.why, tellCause, log: silentLogger });
    await missingPool();
    await change(fixture.store, 'Volume', volumeName, ({ metadata }) => ({
      metadata: { labels: { ...metadata.labels, touched: 'yes' } },
    }));
    await expect.poll(() => told.length).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    stop();
    const regarding = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', ...claim, uid };
    expect(told).toMatchObject([{ regarding, cause: { code: 'PoolMissing' } }]);
  });
});

describe('a volume whose object was removed by force', () => {
  it('is told on its claim with the way back, once, and by why', async () => {
    const told: { regarding: ObjectReference; cause: Cause }[] = [];
    await bound();
    const { status } = await fixture.store.get('Volume', volumeName);
    const lost = startLostClaims({
      looks,
      view: fixture.controllers.view,
      tellCause: (regarding, _action, cause) => told.push({ regarding, cause }),
      clock: systemClock,
      log: silentLogger,
      patienceMs: 20,
    });
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(told).toEqual([]);
    await fixture.removeByForce(volumeName);
    await expect.poll(() => told.length).toBe(1);
    const nextStep = `\`azekura pool adopt main ${status.volumeId}\` makes the object again; nothing of the data has been deleted`;
    expect(told).toMatchObject([{ regarding: claim, cause: { code: 'VolumeObjectMissing', nextStep } }]);
    expect(await why('Pod', 'shop/db-0')).toMatchObject({ healthy: false, cause: { code: 'VolumeObjectMissing' } });
    lost.suspect(claim.namespace, claim.name);
    await new Promise((resolve) => setTimeout(resolve, 60));
    await lost.stop();
    expect(told).toHaveLength(1);
  });
});

describe('the claim of a volume', () => {
  it('is written with uid and labels when it is bound, again when it is bound anew, and stays when it is released', async () => {
    const { status } = await fixture.volume(volumeName);
    const csi = { driver: 'csi.azekura.dev', volumeHandle: status.volumeId ?? '' };
    const bind = (name: string, its: string) =>
      looks.changes.push({ metadata: { name: 'pv' }, spec: { csi, claimRef: { namespace: 'shop', name, uid: its } } });
    const claims = startClaims({
      looks,
      store: fixture.store,
      view: fixture.controllers.view,
      clock: systemClock,
      log: silentLogger,
    });
    looks.claims.set('shop/database', { spec: {} }).set('shop/other', { spec: {} });
    looks.labels = { app: 'db' };
    bind('database', uid);
    await fixture.until('Volume', volumeName, (volume) => volume?.spec.claim?.uid === uid);
    const replica = `${status.volumeId}-0`;
    const bound = { namespace: 'shop', name: 'database', uid, labels: { app: 'db' } };
    await fixture.until('Replica', replica, (object) => sameJson(object?.spec.claim, bound));
    looks.changes.push({ metadata: { name: 'pv' }, spec: { csi } });
    looks.labels = {};
    bind('other', 'another');
    await fixture.until('Replica', replica, (object) => object?.spec.claim?.name === 'other');
    expect((await fixture.store.get('Volume', volumeName)).spec.claim).toMatchObject({ name: 'other', uid: 'another' });
    await claims.stop();
  });
});
