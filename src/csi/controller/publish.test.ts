import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VolumeCapability_AccessMode_Mode as Mode } from '../../gen/csi/csi_pb.js';
import { Policy } from '../../model/policy.ts';
import { change } from '../../store/change.ts';
import { type Driver, fakeNodeName, startDriver } from '../fake/driver.ts';
import { block, code, makeVolume, mount } from '../fake/kit.ts';

let driver: Driver;
beforeEach(async () => {
  driver = await startDriver({ maxVolumesPerNode: 3 });
});
afterEach(() => driver.close());

const volume = (name: string, extra: object = {}) => makeVolume(driver, name, extra);

describe('ControllerPublishVolume', () => {
  const publish = (volumeId: string, extra: object = {}) =>
    code(
      driver.client.controller.controllerPublishVolume({
        volumeId,
        nodeId: fakeNodeName,
        volumeCapability: mount(),
        ...extra,
      }),
    );

  it('is idempotent, and ALREADY_EXISTS with another readonly or capability', async () => {
    const handle = await volume('pvc-1');
    expect(await publish(handle)).toBe('OK');
    expect(await publish(handle)).toBe('OK');
    expect(await publish(handle, { readonly: true })).toBe('ALREADY_EXISTS');
    expect(await publish(handle, { volumeCapability: mount(Mode.SINGLE_NODE_SINGLE_WRITER) })).toBe('ALREADY_EXISTS');
    const { entries } = await driver.client.controller.listVolumes({});
    expect(entries[0]?.status?.publishedNodeIds).toEqual([fakeNodeName]);
  });

  it('checks arguments before existence', async () => {
    expect(await publish('unknown', { volumeCapability: undefined })).toBe('INVALID_ARGUMENT');
    expect(await publish('unknown')).toBe('NOT_FOUND');
    expect(await publish(await volume('pvc-1'), { nodeId: 'nowhere' })).toBe('NOT_FOUND');
  });

  it('answers RESOURCE_EXHAUSTED beyond the limit of the node', async () => {
    for (const name of ['a', 'b', 'c']) expect(await publish(await volume(name))).toBe('OK');
    expect(await publish(await volume('d'))).toBe('RESOURCE_EXHAUSTED');
  });

  it('is undone by ControllerUnpublishVolume, also on all nodes, also twice, also of what never was', async () => {
    const handle = await volume('pvc-1');
    await publish(handle);
    const unpublish = (volumeId: string, nodeId: string) =>
      code(driver.client.controller.controllerUnpublishVolume({ volumeId, nodeId }));
    expect(await unpublish(handle, 'nowhere')).toBe('OK');
    expect((await driver.store.list('Attachment')).items).toHaveLength(1);
    expect(await unpublish(handle, '')).toBe('OK');
    expect(await unpublish(handle, fakeNodeName)).toBe('OK');
    expect(await unpublish('unknown', fakeNodeName)).toBe('OK');
    expect((await driver.store.list('Attachment')).items).toEqual([]);
  });

  it('is undone also when the Volume object was made anew meanwhile', async () => {
    const handle = await volume('pvc-1');
    await publish(handle);
    const { metadata, spec, status } = await driver.store.get('Volume', 'pvc-1');
    await change(driver.store, 'Volume', 'pvc-1', () => ({ metadata: { finalizers: [] } }));
    await driver.store.delete('Volume', 'pvc-1');
    const { annotations, finalizers } = metadata;
    await driver.store.create({ kind: 'Volume', metadata: { name: 'pvc-1', annotations, finalizers }, spec, status });
    const at = { volumeId: handle, nodeId: fakeNodeName };
    expect(await code(driver.client.controller.controllerUnpublishVolume(at))).toBe('OK');
    expect((await driver.store.list('Attachment')).items).toEqual([]);
  });

  it('is undone also when the Volume object was removed by force, and until then refused with the way back', async () => {
    const handle = await volume('pvc-1');
    await publish(handle);
    await driver.store.create({
      kind: 'Replica',
      metadata: { name: `${handle}-0` },
      spec: {
        ...{ volumeName: 'pvc-1', volumeUid: '', volumeId: handle, nodeName: fakeNodeName, poolName: 'main' },
        ...{ sizeBytes: 2 ** 30, mode: 'filesystem', policy: Policy.parse({}), volumeGeneration: 1 },
        volumeCreatedAt: '2026-01-01T00:00:00.000Z',
      },
    });
    await change(driver.store, 'Volume', 'pvc-1', () => ({ metadata: { finalizers: [] } }));
    await driver.store.delete('Volume', 'pvc-1');
    await expect.poll(() => publish(handle)).toBe('NOT_FOUND');
    const at = { volumeId: handle, nodeId: fakeNodeName };
    const again = driver.client.controller.controllerPublishVolume({ ...at, volumeCapability: mount() });
    await expect(again).rejects.toThrow(`azekura pool adopt main ${handle}`);
    expect(await code(driver.client.controller.controllerUnpublishVolume(at))).toBe('OK');
    expect((await driver.store.list('Attachment')).items).toEqual([]);
  });

  it('answers FAILED_PRECONDITION on another node, and names the one that has it', async () => {
    await driver.store.create({ kind: 'Node', metadata: { name: 'node-b' }, spec: {}, status: { phase: 'Ready' } });
    const handle = await volume('pvc-1');
    expect(await publish(handle)).toBe('OK');
    const elsewhere = () =>
      driver.client.controller.controllerPublishVolume({
        volumeId: handle,
        nodeId: 'node-b',
        volumeCapability: mount(),
      });
    await expect.poll(() => code(elsewhere())).toBe('FAILED_PRECONDITION');
    await expect(elsewhere()).rejects.toThrow(fakeNodeName);
  });

  it('refuses what the volume is not', async () => {
    const handle = await volume('pvc-1');
    expect(await publish(handle, { volumeCapability: block })).toBe('INVALID_ARGUMENT');
    expect(await publish(handle, { volumeCapability: mount(Mode.MULTI_NODE_MULTI_WRITER) })).toBe('INVALID_ARGUMENT');
    expect(await publish('', {})).toBe('INVALID_ARGUMENT');
    expect(await publish(handle, { nodeId: '' })).toBe('INVALID_ARGUMENT');
  });

  it('is undone without waiting for a node that is dead, also while the volume is still staged there', async () => {
    const reported = { phase: 'Ready' as const, heartbeat: '2026-01-01T00:00:00.000Z' };
    driver.silent.set('node-b', 600_000);
    await driver.store.create({ kind: 'Node', metadata: { name: 'node-b' }, spec: {}, status: reported });
    const handle = await volume('pvc-1');
    const name = `${handle}-node-b`;
    // Nobody looks at what happens to it: that is what a dead node is.
    driver.agent.hold(name);
    const { metadata } = await driver.store.get('Volume', 'pvc-1');
    await driver.store.create({
      kind: 'Attachment',
      metadata: { name, finalizers: ['azekura.dev/agent'] },
      spec: {
        volumeName: 'pvc-1',
        volumeUid: metadata.uid,
        volumeId: handle,
        nodeName: 'node-b',
        access: 'filesystem',
        origin: 'publish',
        staged: true,
        stagingPath: '/staging',
        published: [{ path: '/pod', readOnly: false }],
      },
    });
    for (const _ of [1, 2])
      expect(
        await code(driver.client.controller.controllerUnpublishVolume({ volumeId: handle, nodeId: 'node-b' })),
      ).toBe('OK');
    // What is left of it says what the node has to do when it comes back.
    expect((await driver.store.get('Attachment', name)).metadata.deletionTimestamp).toBeDefined();
  });
});
