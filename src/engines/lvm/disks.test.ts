import { beforeEach, describe, expect, it } from 'vitest';
import { FakeHost } from '../../host/fake.ts';
import type { BlockNode } from '../../host/host.ts';
import { type LogicalVolume, parseGroup, type Segment } from '../../host/lvm/group.ts';
import { systemClock } from '../../lib/clock.ts';
import type { EngineDeps, PoolRef } from '../contract.ts';
import { checkDisks } from './disks.ts';
import { movingFrom } from './pool-disks.ts';

const gibibyte = 2 ** 30;
const pool: PoolRef = {
  name: 'main',
  source: { kind: 'disks', disks: ['/dev/sdb'] },
  reservePercent: 5,
  acceptNoJournal: true,
  trial: false,
};

describe('a disk for a pool', () => {
  let host: FakeHost;
  beforeEach(() => {
    host = new FakeHost();
  });
  const check = (path: string, confirmed: readonly string[] = []) =>
    checkDisks({ host, clock: systemClock } as unknown as EngineDeps, pool, [path], confirmed);

  it('is taken when it is blank', async () => {
    host.addDisk('/dev/sdb', gibibyte);
    expect(await check('/dev/sdb')).toMatchObject([{ overwrite: false, prepared: false }]);
  });

  it.each([
    ['is mounted', { mountedAt: ['/srv'] }, '/dev/sdb is mounted at /srv'],
    ['is in use', { children: ['/dev/md0'] }, '/dev/sdb is in use by /dev/md0'],
    ['is read-only', { readOnly: true }, '/dev/sdb is read-only'],
    ['is small', { sizeBytes: 2 ** 20 }, '/dev/sdb has 1Mi; a disk of a pool needs at least'],
    ['holds something', { signature: 'zfs_member', serial: 'S1' }, 'holds data (zfs_member), so it is not touched'],
  ])('is refused when it %s', async (_, part, sentence) => {
    host.addDisk('/dev/sdb', gibibyte, part);
    await expect(check('/dev/sdb', ['/dev/sdb'])).rejects.toThrow(sentence);
  });

  it('is overwritten when its serial is typed', async () => {
    host.addDisk('/dev/sdb', gibibyte, { signature: 'zfs_member', serial: 'S1' });
    expect(await check('/dev/sdb', ['S1'])).toMatchObject([{ overwrite: true }]);
  });

  it('goes by its lasting name where it has one: /dev/dm-N is dealt out at each boot', async () => {
    host.addDisk('/dev/mapper/mpatha', gibibyte);
    host.addDisk('/dev/dm-4', gibibyte);
    const node: BlockNode = {
      name: 'dm-4',
      path: '/dev/dm-4',
      kind: 'mapped',
      deviceNumber: '254:4',
      sizeBytes: gibibyte,
      readOnly: false,
      rotational: false,
      mapped: { name: 'mpatha', uuid: 'mpath-1', suspended: false },
      slaves: [],
      holders: [],
    };
    host.nodes.push(node);
    await expect(check('/dev/dm-4')).rejects.toMatchObject({ next: 'name it as /dev/mapper/mpatha, which stays' });
    expect(await check('/dev/mapper/mpatha')).toHaveLength(1);
  });
});

describe('an interrupted move', () => {
  const segment: Segment = {
    type: 'mirror',
    startExtent: 0,
    extents: 1,
    areas: [
      { on: 'pv1', startExtent: 7 },
      { on: 'pv0', startExtent: 0 },
    ],
  };
  const group = {
    ...parseGroup('g { id = "a" extent_size = 8192 physical_volumes { pv0 { id = "x" } pv1 { id = "y" } } }'),
    volumes: [] as LogicalVolume[],
  };

  it('is known by the disk that it empties', () => {
    expect(movingFrom({ group })).toBeUndefined();
    const lv = {
      name: 'pvmove0',
      id: 'z',
      tags: [],
      visible: false,
      writable: true,
      sizeBytes: 0,
      segments: [segment],
    };
    expect(movingFrom({ group: { ...group, volumes: [lv] } })?.id).toBe('y');
  });
});
