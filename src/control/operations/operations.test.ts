import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AzekuraError } from '../../model/errors.ts';
import { attachmentName } from '../../model/names.ts';
import { ControlFixture } from '../fixture.ts';
import type { CreateVolumeRequest, Operations } from '../operations.ts';

const gibibyte = 2 ** 30;
let fixture: ControlFixture;
let operations: Operations;
beforeAll(async () => {
  fixture = await ControlFixture.open();
  operations = fixture.operations;
  await fixture.volume('db');
  await fixture.operations.createSnapshot({ name: 'snap', volumeName: 'db' });
  await fixture.until('Snapshot', 'snap', (one) => one?.status.readyToUse === true);
});
afterAll(() => fixture.close());

async function refusal(promise: Promise<unknown>): Promise<AzekuraError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof AzekuraError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

describe('createVolume refuses', () => {
  const good: CreateVolumeRequest = { name: 'v', sizeBytes: gibibyte };
  it.each<[string, Partial<CreateVolumeRequest>, string, RegExp]>([
    ['an empty name', { name: '' }, 'InvalidArgument', /must not be empty/],
    ['a name of 64 characters', { name: 'a'.repeat(64) }, 'InvalidArgument', /at most 63/],
    ['a name of 128 characters', { name: 'a'.repeat(128) }, 'InvalidArgument', /at most 63/],
    ['a name of 129 characters', { name: 'a'.repeat(129) }, 'InvalidArgument', /at most 63/],
    ['a name with a slash', { name: 'a/b' }, 'InvalidArgument', /letters, digits/],
    ['a name of dots', { name: '..' }, 'InvalidArgument', /letters, digits/],
    ['a name beyond ASCII', { name: '校倉' }, 'InvalidArgument', /letters, digits/],
    ['a name for a shell', { name: '$(reboot)' }, 'InvalidArgument', /letters, digits/],
    ['no size', { sizeBytes: undefined as unknown as number }, 'InvalidArgument', /needs a size/],
    ['a size of zero', { sizeBytes: 0 }, 'InvalidArgument', /greater than zero/],
    ['a negative size', { sizeBytes: -1 }, 'InvalidArgument', /greater than zero/],
    ['a size of 2^63', { sizeBytes: 2 ** 63 }, 'OutOfRange', /beyond 8Pi/],
    ['a size that is no number', { sizeBytes: Number.NaN }, 'InvalidArgument', /not a number/],
    ['an XFS below 300Mi', { sizeBytes: 2 ** 28 }, 'OutOfRange', /below 300Mi/],
    ['a class that does not exist', { className: 'nonesuch' }, 'NotFound', /class nonesuch does not exist/],
    ['a pool that does not exist', { poolName: 'nonesuch' }, 'NotFound', /no pool "nonesuch"/],
    ['a file system on a raw block volume', { mode: 'block', filesystem: 'xfs' }, 'InvalidArgument', /no file system/],
    ['an unknown parameter', { parameters: { color: 'red' } }, 'InvalidArgument', /color/],
    [
      'a snapshot that does not exist',
      { source: { kind: 'snapshot', name: 'nonesuch' } },
      'NotFound',
      /snapshot nonesuch does not exist/,
    ],
    [
      'a source that does not exist',
      { source: { kind: 'volume', name: 'nonesuch' } },
      'NotFound',
      /volume nonesuch does not exist/,
    ],
    [
      'less than the source has',
      { sizeBytes: gibibyte / 2, source: { kind: 'snapshot', name: 'snap' } },
      'OutOfRange',
      /below that of the source/,
    ],
    [
      'another mode than the source has',
      { mode: 'block', source: { kind: 'volume', name: 'db' } },
      'InvalidArgument',
      /mode filesystem, not block/,
    ],
    [
      'another file system than the source has',
      { filesystem: 'ext4', source: { kind: 'volume', name: 'db' } },
      'InvalidArgument',
      /holds xfs/,
    ],
    ['more than any pool can promise', { sizeBytes: 100 * gibibyte }, 'ResourceExhausted', /pool main has no room/],
    [
      'a thick volume beyond the free space',
      { sizeBytes: 10 * gibibyte, provisioning: 'thick' },
      'ResourceExhausted',
      /pool main has no room/,
    ],
    ['a label that is none', { labels: { 'a b': 'c' } }, 'InvalidArgument', /is not a label/],
  ])('%s, with one clear sentence and a next step', async (_, part, code, message) => {
    const error = await refusal(operations.createVolume({ ...good, ...part }));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('\n');
    expect(await fixture.store.find('Volume', 'v')).toBeUndefined();
  });
});

describe('createVolume', () => {
  it('rounds the size up to whole sectors, and keeps the policy of the class', async () => {
    const { volume } = await operations.createVolume({ name: 'odd', sizeBytes: gibibyte + 1, className: 'local-ext4' });
    expect(volume.spec).toMatchObject({
      sizeBytes: gibibyte + 4096,
      className: 'local-ext4',
      policy: { filesystem: 'ext4' },
    });
  });

  it('takes a name of 63 characters', async () => {
    const { volume } = await operations.createVolume({ name: 'a'.repeat(63), sizeBytes: gibibyte, dryRun: true });
    expect(volume.metadata.name).toHaveLength(63);
  });

  it('writes nothing in a dry run, and tells where the volume would go', async () => {
    const { placement } = await operations.createVolume({ name: 'dry', sizeBytes: gibibyte, dryRun: true });
    expect(placement.chosen).toEqual([{ nodeName: 'here', poolName: 'main' }]);
    expect(await fixture.store.find('Volume', 'dry')).toBeUndefined();
  });

  it('is no error again for the same, and is one for something else under the name', async () => {
    const first = await operations.createVolume({ name: 'twice', sizeBytes: gibibyte });
    const second = await operations.createVolume({ name: 'twice', sizeBytes: gibibyte });
    expect(second.volume.metadata.uid).toBe(first.volume.metadata.uid);
    expect(await refusal(operations.createVolume({ name: 'twice', sizeBytes: 2 * gibibyte }))).toMatchObject({
      code: 'AlreadyExists',
    });
  });

  it('makes one volume of two requests at the same time', async () => {
    const made = await Promise.all(
      ['x', 'x', 'x'].map((name) => operations.createVolume({ name, sizeBytes: gibibyte })),
    );
    expect(new Set(made.map(({ volume }) => volume.metadata.uid)).size).toBe(1);
  });

  it('never promises more than there is to a burst of requests', async () => {
    const before = fixture.controllers.view.ledger.sums('main').promisedBytes;
    const room = Math.floor((20 * gibibyte - 0.5 * gibibyte - before) / gibibyte);
    const outcomes = await Promise.allSettled(
      Array.from({ length: room + 10 }, (_, index) =>
        operations.createVolume({ name: `burst-${index}`, sizeBytes: gibibyte }),
      ),
    );
    const made = outcomes.filter((one) => one.status === 'fulfilled').length;
    expect(made).toBe(room);
    for (let index = 0; index < room + 10; index++)
      if (await fixture.store.find('Volume', `burst-${index}`)) await fixture.ready(`burst-${index}`);
    expect(fixture.controllers.view.ledger.sums('main').promisedBytes).toBeLessThanOrEqual(19.5 * gibibyte);
    for (let index = 0; index < room + 10; index++) {
      if (await fixture.store.find('Volume', `burst-${index}`))
        await operations.deleteVolume(`burst-${index}`, { skipRecycleBin: true });
      await fixture.until('Volume', `burst-${index}`, (one) => one === undefined);
    }
  });
});

describe('a volume that is mounted', () => {
  it('is not deleted, restored or repaired, and is not at two paths of two volumes', async () => {
    await fixture.volume('used');
    await fixture.volume('other');
    await operations.mountVolume('used', { path: '/mnt/used' });
    for (const attempt of [
      () => operations.deleteVolume('used'),
      () => operations.repairVolume('used'),
      () => operations.deleteVolume('used', { skipRecycleBin: true, dryRun: true }),
    ])
      expect(await refusal(attempt())).toMatchObject({ code: 'FailedPrecondition', blame: { code: 'InUse' } });
    await fixture.until('Volume', 'used', (one) => one?.status.attachedTo.length === 1);
    expect(await refusal(operations.mountVolume('other', { path: '/mnt/used' }))).toMatchObject({
      blame: { code: 'MountPointBusy' },
    });
    await operations.unmountVolume('used');
    await fixture.until('Volume', 'used', (one) => one?.status.attachedTo.length === 0);
    await operations.unmountVolume('used');
  });

  it('is looked at anew when it is to be mounted where it is mounted already: a reboot may have unmounted it', async () => {
    const volume = await fixture.volume('rebooted');
    await operations.mountVolume('rebooted', { path: '/mnt/rebooted' });
    const name = attachmentName(volume.status.volumeId ?? '', volume.status.replicas[0]?.nodeName ?? '');
    const before = await fixture.store.get('Attachment', name);
    await operations.mountVolume('rebooted', { path: '/mnt/rebooted' });
    const after = await fixture.store.get('Attachment', name);
    expect(after.spec.observeRequestId).not.toBe(before.spec.observeRequestId);
    expect(after.metadata.generation).toBeGreaterThan(before.metadata.generation);
    expect(after.spec.published).toEqual(before.spec.published);
    await operations.unmountVolume('rebooted');
  });

  it('is mounted with options from a list only', async () => {
    for (const option of ['nobarrier', 'norecovery', 'logdev=/dev/sda', 'noatime,nobarrier', '-o bind'])
      expect(await refusal(operations.mountVolume('other', { path: '/mnt/o', mountOptions: [option] }))).toMatchObject({
        code: 'InvalidArgument',
      });
    await operations.mountVolume('other', { path: '/mnt/o', mountOptions: ['noatime'] });
    await operations.unmountVolume('other');
  });
});

describe('expandVolume', () => {
  it('does not shrink, and does not promise what is not there', async () => {
    await fixture.volume('grows');
    expect(await refusal(operations.expandVolume('grows', gibibyte / 2))).toMatchObject({ code: 'OutOfRange' });
    expect(await refusal(operations.expandVolume('grows', 200 * gibibyte))).toMatchObject({
      code: 'ResourceExhausted',
    });
    expect(await refusal(operations.expandVolume('nonesuch', gibibyte))).toMatchObject({ code: 'NotFound' });
    await operations.expandVolume('grows', 2 * gibibyte);
    await fixture.until(
      'Volume',
      'grows',
      (one) => one?.status.sizeBytes === 2 * gibibyte && one.status.phase === 'Ready',
    );
    await operations.expandVolume('grows', 2 * gibibyte);
  });
});

describe('snapshots', () => {
  it('are refused of a volume that has vanished, and under a name that is taken', async () => {
    expect(await refusal(operations.createSnapshot({ name: 's', volumeName: 'nonesuch' }))).toMatchObject({
      blame: { code: 'SourceNotFound' },
    });
    expect(await refusal(operations.createSnapshot({ name: 'snap', volumeName: 'other' }))).toMatchObject({
      code: 'AlreadyExists',
    });
    expect((await operations.createSnapshot({ name: 'snap', volumeName: 'db' })).metadata.name).toBe('snap');
  });

  it('keep their volume from being deleted for good, by name', async () => {
    const error = await refusal(operations.deleteVolume('db', { skipRecycleBin: true }));
    expect(error).toMatchObject({ code: 'FailedPrecondition', details: { snapshots: ['snap'] } });
    expect(error.message).toContain('snap');
  });

  it('in a group go with the group only', async () => {
    await fixture.volume('wal');
    await operations.createSnapshotGroup({ name: 'g', volumeNames: ['db', 'wal'] });
    await fixture.until('Snapshot', 'g-wal', (one) => one?.status.readyToUse === true);
    expect(await refusal(operations.deleteSnapshot('g-wal'))).toMatchObject({ code: 'FailedPrecondition' });
    expect(await refusal(operations.createSnapshotGroup({ name: 'g', volumeNames: ['db'] }))).toMatchObject({
      code: 'AlreadyExists',
    });
    await operations.deleteSnapshotGroup('g');
    await fixture.until('SnapshotGroup', 'g', (one) => one === undefined);
    expect(await fixture.store.find('Snapshot', 'g-db')).toBeUndefined();
  });

  it('are put back into their own volume only', async () => {
    expect(await refusal(operations.restoreVolume('wal', 'snap'))).toMatchObject({ code: 'InvalidArgument' });
    await operations.restoreVolume('db', 'snap');
    await fixture.until('Volume', 'db', (one) => one?.status.restore !== undefined);
  });
});

describe('pools and classes', () => {
  it('are checked before anything is written', async () => {
    const source = { kind: 'directory' as const, path: '/pools/new' };
    expect(await refusal(operations.createPool({ name: '../x', spec: { source } }))).toMatchObject({
      code: 'InvalidArgument',
    });
    expect(
      await refusal(
        operations.createPool({ name: 'x', spec: { source: { kind: 'directory', path: '/pools/main/inside' } } }),
      ),
    ).toMatchObject({ code: 'FailedPrecondition' });
    expect(
      await refusal(operations.createPool({ name: 'x', spec: { source: { kind: 'directory', path: '/a/../b' } } })),
    ).toMatchObject({ code: 'InvalidArgument' });
    expect(await refusal(operations.createPool({ name: 'x', spec: { source, engine: 'nonesuch' } }))).toMatchObject({
      code: 'InvalidArgument',
    });
    expect(await refusal(operations.createPool({ name: 'x', spec: { source, reservePercent: 90 } }))).toMatchObject({
      code: 'InvalidArgument',
    });
    expect((await operations.createPool({ name: 'x', spec: { source }, dryRun: true })).plan).toEqual(['make it']);
    expect(await fixture.store.find('Pool', 'x')).toBeUndefined();
  });

  it('with volumes are not removed', async () => {
    const error = await refusal(operations.removePool('main'));
    expect(error).toMatchObject({ code: 'FailedPrecondition', blame: { code: 'InUse' } });
    expect(error.message).toContain('volume');
  });

  it('have one default among them', async () => {
    await operations.createClass('fast', { isDefault: true });
    await fixture.until('Class', 'local-xfs', (one) => one?.spec.isDefault === false);
    expect(await refusal(operations.createClass('shared', { shared: true }))).toMatchObject({ code: 'Unimplemented' });
    expect(await refusal(operations.createClass('mirrored', { replicas: 2 }))).toMatchObject({ code: 'Unimplemented' });
    expect(await refusal(operations.createClass('weak', { mountOptions: ['nobarrier'] }))).toMatchObject({
      code: 'InvalidArgument',
    });
    expect(await refusal(operations.updateClass('nonesuch', {}))).toMatchObject({ code: 'NotFound' });
    await operations.updateClass('local-xfs', { isDefault: true });
    await operations.deleteClass('fast');
  });
});

describe('a request', () => {
  it('is named by what it makes, changes and deletes, and by what comes of that', async () => {
    const annotation = 'azekura.dev/request-id';
    await fixture.operations.as({ requestId: 'r1' }).createVolume({ name: 'traced', sizeBytes: gibibyte });
    await fixture.ready('traced');
    const { status } = await fixture.store.get('Volume', 'traced');
    const replica = status.replicas[0]?.replicaName ?? '';
    const idOf = async (kind: 'Volume' | 'Replica' | 'RecycledVolume', name: string) =>
      (await fixture.store.find(kind, name))?.metadata.annotations[annotation];
    expect([await idOf('Volume', 'traced'), await idOf('Replica', replica)]).toEqual(['r1', 'r1']);
    await fixture.operations.as({ requestId: 'r2' }).expandVolume('traced', 2 * gibibyte);
    await fixture.until('Replica', replica, (one) => one?.status.sizeBytes === 2 * gibibyte);
    expect([await idOf('Volume', 'traced'), await idOf('Replica', replica)]).toEqual(['r2', 'r2']);
    await fixture.operations.as({ requestId: 'r3' }).deleteVolume('traced');
    await fixture.until('Volume', 'traced', (one) => one === undefined);
    const [entry] = (await fixture.store.list('RecycledVolume')).items.filter(
      ({ spec }) => spec.volumeName === 'traced',
    );
    expect([entry?.metadata.annotations[annotation], await idOf('Replica', replica)]).toEqual(['r3', 'r3']);
    fixture.stuck.add(replica);
    await fixture.operations.as({ requestId: 'r4' }).purgeVolume(entry?.metadata.name ?? '');
    await fixture.until('Replica', replica, (one) => one?.metadata.deletionTimestamp !== undefined);
    expect(await idOf('Replica', replica)).toBe('r4');
  });
});
