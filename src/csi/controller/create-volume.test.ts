import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VolumeCapability_AccessMode_Mode as Mode } from '../../gen/csi/csi_pb.js';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError } from '../../model/errors.ts';
import { objectName } from '../common/names.ts';
import { topologyKey } from '../common/topology.ts';
import { type Driver, fakeNodeName, startDriver } from '../fake/driver.ts';
import { block, code, gib, makeVolume, mount } from '../fake/kit.ts';

let driver: Driver;
beforeEach(async () => {
  driver = await startDriver({ maxVolumesPerNode: 3 });
});
afterEach(() => driver.close());

const volume = (name: string, extra: object = {}) => makeVolume(driver, name, extra);

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
    const early = driver.client.controller.createVolume(request, { deadlineMs: 2_000 });
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

  it('answers NOT_FOUND to a snapshot or volume that is not there, and ALREADY_EXISTS to another source', async () => {
    const from = (type: object) => ({ volumeContentSource: { type }, capacityRange: undefined });
    const snapshot = (snapshotId: string) => from({ case: 'snapshot', value: { snapshotId } });
    const source = await volume('origin');
    const cut = await driver.client.controller.createSnapshot({ name: 's', sourceVolumeId: source });
    const handle = cut.snapshot?.snapshotId ?? '';
    expect(await code(volume('a', snapshot('unknown')))).toBe('NOT_FOUND');
    expect(await code(volume('a', from({ case: 'volume', value: { volumeId: 'unknown' } })))).toBe('NOT_FOUND');
    expect(await code(volume('a', snapshot(handle)))).toBe('OK');
    expect(await code(volume('a', from({ case: 'volume', value: { volumeId: source } })))).toBe('ALREADY_EXISTS');
    expect(await code(volume('a', from({ case: undefined })))).toBe('INVALID_ARGUMENT');
    // The source may go; the volume is found again all the same.
    await driver.client.controller.deleteSnapshot({ snapshotId: handle });
    expect(await code(volume('a', snapshot(handle)))).toBe('OK');
  });

  it('gives what is made of a smaller source the size that is asked for', async () => {
    const value = { volumeId: await volume('origin') };
    const answer = await driver.client.controller.createVolume({
      name: 'larger',
      capacityRange: { requiredBytes: 3n * gib },
      volumeCapabilities: [mount()],
      volumeContentSource: { type: { case: 'volume', value } },
    });
    expect(answer.volume).toMatchObject({
      capacityBytes: 3n * gib,
      contentSource: { type: { case: 'volume', value } },
    });
  });

  it('lets parameters choose engine, device class and provisioning', async () => {
    const parameters = { engine: 'lvm', deviceClass: 'nvme', provisioning: 'thick' };
    await volume('pvc-1', { parameters });
    const asked = driver.operations.asked.find(({ method }) => method === 'createVolume')?.argument;
    expect(asked).toMatchObject(parameters);
    expect(await code(volume('pvc-2', { parameters: { deviceClass: 'No class' } }))).toBe('INVALID_ARGUMENT');
  });

  it('keeps room for the claim of a pod, which the volume takes over, and answers RESOURCE_EXHAUSTED for the pod', async () => {
    await driver.close();
    const asked: unknown[] = [];
    let released = 0;
    driver = await startDriver({
      claimRoom: {
        reserve: (ref, { sizeBytes, poolName }, nodeNames) => {
          asked.push({ ref, sizeBytes, poolName, nodeNames });
          if (ref.name === 'large') throw new AzekuraError('ResourceExhausted', 'its pod fits nowhere');
          return { key: `${ref.namespace}/${ref.name}`, release: () => released++ };
        },
      },
    });
    const metadata = (name: string) => ({
      'csi.storage.k8s.io/pvc/name': name,
      'csi.storage.k8s.io/pvc/namespace': 'shop',
    });
    await volume('pvc-1', { parameters: metadata('db') });
    expect(asked).toEqual([{ ref: { namespace: 'shop', name: 'db' }, sizeBytes: Number(gib) }]);
    const created = () => driver.operations.asked.filter(({ method }) => method === 'createVolume');
    expect(created()[0]?.argument).toMatchObject({ reservation: 'shop/db' });
    expect(released).toBe(1);
    // The same call again finds its volume, and needs no room.
    await volume('pvc-1', { parameters: metadata('db') });
    expect(asked).toHaveLength(1);
    expect(await code(volume('pvc-2', { parameters: metadata('large') }))).toBe('RESOURCE_EXHAUSTED');
    expect(created()).toHaveLength(1);
    // A call that fails gives it back as well.
    const accessibilityRequirements = { requisite: [{ segments: { [topologyKey]: 'node-b' } }] };
    expect(await code(volume('pvc-3', { parameters: metadata('far'), accessibilityRequirements }))).toBe(
      'RESOURCE_EXHAUSTED',
    );
    expect(released).toBe(asked.length - 1);
    // A copy is made where its source lies, and the pod's other claims must be able to follow it.
    const origin = await driver.store.get('Volume', 'pvc-1');
    const value = { volumeId: origin.status.volumeId ?? '' };
    const volumeContentSource = { type: { case: 'volume' as const, value } };
    await volume('pvc-4', { parameters: metadata('copy'), volumeContentSource });
    expect(asked.at(-1)).toMatchObject({ ref: { name: 'copy' }, poolName: origin.status.replicas[0]?.poolName });
    expect(origin.status.replicas).toHaveLength(1);
  });

  it('lets mutable parameters override those of the class', async () => {
    await volume('pvc-1', { parameters: { recycle: '1h' }, mutableParameters: { recycle: '3h' } });
    expect((await driver.store.get('Volume', 'pvc-1')).spec.recycleMs).toBe(10_800_000);
  });

  it('answers RESOURCE_EXHAUSTED when no requisite place will do, and tries the preferred ones first', async () => {
    const at = (...nodes: string[]) => nodes.map((node) => ({ segments: { [topologyKey]: node } }));
    const placed = (name: string, requisite: string[], preferred: string[] = []) =>
      code(volume(name, { accessibilityRequirements: { requisite: at(...requisite), preferred: at(...preferred) } }));
    expect(await placed('a', ['node-b'])).toBe('RESOURCE_EXHAUSTED');
    expect((await driver.store.list('Volume')).items).toEqual([]);
    expect(await placed('a', ['node-b', fakeNodeName], [fakeNodeName])).toBe('OK');
    expect((await driver.store.get('Volume', 'a')).spec.nodeNames).toEqual([fakeNodeName, 'node-b']);
    const zone = { accessibilityRequirements: { requisite: [{ segments: { zone: 'a' } }] } };
    expect(await code(volume('b', zone))).toBe('RESOURCE_EXHAUSTED');
  });

  it('leaves nothing when it answers FAILED_PRECONDITION, which the provisioner takes as final', async () => {
    driver.agent.causes.set('pvc-1', makeCause('InUse', { what: 'volume origin', holder: 'node-a' }));
    expect(await code(volume('pvc-1'))).toBe('FAILED_PRECONDITION');
    expect((await driver.store.list('Volume')).items).toEqual([]);
  });

  it('never takes a volume away that has been there before, whatever becomes of it', async () => {
    await volume('pvc-1');
    const stored = await driver.store.get('Volume', 'pvc-1');
    driver.agent.hold('pvc-1');
    const causes = [makeCause('PoolFull', { pool: 'main', wanted: '1Gi', free: '0' })];
    await driver.store.updateStatus({ ...stored, status: { ...stored.status, phase: 'Failed', causes } });
    await expect.poll(() => code(volume('pvc-1'))).toBe('ABORTED');
    expect((await driver.store.get('Volume', 'pvc-1')).metadata.deletionTimestamp).toBeUndefined();
  });
});
