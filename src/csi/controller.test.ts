import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CallError } from '../../lab/csi/client.ts';
import { VolumeCapability_AccessMode_Mode as Mode } from '../gen/csi/csi_pb.js';
import { makeCause } from '../model/cause.ts';
import { objectName } from './common/names.ts';
import { topologyKey } from './common/topology.ts';
import { type Driver, fakeNodeName, startDriver } from './fake/driver.ts';

const gib = 2n ** 30n;
const mount = (mode = Mode.SINGLE_NODE_WRITER) => ({
  accessType: { case: 'mount' as const, value: {} },
  accessMode: { mode },
});
const block = { accessType: { case: 'block' as const, value: {} }, accessMode: { mode: Mode.SINGLE_NODE_WRITER } };
const code = (promise: Promise<unknown>) =>
  promise.then(
    () => 'OK',
    (error: CallError) => error.codeName,
  );

let driver: Driver;
beforeEach(async () => {
  driver = await startDriver({ maxVolumesPerNode: 3 });
});
afterEach(() => driver.close());

async function volume(name: string, extra: object = {}): Promise<string> {
  const answer = await driver.client.controller.createVolume({
    name,
    capacityRange: { requiredBytes: gib },
    volumeCapabilities: [mount()],
    ...extra,
  });
  return answer.volume?.volumeId ?? '';
}

describe('CreateVolume', () => {
  it('gives the same volume for the same name and particulars', async () => {
    const first = await volume('pvc-1');
    expect(await volume('pvc-1')).toBe(first);
    expect(first).toMatch(/^[0-9a-z]{16}$/);
  });

  it('never makes an object name of a name that is none, and tells such names apart', async () => {
    const long = `Ünï/../côde ${'x'.repeat(100)}`;
    const handle = await volume(long);
    expect(handle).not.toBe(await volume(`${long}y`));
    const stored = await driver.store.get('Volume', objectName(long));
    expect(stored.metadata.name).toMatch(/^csi-[0-9a-f]{32}$/);
    expect(stored.metadata.annotations['csi.azekura.dev/name']).toBe(long);
  });

  it.each([
    ['another size', { capacityRange: { requiredBytes: 2n * gib } }],
    ['a smaller limit', { capacityRange: { requiredBytes: 1n, limitBytes: gib / 2n } }],
    ['block instead of mount', { volumeCapabilities: [block] }],
    ['other parameters', { parameters: { provisioning: 'thick' } }],
    [
      'another file system',
      { volumeCapabilities: [{ ...mount(), accessType: { case: 'mount', value: { fsType: 'ext4' } } }] },
    ],
    ['another node', { accessibilityRequirements: { requisite: [{ segments: { [topologyKey]: 'node-b' } }] } }],
  ])('answers ALREADY_EXISTS for the same name with %s', async (_what, extra) => {
    await volume('pvc-1');
    expect(await code(volume('pvc-1', extra))).toBe('ALREADY_EXISTS');
  });

  it('finds a volume again whose mutable parameters have been changed since', async () => {
    const first = await volume('pvc-1', { mutableParameters: { recycle: '1h' } });
    await driver.client.controller.controllerModifyVolume({ volumeId: first, mutableParameters: { recycle: '2h' } });
    expect(await volume('pvc-1', { mutableParameters: { recycle: '1h' } })).toBe(first);
    expect((await driver.store.get('Volume', 'pvc-1')).spec.recycleMs).toBe(7_200_000);
  });

  it.each([
    ['no name', { name: '' }],
    ['no capability', { volumeCapabilities: [] }],
    ['a capability without access type', { volumeCapabilities: [{ accessMode: { mode: Mode.SINGLE_NODE_WRITER } }] }],
    ['an unknown access mode', { volumeCapabilities: [mount(99 as Mode)] }],
    ['several nodes', { volumeCapabilities: [mount(Mode.MULTI_NODE_MULTI_WRITER)] }],
    ['mount and block at once', { volumeCapabilities: [mount(), block] }],
    [
      'an unknown file system',
      { volumeCapabilities: [{ ...mount(), accessType: { case: 'mount', value: { fsType: 'ntfs' } } }] },
    ],
    [
      'a dangerous mount flag',
      { volumeCapabilities: [{ ...mount(), accessType: { case: 'mount', value: { mountFlags: ['nobarrier'] } } }] },
    ],
    ['an unknown class parameter', { parameters: { nonsense: '1' } }],
    ['an unknown mutable parameter', { mutableParameters: { XXX_FakeKey: 'x' } }],
    ['a negative size', { capacityRange: { requiredBytes: -1n } }],
    ['an empty range', { capacityRange: {} }],
    ['a limit below what is required', { capacityRange: { requiredBytes: 2n, limitBytes: 1n } }],
    ['a name of 129 bytes', { name: 'x'.repeat(129) }],
    ['a control character', { name: 'a\u0001b' }],
    ['a map of more than 4 KiB', { parameters: { a: 'x'.repeat(4_096), b: 'y' } }],
  ])('answers INVALID_ARGUMENT to %s', async (_what, extra) => {
    expect(await code(volume('pvc-1', extra))).toBe('INVALID_ARGUMENT');
    expect((await driver.store.list('Volume')).items).toEqual([]);
  });

  it('answers OUT_OF_RANGE to a size that no volume can have', async () => {
    expect(await code(volume('a', { capacityRange: { requiredBytes: 2n ** 62n } }))).toBe('OUT_OF_RANGE');
    expect(await code(volume('b', { capacityRange: { limitBytes: 100n } }))).toBe('OUT_OF_RANGE');
  });

  it('keeps exactly the size when required and limit are the same, and rounds up to sectors otherwise', async () => {
    const exact = await driver.client.controller.createVolume({
      name: 'a',
      capacityRange: { requiredBytes: gib, limitBytes: gib },
      volumeCapabilities: [mount()],
    });
    expect(exact.volume?.capacityBytes).toBe(gib);
    const rounded = await driver.client.controller.createVolume({
      name: 'b',
      capacityRange: { requiredBytes: gib + 1n },
      volumeCapabilities: [mount()],
    });
    expect(rounded.volume?.capacityBytes).toBe(gib + 4096n);
  });

  it('answers RESOURCE_EXHAUSTED when the node is full, and leaves nothing', async () => {
    driver.operations.capacityBytes = 1;
    expect(await code(volume('pvc-1'))).toBe('RESOURCE_EXHAUSTED');
    expect((await driver.store.list('Volume')).items).toEqual([]);
  });

  it('answers RESOURCE_EXHAUSTED when the pool fills while the volume is made, and leaves nothing', async () => {
    driver.agent.causes.set('pvc-1', makeCause('PoolFull', { pool: 'main', wanted: '1Gi', free: '0' }));
    expect(await code(volume('pvc-1'))).toBe('RESOURCE_EXHAUSTED');
    expect((await driver.store.list('Volume')).items).toEqual([]);
  });

  it('answers DEADLINE_EXCEEDED with the reason while work goes on, and finds it with the next call', async () => {
    driver.agent.hold('pvc-1');
    const request = { name: 'pvc-1', capacityRange: { requiredBytes: gib }, volumeCapabilities: [mount()] };
    const early = driver.client.controller.createVolume(request, { deadlineMs: 600 });
    await expect(early).rejects.toThrow(/DEADLINE_EXCEEDED.*Pending.*call again/);
    await driver.agent.release('pvc-1');
    expect((await driver.client.controller.createVolume(request)).volume?.volumeId).not.toBe('');
    expect(driver.operations.asked.filter(({ method }) => method === 'createVolume')).toHaveLength(1);
  });

  it('answers ABORTED to a second call at the same time', async () => {
    driver.agent.hold('pvc-1');
    const first = volume('pvc-1');
    await expect.poll(async () => (await driver.store.find('Volume', 'pvc-1')) !== undefined).toBe(true);
    expect(await code(volume('pvc-1'))).toBe('ABORTED');
    await driver.agent.release('pvc-1');
    expect(await code(first)).toBe('OK');
  });

  it('lets go of its lock when the caller cancels', async () => {
    driver.agent.hold('pvc-1');
    const abort = new AbortController();
    const first = driver.client.controller.createVolume(
      { name: 'pvc-1', volumeCapabilities: [mount()] },
      { signal: abort.signal },
    );
    await expect.poll(async () => (await driver.store.find('Volume', 'pvc-1')) !== undefined).toBe(true);
    abort.abort();
    expect(await code(first)).toBe('CANCELLED');
    await driver.agent.release('pvc-1');
    await expect.poll(() => code(volume('pvc-1', { capacityRange: undefined }))).toBe('OK');
  });

  it('hands the claim of the sidecar over, and no other key of it', async () => {
    const keys = {
      'csi.storage.k8s.io/pvc/name': 'data',
      'csi.storage.k8s.io/pvc/namespace': 'shop',
      'csi.storage.k8s.io/pv/name': 'pvc-1',
    };
    await volume('pvc-1', { parameters: keys });
    const { spec, metadata } = await driver.store.get('Volume', 'pvc-1');
    expect(spec.claim).toEqual({ name: 'data', namespace: 'shop' });
    expect(metadata.annotations['csi.azekura.dev/parameters']).toBe('{}');
  });

  it('makes a volume from a snapshot or volume, echoes the source, and refuses a smaller one', async () => {
    const source = await volume('origin');
    const { snapshot } = await driver.client.controller.createSnapshot({ name: 'snap', sourceVolumeId: source });
    const fromSnapshot = {
      volumeContentSource: { type: { case: 'snapshot', value: { snapshotId: snapshot?.snapshotId } } },
    };
    const clone = await driver.client.controller.createVolume({
      name: 'from-snapshot',
      volumeCapabilities: [mount()],
      ...(fromSnapshot as object),
    });
    expect(clone.volume?.contentSource?.type).toMatchObject({
      case: 'snapshot',
      value: { snapshotId: snapshot?.snapshotId },
    });
    expect(clone.volume?.capacityBytes).toBe(gib);
    const small = { ...fromSnapshot, capacityRange: { requiredBytes: gib / 2n } };
    expect(await code(volume('small', small))).toBe('OUT_OF_RANGE');
    const unknown = { volumeContentSource: { type: { case: 'volume', value: { volumeId: 'fake-vol-id' } } } };
    expect(await code(volume('c', unknown))).toBe('NOT_FOUND');
    const asBlock = {
      volumeContentSource: { type: { case: 'volume', value: { volumeId: source } } },
      volumeCapabilities: [block],
    };
    expect(await code(volume('d', asBlock))).toBe('INVALID_ARGUMENT');
  });
});

describe('DeleteVolume', () => {
  it('is no error for a volume that is not there, and none when repeated', async () => {
    const handle = await volume('pvc-1');
    expect(await code(driver.client.controller.deleteVolume({ volumeId: 'fake-vol-id' }))).toBe('OK');
    expect(await code(driver.client.controller.deleteVolume({ volumeId: handle }))).toBe('OK');
    expect(await code(driver.client.controller.deleteVolume({ volumeId: handle }))).toBe('OK');
    expect((await driver.store.list('Volume')).items).toEqual([]);
  });

  it('is refused while the volume has snapshots or is published', async () => {
    const handle = await volume('pvc-1');
    const { snapshot } = await driver.client.controller.createSnapshot({ name: 's', sourceVolumeId: handle });
    expect(await code(driver.client.controller.deleteVolume({ volumeId: handle }))).toBe('FAILED_PRECONDITION');
    await driver.client.controller.deleteSnapshot({ snapshotId: snapshot?.snapshotId ?? '' });
    await driver.client.controller.controllerPublishVolume({
      volumeId: handle,
      nodeId: fakeNodeName,
      volumeCapability: mount(),
    });
    expect(await code(driver.client.controller.deleteVolume({ volumeId: handle }))).toBe('FAILED_PRECONDITION');
  });

  it('gives a name that is used again another handle', async () => {
    const first = await volume('pvc-1');
    await driver.client.controller.deleteVolume({ volumeId: first });
    const second = await volume('pvc-1');
    expect(second).not.toBe(first);
    await driver.client.controller.deleteVolume({ volumeId: first });
    expect((await driver.store.list('Volume')).items).toHaveLength(1);
  });
});

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
});

describe('other controller calls', () => {
  it('validates capabilities without an error for what is not possible', async () => {
    const handle = await volume('pvc-1');
    const validate = (capability: object) =>
      driver.client.controller.validateVolumeCapabilities({ volumeId: handle, volumeCapabilities: [capability] });
    expect((await validate(mount())).confirmed?.volumeCapabilities).toHaveLength(1);
    const refused = await validate(block);
    expect(refused.confirmed).toBeUndefined();
    expect(refused.message).toContain('file system');
    expect((await validate(mount(Mode.MULTI_NODE_READER_ONLY))).confirmed).toBeUndefined();
  });

  it('pages lists by a token that survives changes, and refuses a foreign one with ABORTED', async () => {
    const handles = [];
    for (const name of ['a', 'b', 'c', 'd']) handles.push(await volume(name));
    handles.sort();
    const first = await driver.client.controller.listVolumes({ maxEntries: 2 });
    expect(first.entries.map(({ volume: one }) => one?.volumeId)).toEqual(handles.slice(0, 2));
    await driver.client.controller.deleteVolume({ volumeId: handles[1] ?? '' });
    const rest = await driver.client.controller.listVolumes({ startingToken: first.nextToken });
    expect(rest.entries.map(({ volume: one }) => one?.volumeId)).toEqual(handles.slice(2));
    expect(rest.nextToken).toBe('');
    expect(await code(driver.client.controller.listVolumes({ startingToken: 'invalid-token' }))).toBe('ABORTED');
    expect(await code(driver.client.controller.listVolumes({ maxEntries: -1 }))).toBe('INVALID_ARGUMENT');
  });

  it('tells the capacity of a node, 0 for an unknown one, and the largest thin volume apart', async () => {
    const here = await driver.client.controller.getCapacity({
      accessibleTopology: { segments: { [topologyKey]: fakeNodeName } },
    });
    expect(here.availableCapacity).toBe(55n * gib);
    expect(here.maximumVolumeSize).toBe(150n * gib);
    const thick = await driver.client.controller.getCapacity({ parameters: { provisioning: 'thick' } });
    expect(thick.maximumVolumeSize).toBe(55n * gib);
    const elsewhere = await driver.client.controller.getCapacity({
      accessibleTopology: { segments: { [topologyKey]: 'node-b' } },
    });
    expect(elsewhere).toMatchObject({ availableCapacity: 0n, maximumVolumeSize: 0n });
    const shared = await driver.client.controller.getCapacity({
      volumeCapabilities: [mount(Mode.MULTI_NODE_MULTI_WRITER)],
    });
    expect(shared.availableCapacity).toBe(0n);
  });

  it('expands to exactly what is asked, never shrinks, and answers OK for what is large enough', async () => {
    const handle = await volume('pvc-1');
    const expand = (requiredBytes: bigint) =>
      driver.client.controller.controllerExpandVolume({ volumeId: handle, capacityRange: { requiredBytes } });
    expect(await expand(2n * gib)).toMatchObject({ capacityBytes: 2n * gib, nodeExpansionRequired: true });
    expect((await expand(gib)).capacityBytes).toBe(2n * gib);
    expect(await code(driver.client.controller.controllerExpandVolume({ volumeId: handle }))).toBe('INVALID_ARGUMENT');
    driver.operations.capacityBytes = 1;
    expect(await code(expand(9n * gib))).toBe('RESOURCE_EXHAUSTED');
  });

  it('modifies all or nothing', async () => {
    const handle = await volume('pvc-1', { mutableParameters: { recycle: '1h' } });
    const modify = (mutableParameters: Record<string, string>) =>
      code(driver.client.controller.controllerModifyVolume({ volumeId: handle, mutableParameters }));
    expect(await modify({ recycle: '2h', other: 'x' })).toBe('INVALID_ARGUMENT');
    expect(await modify({ recycle: 'soon' })).toBe('INVALID_ARGUMENT');
    expect((await driver.store.get('Volume', 'pvc-1')).spec.recycleMs).toBe(3_600_000);
    expect(await modify({})).toBe('OK');
    expect(await code(driver.client.controller.controllerModifyVolume({ volumeId: 'unknown' }))).toBe('NOT_FOUND');
  });

  it('tells health by causes: empty when all is well', async () => {
    const handle = await volume('pvc-1');
    expect((await driver.client.controller.controllerGetVolumeHealth({ volumeId: handle })).volumeHealth).toMatchObject(
      {
        volumeId: handle,
        healthStatuses: [],
      },
    );
    driver.agent.causes.set('pvc-1', makeCause('FilesystemNeedsCheck', { volume: 'pvc-1', problem: 'bad magic' }));
    await driver.agent.release('pvc-1');
    await expect
      .poll(async () => (await driver.client.controller.controllerListVolumeHealth({})).entries[0]?.healthStatuses)
      .toMatchObject([{ status: 3, reason: 'FilesystemNeedsCheck' }]);
  });
});

describe('snapshots', () => {
  it('are idempotent by name, and ALREADY_EXISTS for another volume', async () => {
    const [a, b] = [await volume('a'), await volume('b')];
    const make = (sourceVolumeId: string) => driver.client.controller.createSnapshot({ name: 'S n/1', sourceVolumeId });
    const { snapshot } = await make(a);
    expect((await make(a)).snapshot?.snapshotId).toBe(snapshot?.snapshotId);
    expect(snapshot).toMatchObject({ sourceVolumeId: a, readyToUse: true, sizeBytes: gib });
    expect(await code(make(b))).toBe('ALREADY_EXISTS');
    expect(await code(driver.client.controller.createSnapshot({ name: 'x', sourceVolumeId: 'unknown' }))).toBe(
      'NOT_FOUND',
    );
  });

  it('are listed when cut, by id or volume; what is unknown gives an empty list', async () => {
    const handle = await volume('a');
    const { snapshot } = await driver.client.controller.createSnapshot({ name: 's1', sourceVolumeId: handle });
    driver.agent.hold('s2');
    const uncut = driver.client.controller.createSnapshot({ name: 's2', sourceVolumeId: handle }, { deadlineMs: 500 });
    expect(await code(uncut)).toBe('DEADLINE_EXCEEDED');
    const list = async (filter: object) => (await driver.client.controller.listSnapshots(filter)).entries.length;
    expect(await list({})).toBe(1);
    expect(await list({ snapshotId: snapshot?.snapshotId })).toBe(1);
    expect(await list({ sourceVolumeId: handle })).toBe(1);
    expect(await list({ sourceVolumeId: 'unknown' })).toBe(0);
    expect(await list({ snapshotId: 'none-exist-id' })).toBe(0);
    const uncutId = (await driver.store.get('Snapshot', 's2')).spec.snapshotId ?? '';
    expect((await driver.client.controller.getSnapshot({ snapshotId: uncutId })).snapshot?.readyToUse).toBe(false);
    expect(await code(driver.client.controller.getSnapshot({ snapshotId: 'unknown' }))).toBe('NOT_FOUND');
    await driver.agent.release('s2');
  });

  it('lie beside their volume: a foreign topology is RESOURCE_EXHAUSTED', async () => {
    const handle = await volume('a');
    const at = (node: string) => ({ requisite: [{ segments: { [topologyKey]: node } }] });
    const make = (name: string, node: string) =>
      driver.client.controller.createSnapshot({ name, sourceVolumeId: handle, accessibilityRequirements: at(node) });
    expect((await make('s1', fakeNodeName)).snapshot?.accessibleTopology[0]?.segments).toEqual({
      [topologyKey]: fakeNodeName,
    });
    expect(await code(make('s2', 'node-b'))).toBe('RESOURCE_EXHAUSTED');
  });

  it('of a group come and go together', async () => {
    const handles = [await volume('a'), await volume('b')];
    const make = (name: string, sourceVolumeIds: string[]) =>
      driver.client.group.createVolumeGroupSnapshot({ name, sourceVolumeIds });
    const { groupSnapshot } = await make('nightly', handles);
    expect(groupSnapshot?.readyToUse).toBe(true);
    expect(groupSnapshot?.snapshots.map((one) => one.sourceVolumeId).sort()).toEqual([...handles].sort());
    expect((await make('nightly', [...handles].reverse())).groupSnapshot?.groupSnapshotId).toBe(
      groupSnapshot?.groupSnapshotId,
    );
    expect(await code(make('nightly', handles.slice(1)))).toBe('ALREADY_EXISTS');
    expect(await code(make('', handles))).toBe('INVALID_ARGUMENT');
    const ids = groupSnapshot?.snapshots.map((one) => one.snapshotId) ?? [];
    const groupSnapshotId = groupSnapshot?.groupSnapshotId ?? '';
    expect(await code(driver.client.controller.deleteSnapshot({ snapshotId: ids[0] ?? '' }))).toBe('INVALID_ARGUMENT');
    expect(await code(driver.client.group.getVolumeGroupSnapshot({ groupSnapshotId, snapshotIds: ids.slice(1) }))).toBe(
      'INVALID_ARGUMENT',
    );
    expect(
      (await driver.client.group.getVolumeGroupSnapshot({ groupSnapshotId, snapshotIds: ids })).groupSnapshot
        ?.snapshots,
    ).toHaveLength(2);
    expect(await code(driver.client.group.getVolumeGroupSnapshot({ groupSnapshotId: 'fake-vol-id' }))).toBe(
      'NOT_FOUND',
    );
    expect(await code(driver.client.group.deleteVolumeGroupSnapshot({ groupSnapshotId: 'fake-vol-id' }))).toBe('OK');
    expect(await code(driver.client.group.deleteVolumeGroupSnapshot({ groupSnapshotId, snapshotIds: [] }))).toBe(
      'INVALID_ARGUMENT',
    );
    expect(await code(driver.client.group.deleteVolumeGroupSnapshot({ groupSnapshotId, snapshotIds: ids }))).toBe('OK');
    expect(await code(driver.client.group.deleteVolumeGroupSnapshot({ groupSnapshotId, snapshotIds: ids }))).toBe('OK');
    await expect.poll(async () => (await driver.store.list('Snapshot')).items).toEqual([]);
  });
});
