import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, labMissing, startLab } from '../../lab/kubernetes/index.ts';
import { KubeClient, type KubeObject } from '../../src/kube/client.ts';
import { EventRecorder } from '../../src/kube/events.ts';
import { chaosFaults, chaosSteps, play, turns } from '../../src/kube/fake/chaos.ts';
import { FaultyProxy } from '../../src/kube/fake/faulty-proxy.ts';
import { LeaderElection } from '../../src/kube/leader.ts';
import { eventType, type KubeEvent } from '../../src/kube/types.ts';
import { makeCause } from '../../src/model/cause.ts';
import { hasCode } from '../../src/model/errors.ts';
import { change } from '../../src/store/change.ts';
import { newVolume } from '../../src/store/contract-helpers.ts';
import { createInformer } from '../../src/store/informer.ts';
import { openKubernetesStore } from '../../src/store/kubernetes/kubernetes-store.ts';
import { resourceType } from '../../src/store/kubernetes/types.ts';
import { applyDefinitions, connect, startTimeoutMs, wipe } from './api.ts';

const missing = labMissing({ nodes: 0 });
const type = resourceType('Volume');
const volume = (name: string, round: number): KubeObject => ({
  apiVersion: 'azekura.dev/v1',
  kind: 'Volume',
  metadata: { name },
  ...{ spec: { sizeBytes: round } },
});

describe.skipIf(missing)(`watches, leases and events of a real API server${missing ? ` (${missing})` : ''}`, () => {
  let lab: Lab;
  let client: KubeClient;
  beforeAll(async () => {
    lab = await startLab({ nodes: 0 });
    client = await connect(lab.kubeconfig);
    await applyDefinitions(client);
  }, startTimeoutMs);
  afterAll(async () => {
    client?.close();
    await lab?.stop();
  }, startTimeoutMs);

  it('an informer behind a faulty proxy ends where the server ends', async () => {
    await fc.assert(
      fc.asyncProperty(chaosSteps, chaosFaults(), async (steps, faults) => {
        await wipe(client);
        const proxy = await FaultyProxy.start(client.access);
        const through = new KubeClient({ access: proxy.access, fieldManager: 'test' });
        const store = openKubernetesStore({ client: through, idleMs: 300, backoffCapMs: 50 });
        const informer = createInformer(store, 'Volume', { relistMs: 3_600_000 });
        proxy.faults = turns(faults);
        try {
          await play(client, type, steps, volume);
          proxy.faults = undefined;
          proxy.release();
          const { items } = await openKubernetesStore({ client }).list('Volume');
          await expect.poll(() => informer.list(), { timeout: 60_000, interval: 20 }).toEqual(items);
        } finally {
          await informer.close();
          await store.close();
          through.close();
          await proxy.close();
        }
      }),
      { numRuns: 12 },
    );
  }, 600_000);

  it('an informer lives through the death of the API server and of etcd, and a forgotten version is Expired', async () => {
    await wipe(client);
    const store = openKubernetesStore({ client });
    await store.create(newVolume('before'));
    const { resourceVersion: old } = await store.list('Volume');
    await change(store, 'Volume', 'before', ({ spec }) => ({ spec: { ...spec, sizeBytes: 8192 } }));
    const informer = createInformer(store, 'Volume');
    await informer.synced;
    const controlPlane = lab.member('cp');
    for (const name of ['apiserver', 'etcd']) {
      await controlPlane.stop(name, { graceSeconds: 0 });
      const refused = await store.find('Volume', 'before').catch((error: unknown) => error);
      expect(hasCode(refused, 'Unavailable', 'DeadlineExceeded')).toBe(true);
      expect(informer.get('before')?.spec.sizeBytes).toBe(8192);
      await controlPlane.again(name);
      const made = `after-${name}`;
      await expect
        .poll(
          () =>
            store.create(newVolume(made)).then(
              () => true,
              (error) => hasCode(error, 'AlreadyExists'),
            ),
          { timeout: 120_000 },
        )
        .toBe(true);
      await expect.poll(() => informer.get(made) !== undefined, { timeout: 60_000 }).toBe(true);
    }
    // A server that was restarted remembers no event from before.
    const late = store.watch('Volume', { from: old })[Symbol.asyncIterator]();
    const error = await late.next().catch((reason: unknown) => reason);
    expect(hasCode(error, 'Expired')).toBe(true);
    await informer.close();
    await store.close();
  }, 600_000);

  it('one of two candidates leads, and the other when it ends', async () => {
    const leading = new Set<string>();
    const candidate = (identity: string) =>
      new LeaderElection({
        client,
        namespace: 'default',
        name: 'azekura-controller',
        identity,
        leaseMs: 4_000,
        onElected: (lost) => {
          leading.add(identity);
          lost.addEventListener('abort', () => leading.delete(identity));
        },
      });
    const [a, b] = [candidate('a'), candidate('b')];
    try {
      await expect.poll(() => leading.size, { timeout: 30_000 }).toBe(1);
      const first = [...leading][0];
      await (first === 'a' ? a : b).close();
      await expect.poll(() => [...leading], { timeout: 30_000 }).toEqual([first === 'a' ? 'b' : 'a']);
    } finally {
      await a.close();
      await b.close();
    }
  });

  it('an event and its series pass the server, and are found at their object', async () => {
    const recorder = new EventRecorder({ client, controller: 'azekura.dev/controller', instance: 'test' });
    const regarding = {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      namespace: 'default',
      name: 'db',
      uid: randomUUID(),
    };
    const cause = makeCause('HungCall', { what: 'ü'.repeat(800) });
    for (let time = 0; time < 3; time++) recorder.tellCause(regarding, 'Provision', cause);
    await recorder.close();
    const fieldSelector = `regarding.name=db,reason=HungCall`;
    const { items } = await client.list<KubeEvent>(eventType, { namespace: 'default', fieldSelector });
    expect(items).toHaveLength(1);
    expect(items[0]?.regarding.uid).toBe(regarding.uid);
    expect(items[0]?.series?.count ?? 1).toBeGreaterThanOrEqual(1);
  });
});
