import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KubeClient, type KubeObject } from '../../kube/client.ts';
import { FakeApiServer } from '../../kube/fake/api-server.ts';
import { claimType, type KubeClaim, type KubePod, persistentVolumeType } from '../../kube/types.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLogger } from '../../lib/log.ts';
import { Copies } from './copies.ts';
import { FakeClaims } from './fake.ts';
import { selectedNode, snapshotContentType, snapshotType } from './kinds.ts';

const namespace = 'shop';
const driver = 'csi.azekura.dev';
const clone = { kind: 'PersistentVolumeClaim', name: 'origin' };
const restore = { apiGroup: 'snapshot.storage.k8s.io', kind: 'VolumeSnapshot', name: 'monday' };

describe('Copies', () => {
  let api: FakeApiServer;
  let client: KubeClient;
  let claims: FakeClaims;
  let copies: Copies;

  beforeEach(async () => {
    api = await FakeApiServer.start();
    client = new KubeClient({ access: api.access, fieldManager: 'test' });
    claims = new FakeClaims();
    for (const volumeBindingMode of ['WaitForFirstConsumer', 'Immediate'] as const)
      claims.classes.set({ metadata: { name: volumeBindingMode }, provisioner: driver, volumeBindingMode });
    claims.classes.set({
      metadata: { name: 'other' },
      provisioner: 'other.example',
      volumeBindingMode: 'WaitForFirstConsumer',
    });
    // What is there to be copied lies on n2.
    claims.claims.set({ metadata: { name: 'origin', namespace, uid: 'u1' }, spec: { volumeName: 'pv-1' } });
    await client.create(persistentVolumeType, {
      metadata: { name: 'pv-1' },
      spec: { csi: { driver, volumeHandle: 'v1' } },
    } as KubeObject);
    await client.create(snapshotType, {
      metadata: { name: 'monday', namespace },
      status: { boundVolumeSnapshotContentName: 'content' },
    } as KubeObject);
    await client.create(snapshotContentType, {
      metadata: { name: 'content' },
      spec: { driver },
      status: { snapshotHandle: 's1' },
    } as KubeObject);
    copies = new Copies({
      client,
      claims,
      view: {
        volumeOf: (id: string) => (id === 'v1' ? { status: { volumeId: 'v1' } } : undefined),
        replicasOf: () => [{ spec: { nodeName: 'n2' } }],
        snapshots: { list: () => [{ spec: { snapshotId: 's1', poolName: 'p2' } }] },
        pools: { get: (name: string) => (name === 'p2' ? { spec: { nodeName: 'n2' } } : undefined) },
      } as never,
      clock: systemClock,
      log: silentLogger,
      wakeAfterMs: 300,
    });
  });
  afterEach(async () => {
    await copies.close();
    client.close();
    await api.close();
  });

  async function ask(
    name: string,
    dataSource: object | undefined,
    storageClassName = 'WaitForFirstConsumer',
  ): Promise<void> {
    const claim = { metadata: { name, namespace }, spec: { storageClassName, ...(dataSource ? { dataSource } : {}) } };
    claims.claims.set(await client.create<KubeClaim>(claimType, claim));
  }

  function waitFor(name: string): void {
    const volumes = [{ name: 'v', persistentVolumeClaim: { claimName: name } }];
    claims.pods.set({ metadata: { name, namespace, uid: `pod-${name}` }, spec: { volumes } } as KubePod);
  }

  const nodeOf = async (name: string): Promise<string | undefined> =>
    (await client.get<KubeClaim>(claimType, name, { namespace })).metadata.annotations?.[selectedNode];

  it.each([
    ['clone', clone],
    ['restored snapshot', restore],
  ])('sends the pod of a %s to the node of its source', async (_, source) => {
    await ask('copy', source);
    waitFor('copy');
    await expect.poll(() => nodeOf('copy')).toBe('n2');
  });

  it('wakes the provisioner until there is a volume', async () => {
    const claimNow = () => client.get<KubeClaim>(claimType, 'copy', { namespace });
    const woken = async () => (await claimNow()).metadata.annotations?.['azekura.dev/provisioner-woken-at'];
    await ask('copy', clone);
    waitFor('copy');
    await expect.poll(() => nodeOf('copy')).toBe('n2');
    expect(await woken()).toBeUndefined();
    claims.claims.set(await claimNow());
    await expect.poll(woken).toBeDefined();
    const once = await woken();
    await expect.poll(woken).not.toBe(once);
    const { metadata, spec } = await claimNow();
    claims.claims.set({ metadata, spec: { ...spec, volumeName: 'pv-2' } });
    // A look that was under way may still write.
    await new Promise((resolve) => setTimeout(resolve, 400));
    const last = await woken();
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(await woken()).toBe(last);
  });

  it('leaves alone what is no copy, has no pod, is of another driver or class, or has a node', async () => {
    await ask('plain', undefined);
    await ask('filled', { apiGroup: 'example.com', kind: 'Populator', name: 'x' });
    await ask('without-pod', clone);
    await ask('at-once', clone, 'Immediate');
    await ask('foreign', clone, 'other');
    for (const name of ['plain', 'filled', 'at-once', 'foreign']) waitFor(name);
    await ask('chosen', clone);
    await client.patch(
      claimType,
      { name: 'chosen', namespace },
      { metadata: { annotations: { [selectedNode]: 'n1' } } },
    );
    claims.claims.set(await client.get<KubeClaim>(claimType, 'chosen', { namespace }));
    waitFor('chosen');
    await ask('copy', clone);
    waitFor('copy');
    await expect.poll(() => nodeOf('copy')).toBe('n2');
    for (const name of ['plain', 'filled', 'without-pod', 'at-once', 'foreign'])
      expect(await nodeOf(name)).toBeUndefined();
    expect(await nodeOf('chosen')).toBe('n1');
  });

  it('does not take away what the scheduler has chosen meanwhile, and sends the pod when that could not be', async () => {
    await ask('copy', clone);
    // Known here is the claim of before.
    await client.patch(claimType, { name: 'copy', namespace }, { metadata: { annotations: { [selectedNode]: 'n1' } } });
    waitFor('copy');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await nodeOf('copy')).toBe('n1');
    await client.patch(claimType, { name: 'copy', namespace }, { metadata: { annotations: { [selectedNode]: null } } });
    claims.claims.set(await client.get<KubeClaim>(claimType, 'copy', { namespace }));
    await expect.poll(() => nodeOf('copy')).toBe('n2');
  });
});
