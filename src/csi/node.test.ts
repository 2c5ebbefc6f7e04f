import { mkdir, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VolumeCapability_AccessMode_Mode as Mode } from '../gen/csi/csi_pb.js';
import { makeCause } from '../model/cause.ts';
import { objectName } from './common/names.ts';
import { topologyKey } from './common/topology.ts';
import { type Driver, fakeNodeName, startDriver } from './fake/driver.ts';
import { block, code, gib, makeVolume, mount as mountAs } from './fake/kit.ts';

const mount = (mode = Mode.SINGLE_NODE_MULTI_WRITER, value: object = {}) => mountAs(mode, value);

let driver: Driver;
let stagingTargetPath: string;
beforeEach(async () => {
  driver = await startDriver();
  stagingTargetPath = path.join(driver.folder, 'staging');
  await mkdir(stagingTargetPath);
});
afterEach(() => driver.close());

const volume = (name: string, volumeCapability: object = mount()) =>
  makeVolume(driver, name, { volumeCapabilities: [volumeCapability] });
const target = (name: string) => path.join(driver.folder, name);
const stage = (volumeId: string, volumeCapability: object = mount()) =>
  code(driver.client.node.nodeStageVolume({ volumeId, stagingTargetPath, volumeCapability }));
const unstage = (volumeId: string) => code(driver.client.node.nodeUnstageVolume({ volumeId, stagingTargetPath }));
const publish = (volumeId: string, name: string, extra: object = {}) =>
  code(
    driver.client.node.nodePublishVolume({
      volumeId,
      stagingTargetPath,
      targetPath: target(name),
      volumeCapability: mount(),
      ...extra,
    }),
  );
const unpublish = (volumeId: string, name: string) =>
  code(driver.client.node.nodeUnpublishVolume({ volumeId, targetPath: target(name) }));

describe('staging and publishing', () => {
  it('go all the way and back, each step twice', async () => {
    const handle = await volume('pvc-1');
    for (const _ of [1, 2]) expect(await stage(handle)).toBe('OK');
    for (const _ of [1, 2]) expect(await publish(handle, 'pod-1')).toBe('OK');
    expect(await publish(handle, 'pod-2', { readonly: true })).toBe('OK');
    const [attachment] = (await driver.store.list('Attachment')).items;
    expect(attachment?.spec).toMatchObject({
      origin: 'stage',
      stagingPath: stagingTargetPath,
      published: [
        { path: target('pod-1'), readOnly: false },
        { path: target('pod-2'), readOnly: true },
      ],
    });
    // Made by the orchestrator, so that the agent leaves it.
    await mkdir(target('pod-1'));
    for (const name of ['pod-1', 'pod-2', 'pod-2']) expect(await unpublish(handle, name)).toBe('OK');
    expect(driver.removed).toEqual([target('pod-1')]);
    for (const _ of [1, 2]) expect(await unstage(handle)).toBe('OK');
    expect((await driver.store.list('Attachment')).items).toEqual([]);
  });

  it('leave the device to ControllerUnpublishVolume when ControllerPublishVolume attached it', async () => {
    const handle = await volume('pvc-1');
    const at = { volumeId: handle, nodeId: fakeNodeName };
    await driver.client.controller.controllerPublishVolume({ ...at, volumeCapability: mount() });
    expect((await driver.store.list('Attachment')).items[0]?.spec.staged).toBe(false);
    expect(await stage(handle)).toBe('OK');
    expect(await code(driver.client.controller.controllerUnpublishVolume(at))).toBe('FAILED_PRECONDITION');
    expect(await unstage(handle)).toBe('OK');
    expect((await driver.store.list('Attachment')).items[0]?.spec).toMatchObject({ origin: 'publish', staged: false });
    expect(await code(driver.client.controller.controllerUnpublishVolume(at))).toBe('OK');
    expect((await driver.store.list('Attachment')).items).toEqual([]);
  });

  it('make the agent look again at each call, also when nothing new is asked for', async () => {
    const handle = await volume('pvc-1');
    await stage(handle);
    const generation = async () => (await driver.store.list('Attachment')).items[0]?.metadata.generation ?? 0;
    const before = await generation();
    await stage(handle);
    expect(await generation()).toBeGreaterThan(before);
    const staged = await generation();
    await publish(handle, 'pod-1');
    await publish(handle, 'pod-1');
    expect(await generation()).toBe(staged + 2);
  });

  it('carry the request id of the call into the attachment', async () => {
    const handle = await volume('pvc-1');
    await driver.client.node.nodeStageVolume(
      { volumeId: handle, stagingTargetPath, volumeCapability: mount() },
      { requestId: 'req-42' },
    );
    expect((await driver.store.list('Attachment')).items[0]?.spec.observeRequestId).toBe('req-42');
    expect(driver.lines.filter((line) => line.includes('NodeStageVolume') && line.includes('req-42'))).toHaveLength(1);
  });

  it('check arguments before existence, and existence before paths', async () => {
    expect(await stage('')).toBe('INVALID_ARGUMENT');
    expect(await stage('unknown')).toBe('NOT_FOUND');
    expect(await publish('', 'pod-1')).toBe('INVALID_ARGUMENT');
    expect(await publish('unknown', 'pod-1', { volumeCapability: undefined })).toBe('INVALID_ARGUMENT');
    expect(await publish('unknown', 'pod-1')).toBe('NOT_FOUND');
    const handle = await volume('pvc-1');
    expect(await publish(handle, 'pod-1', { stagingTargetPath: '' })).toBe('FAILED_PRECONDITION');
    expect(await publish(handle, 'pod-1')).toBe('FAILED_PRECONDITION');
    expect(await unpublish('unknown', 'pod-1')).toBe('OK');
    expect(await unstage('unknown')).toBe('OK');
  });

  it('refuse paths with "..", links, or in another than their shortest form', async () => {
    const handle = await volume('pvc-1');
    await stage(handle);
    await mkdir(target('real'));
    await symlink(target('real'), target('link'));
    for (const targetPath of [
      'relative',
      '/',
      `${target('a')}/../b`,
      `${driver.folder}//a`,
      `${target('a')}/`,
      `${target('link')}/a`,
      target('link'),
    ])
      expect(await publish(handle, 'x', { targetPath })).toBe('INVALID_ARGUMENT');
    expect(await publish(handle, 'x', { targetPath: target('missing/pod') })).toBe('FAILED_PRECONDITION');
    expect(await publish(handle, 'x', { targetPath: `/${'x'.repeat(5_000)}` })).toBe('INVALID_ARGUMENT');
  });

  it.each([
    ['SINGLE_NODE_MULTI_WRITER', Mode.SINGLE_NODE_MULTI_WRITER, 'OK'],
    ['SINGLE_NODE_SINGLE_WRITER', Mode.SINGLE_NODE_SINGLE_WRITER, 'FAILED_PRECONDITION'],
    ['SINGLE_NODE_WRITER', Mode.SINGLE_NODE_WRITER, 'FAILED_PRECONDITION'],
    ['SINGLE_NODE_READER_ONLY', Mode.SINGLE_NODE_READER_ONLY, 'FAILED_PRECONDITION'],
  ])('answer a second target of %s by the table', async (_name, mode, second) => {
    const volumeCapability = mount(mode);
    const handle = await volume('pvc-1', volumeCapability);
    expect(await stage(handle, volumeCapability)).toBe('OK');
    expect(await publish(handle, 'pod-1', { volumeCapability })).toBe('OK');
    expect(await publish(handle, 'pod-1', { volumeCapability })).toBe('OK');
    const other = mount(
      Mode.SINGLE_NODE_MULTI_WRITER === mode ? Mode.SINGLE_NODE_WRITER : Mode.SINGLE_NODE_MULTI_WRITER,
    );
    expect(await publish(handle, 'pod-1', { volumeCapability: other })).toBe('ALREADY_EXISTS');
    expect(await publish(handle, 'pod-2', { volumeCapability })).toBe(second);
    if (mode !== Mode.SINGLE_NODE_READER_ONLY)
      expect(await publish(handle, 'pod-3', { volumeCapability, readonly: true })).toBe(second);
    const readOnly = mode === Mode.SINGLE_NODE_READER_ONLY;
    expect((await driver.store.list('Attachment')).items[0]?.spec.readOnly).toBe(readOnly);
    if (!readOnly) expect(await publish(handle, 'pod-1', { volumeCapability, readonly: true })).toBe('ALREADY_EXISTS');
  });

  it('leave nothing to do at a path whose folder is gone, and clear a path of a volume that is gone', async () => {
    const handle = await volume('pvc-1');
    await stage(handle);
    await mkdir(target('pod'));
    expect(await publish(handle, 'pod/mount')).toBe('OK');
    await rm(target('pod'), { recursive: true });
    for (const _ of [1, 2]) expect(await unpublish(handle, 'pod/mount')).toBe('OK');
    await unstage(handle);
    await driver.client.controller.deleteVolume({ volumeId: handle });
    await mkdir(target('late'));
    expect(await unpublish(handle, 'late')).toBe('OK');
    expect(driver.removed).toEqual([target('late')]);
    expect(await code(driver.client.node.nodeUnpublishVolume({ volumeId: handle, targetPath: 'relative' }))).toBe(
      'INVALID_ARGUMENT',
    );
  });

  it('refuse what the volume is not', async () => {
    const handle = await volume('pvc-1');
    expect(await stage(handle, block)).toBe('FAILED_PRECONDITION');
    expect(await stage(handle, mount(Mode.SINGLE_NODE_MULTI_WRITER, { fsType: 'ext4' }))).toBe('FAILED_PRECONDITION');
    expect(await stage(handle, mount(Mode.SINGLE_NODE_MULTI_WRITER, { volumeMountGroup: 'staff' }))).toBe(
      'INVALID_ARGUMENT',
    );
    expect(await stage(handle, mount(Mode.SINGLE_NODE_MULTI_WRITER, { mountFlags: ['noatime'] }))).toBe('OK');
    expect(await stage(handle, mount(Mode.SINGLE_NODE_MULTI_WRITER, { mountFlags: [] }))).toBe('ALREADY_EXISTS');
  });

  it("answer with the agent's cause: FAILED_PRECONDITION when a person must act, DEADLINE_EXCEEDED while it is tried again", async () => {
    const handle = await volume('pvc-1');
    const name = `${handle}-${fakeNodeName}`;
    driver.agent.causes.set(name, makeCause('MountFailed', { volume: 'pvc-1', problem: 'EIO' }));
    const early = driver.client.node.nodeStageVolume(
      { volumeId: handle, stagingTargetPath, volumeCapability: mount() },
      { deadlineMs: 2_000 },
    );
    await expect(early).rejects.toThrow(/DEADLINE_EXCEEDED.*cannot be mounted: EIO/);
    driver.agent.causes.set(name, makeCause('FilesystemNeedsCheck', { volume: 'pvc-1', problem: 'bad magic' }));
    expect(await stage(handle)).toBe('FAILED_PRECONDITION');
    driver.agent.causes.clear();
    expect(await stage(handle)).toBe('OK');
  });

  it('show a raw block volume at a path without staging a file system', async () => {
    const handle = await volume('pvc-1', block);
    expect(await stage(handle, block)).toBe('OK');
    expect((await driver.store.list('Attachment')).items[0]?.spec.stagingPath).toBeUndefined();
    expect(await publish(handle, 'disk', { volumeCapability: block })).toBe('OK');
    const stats = await driver.client.node.nodeGetVolumeStats({ volumeId: handle, volumePath: target('disk') });
    expect(stats.usage).toMatchObject([{ unit: 1, total: gib }]);
    expect(await unpublish(handle, 'disk')).toBe('OK');
    expect(await unstage(handle)).toBe('OK');
  });
});

describe('inline volumes', () => {
  const volumeId = `csi-${'ab'.repeat(32)}`;
  const context = { 'csi.storage.k8s.io/ephemeral': 'true', 'csi.storage.k8s.io/pod.name': 'web', size: '2Gi' };
  const publishInline = (volumeContext: Record<string, string>) =>
    publish(volumeId, 'inline', { volumeContext, stagingTargetPath: '' });

  it('are made by NodePublishVolume and go for good with NodeUnpublishVolume', async () => {
    for (const _ of [1, 2]) expect(await publishInline(context)).toBe('OK');
    const made = await driver.store.get('Volume', objectName(volumeId));
    expect(made.spec).toMatchObject({ sizeBytes: 2 ** 31, nodeNames: [fakeNodeName], recycleMs: 0 });
    const stats = await driver.client.node.nodeGetVolumeStats({ volumeId, volumePath: target('inline') });
    expect(stats.usage[0]?.total).toBe(1000n);
    for (const _ of [1, 2]) expect(await unpublish(volumeId, 'inline')).toBe('OK');
    expect((await driver.store.list('Volume')).items).toEqual([]);
    expect((await driver.store.list('Attachment')).items).toEqual([]);
    expect(driver.operations.asked.at(-1)).toMatchObject({
      method: 'deleteVolume',
      argument: { skipRecycleBin: true },
    });
  });

  it('refuse attributes that are not possible, and leave nothing when there is no room', async () => {
    expect(await publishInline({ ...context, size: 'ten' })).toBe('INVALID_ARGUMENT');
    expect(await publishInline({ ...context, nonsense: '1' })).toBe('INVALID_ARGUMENT');
    driver.operations.capacityBytes = 1;
    expect(await publishInline(context)).toBe('RESOURCE_EXHAUSTED');
    expect((await driver.store.list('Volume')).items).toEqual([]);
  });
});

describe('other node calls', () => {
  it('tell who and where the node is', async () => {
    expect(await driver.client.node.nodeGetInfo({})).toMatchObject({
      nodeId: fakeNodeName,
      accessibleTopology: { segments: { [topologyKey]: fakeNodeName } },
    });
  });

  it('tell use and inodes at a path where the volume is, NOT_FOUND elsewhere', async () => {
    const handle = await volume('pvc-1');
    await stage(handle);
    await publish(handle, 'pod-1');
    const stats = (volumeId: string, volumePath: string) =>
      driver.client.node.nodeGetVolumeStats({ volumeId, volumePath });
    for (const at of [target('pod-1'), stagingTargetPath])
      expect((await stats(handle, at)).usage).toMatchObject([
        { unit: 1, total: 1000n, used: 400n, available: 600n },
        { unit: 2, total: 50n, used: 10n, available: 40n },
      ]);
    expect(await code(stats(handle, 'some/path'))).toBe('NOT_FOUND');
    expect(await code(stats('unknown', 'some/path'))).toBe('NOT_FOUND');
    expect(await code(stats(handle, ''))).toBe('INVALID_ARGUMENT');
  });

  it('expand where the volume is, by the size that the controller has given it', async () => {
    const handle = await volume('pvc-1');
    await stage(handle);
    await publish(handle, 'pod-1');
    const expand = (volumePath: string, requiredBytes: bigint) =>
      driver.client.node.nodeExpandVolume({ volumeId: handle, volumePath, capacityRange: { requiredBytes } });
    expect(await code(expand(target('pod-1'), 2n * gib))).toBe('OUT_OF_RANGE');
    await driver.client.controller.controllerExpandVolume({
      volumeId: handle,
      capacityRange: { requiredBytes: 2n * gib },
    });
    expect((await expand(target('pod-1'), 2n * gib)).capacityBytes).toBe(2n * gib);
    expect(
      (await driver.client.node.nodeExpandVolume({ volumeId: handle, volumePath: stagingTargetPath })).capacityBytes,
    ).toBe(2n * gib);
    expect(await code(expand('/elsewhere', gib))).toBe('NOT_FOUND');
    expect(await code(expand('', gib))).toBe('INVALID_ARGUMENT');
    const unknown = { volumeId: 'unknown', volumePath: '/elsewhere' };
    expect(await code(driver.client.node.nodeExpandVolume(unknown))).toBe('NOT_FOUND');
  });

  it('answer FAILED_PRECONDITION where a mounted file system cannot grow, which the orchestrator does not repeat', async () => {
    const handle = await volume('pvc-1');
    await stage(handle);
    const evidence = { volume: 'pvc-1', problem: 'this needs CAP_SYS_RESOURCE' };
    driver.agent.causes.set(`${handle}-${fakeNodeName}`, makeCause('FilesystemGrowthBlocked', evidence));
    const expand = driver.client.node.nodeExpandVolume({ volumeId: handle, volumePath: stagingTargetPath });
    await expect(expand).rejects.toThrow(/FAILED_PRECONDITION.*CAP_SYS_RESOURCE/);
  });

  it('tell the health of volume and pools', async () => {
    const handle = await volume('pvc-1');
    expect((await driver.client.node.nodeGetVolumeHealth({ volumeId: handle })).volumeHealth?.volumeId).toBe(handle);
    expect(await code(driver.client.node.nodeGetVolumeHealth({ volumeId: 'unknown' }))).toBe('NOT_FOUND');
    expect((await driver.client.node.nodeGetStorageHealth({})).backendHealth).toEqual([]);
    const pool = await driver.store.get('Pool', 'main');
    await driver.store.updateStatus({
      ...pool,
      status: { ...pool.status, causes: [makeCause('PoolMissing', { pool: 'main', place: '/pool' })] },
    });
    await expect
      .poll(async () => (await driver.client.node.nodeGetStorageHealth({})).backendHealth)
      .toMatchObject([{ status: 2, reason: 'PoolMissing' }]);
  });
});
