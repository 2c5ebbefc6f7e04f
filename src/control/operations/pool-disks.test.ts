import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PoolDisk } from '../../model/pool.ts';
import { changeStatus } from '../../store/change.ts';
import { ControlFixture } from '../fixture.ts';

let fixture: ControlFixture;
const disk = (path: string, id: string, source?: string): PoolDisk => ({
  path,
  id,
  ...(source === undefined ? {} : { source }),
  serial: `S-${id}`,
  sizeBytes: 2 ** 40,
  usedBytes: 0,
  state: 'InUse',
});

beforeAll(async () => {
  fixture = await ControlFixture.open();
  const source = { kind: 'disks' as const, disks: ['/dev/sdb', '/dev/sdc'] };
  await fixture.operations.createPool({ name: 'group', spec: { engine: 'lvm', source } });
  // The names have changed since the pool was made.
  await changeStatus(fixture.store, 'Pool', 'group', () => ({
    disks: [disk('/dev/sdx', 'one', '/dev/sdb'), disk('/dev/sdb', 'two', '/dev/sdc')],
  }));
});
afterAll(() => fixture.close());

const specOf = async () => (await fixture.store.get('Pool', 'group')).spec;

describe('changeDisks', () => {
  it('tells the plan of a dry run, and changes nothing', async () => {
    const before = await specOf();
    const { pool, plan } = await fixture.operations.changeDisks('group', { add: ['/dev/sdd'], dryRun: true });
    expect(plan).toEqual(['make it']);
    expect(pool.spec.source).toMatchObject({ disks: ['/dev/sdb', '/dev/sdc', '/dev/sdd'] });
    expect(await specOf()).toEqual(before);
  });

  it.each([
    [{ remove: ['/dev/sdq'] }, 'NotFound', /has no disk \/dev\/sdq/],
    [{ remove: ['/dev/sdb', '/dev/sdx'] }, 'FailedPrecondition', /is all that pool group has/],
    [{ add: ['/dev/../etc'] }, 'InvalidArgument', /shortest form/],
    [{ add: ['etc'] }, 'InvalidArgument', /disks/],
  ])('refuses %j', async (request, code, message) => {
    await expect(fixture.operations.changeDisks('group', request)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });

  it('refuses pools that are not made of disks, and disks of other pools', async () => {
    await expect(fixture.operations.changeDisks('main', { add: ['/dev/sdd'] })).rejects.toThrow(/is not made of disks/);
    await fixture.operations.createPool({
      name: 'other',
      spec: { engine: 'lvm', source: { kind: 'disks', disks: ['/dev/sde'] } },
    });
    await expect(fixture.operations.changeDisks('group', { add: ['/dev/sde'] })).rejects.toThrow(/pool other is at/);
  });

  it('knows a disk by what it is, not by the name that it had', async () => {
    await fixture.operations.changeDisks('group', { add: ['/dev/sdd'], confirmedIds: ['S4'], remove: ['/dev/sdb'] });
    expect(await specOf()).toMatchObject({
      leavingDisks: ['two'],
      source: { disks: ['/dev/sdb', '/dev/sdd'], confirmedIds: ['S4'] },
    });
    await fixture.operations.changeDisks('group', { remove: ['S-one'] });
    expect(await specOf()).toMatchObject({ leavingDisks: ['two', 'one'], source: { disks: ['/dev/sdd'] } });
  });

  it('forgets what has left, so that it may come back', async () => {
    await changeStatus(fixture.store, 'Pool', 'group', () => ({ disks: [disk('/dev/sdd', 'three', '/dev/sdd')] }));
    await fixture.operations.changeDisks('group', { add: ['/dev/sdb'] });
    expect(await specOf()).toMatchObject({ leavingDisks: [], source: { disks: ['/dev/sdd', '/dev/sdb'] } });
  });
});
