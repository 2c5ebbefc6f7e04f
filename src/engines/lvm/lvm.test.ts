import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LogicalVolume, VolumeGroup } from '../../host/lvm/group.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { VolumeIdentity } from '../contract.ts';
import { Entries, groupName, snapshotName, volumeName } from './entries.ts';
import { layoutOf, refuseLayout } from './parameters.ts';
import { classOf } from './pool-observe.ts';
import { capacityOf, firstThinExtents, thinGrowth, thinPoolSizes } from './sizing.ts';
import { changeTags, type LvTags, packVolume, readTags, unpackVolume, writeTags } from './tags.ts';

const gibibyte = 2 ** 30;
const id = fc.stringMatching(/^[0-9a-z][0-9a-z-]{0,20}$/);

const identity: VolumeIdentity = {
  name: 'db',
  uid: '3b1f6b0e-7d43-4c67-9d31-0d6f2a1c9a55',
  volumeId: 'abc',
  sizeBytes: gibibyte,
  className: 'ssd',
  mode: 'filesystem',
  filesystem: 'ext4',
  provisioning: 'thin',
  createdAt: '2026-01-01T00:00:00.000Z',
  generation: 3,
  claim: { namespace: 'default', name: 'data-db-0', labels: { app: 'ü/"\\,', long: 'x'.repeat(3000) } },
};

describe('tags', () => {
  const tags: fc.Arbitrary<LvTags> = fc.record({
    kind: fc.constantFrom('volume', 'snapshot', 'pool', 'part'),
    state: fc.constantFrom('new', 'ready', 'cut', 'bin', 'gone'),
    volumeId: fc.option(id, { nil: undefined }),
    snapshotId: fc.option(id, { nil: undefined }),
    generation: fc.nat(1000),
    blank: fc.boolean(),
    zeroFrom: fc.option(fc.nat(), { nil: undefined }),
    label: fc.option(fc.stringMatching(/^[a-z][a-z0-9.-]{0,40}$/), { nil: undefined }),
    packed: fc.option(fc.stringMatching(/^[A-Za-z0-9_-]{1,3000}$/), { nil: undefined }),
  });

  it('are read as they were written, in any order, among those of others', () => {
    fc.assert(
      fc.property(tags, fc.array(fc.constantFrom('backup', 'x=y')), (wanted, others) => {
        expect(readTags([...others, ...writeTags(wanted).toReversed()])).toEqual(wanted);
      }),
    );
  });

  it('keep to what LVM allows: 1024 characters of its alphabet', () => {
    const written = writeTags({
      kind: 'volume',
      state: 'ready',
      generation: 0,
      blank: false,
      label: 'ein Name mit Ümläuten, und mehr',
      packed: packVolume(identity),
    });
    for (const tag of written) expect(tag).toMatch(/^[A-Za-z0-9_+.][A-Za-z0-9_+.\-/=!:&#]{0,1023}$/);
  });

  it('of others are never changed, and what is right is not written again', () => {
    const now = writeTags({ kind: 'volume', state: 'ready', generation: 0, blank: true, label: 'a' });
    const next = writeTags({ kind: 'volume', state: 'ready', generation: 0, blank: false, label: 'a' });
    expect(changeTags([...now, 'mine'], next)).toEqual({ add: [], remove: ['azk.blank'] });
    expect(changeTags([...next, 'mine'], next)).toEqual({ add: [], remove: [] });
  });

  it('that are not understood are left alone', () => {
    expect(readTags([])).toBeUndefined();
    expect(readTags(['azk.kind=volume', 'azk.state=ready'])).toBeUndefined();
    expect(readTags(['azekura', 'azk.kind=cache', 'azk.state=ready'])).toBeUndefined();
  });

  it('hold the identity; a damaged one says so and is not believed', () => {
    const packed = packVolume(identity);
    expect(unpackVolume(packed)).toEqual({ ok: true, value: identity });
    expect(unpackVolume(undefined).ok).toBe(false);
    expect(unpackVolume(packed.slice(0, packed.length / 2)).ok).toBe(false);
    expect(unpackVolume('AAAA').ok).toBe(false);
  });
});

function lv(name: string, tags: LvTags, segments: LogicalVolume['segments'] = []): LogicalVolume {
  return { name, id: name, tags: writeTags(tags), visible: true, writable: true, sizeBytes: 2 ** 26, segments };
}

function groupOf(volumes: readonly LogicalVolume[]): VolumeGroup {
  const pv = {
    key: 'pv0',
    id: 'p',
    deviceHint: '/dev/sda',
    allocatable: true,
    missing: false,
    extents: 1000,
    deviceBytes: 0,
  };
  return {
    name: 'g',
    id: 'g',
    seqno: 1,
    writtenMs: 0,
    extentBytes: 4 * 2 ** 20,
    status: ['WRITE'],
    tags: [],
    systemId: '',
    lockType: 'none',
    physical: [pv],
    volumes,
  };
}

describe('entries', () => {
  const base = { generation: 0, blank: false } as const;
  const volume = (part: Partial<LvTags> = {}): LvTags => ({
    ...base,
    kind: 'volume',
    state: 'ready',
    volumeId: 'a',
    ...part,
  });

  it('know a thin pool that was put together of parts before it is marked, and take no part of it for a leftover', () => {
    const part = { ...base, kind: 'part', state: 'new' } as const;
    const made: LogicalVolume['segments'] = [
      { type: 'thin-pool', startExtent: 0, extents: 1, data: 'azk_pool_tdata', metadata: 'azk_pool_tmeta', areas: [] },
    ];
    const hidden = [lv('azk_pool_tdata', part), lv('azk_pool_tmeta', part)].map((each) => ({
      ...each,
      visible: false,
    }));
    const pool = { ...lv('azk_pool', { ...base, kind: 'pool', state: 'ready' }, made), tags: ['mine'] };
    const unmarked = new Entries(groupOf([...hidden, pool]));
    expect(unmarked.thinPool).toBeUndefined();
    expect(unmarked.unmarkedThinPool).toBe(pool);
    expect(unmarked.leftovers()).toEqual([]);
    const marked = new Entries(groupOf([...hidden, lv('azk_pool', { ...base, kind: 'pool', state: 'ready' }, made)]));
    expect(marked.thinPool?.lv.name).toBe('azk_pool');
    expect(marked.unmarkedThinPool).toBeUndefined();
    const foreign = hidden.map((each) => ({ ...each, tags: [] }));
    expect(new Entries(groupOf([...foreign, pool])).unmarkedThinPool).toBeUndefined();
  });

  it('of one id: the highest generation that is ready counts, the others are leftovers', () => {
    const entries = new Entries(
      groupOf([
        lv('old', volume()),
        lv('now', volume({ generation: 2 })),
        lv('coming', volume({ generation: 3, state: 'new' })),
        { ...lv('foreign', volume()), tags: ['somebody'] },
      ]),
    );
    expect(entries.volume('a')?.lv.name).toBe('now');
    expect(entries.leftovers().map((entry) => entry.lv.name)).toEqual(['old', 'coming']);
    expect(entries.volumeIds()).toEqual(['a']);
  });

  it('snapshots without a volume are kept; those of a volume that is being deleted are not', () => {
    const snapshot = lv('s', { ...base, kind: 'snapshot', state: 'ready', volumeId: 'a', snapshotId: 's' });
    expect(new Entries(groupOf([snapshot])).leftovers()).toEqual([]);
    const going = new Entries(groupOf([snapshot, lv('v', volume({ state: 'gone' }))]));
    expect(going.leftovers().map((entry) => entry.lv.name)).toEqual(['s', 'v']);
    expect(going.volume('a')).toBeUndefined();
  });

  it('have names that LVM allows and that never meet', () => {
    fc.assert(
      fc.property(id, id, fc.nat(99), (one, other, generation) => {
        const names = [volumeName(one, generation), snapshotName(one, other), snapshotName(other, one)];
        for (const name of names) expect(name).toMatch(/^[a-z0-9_-]{1,120}$/);
        expect(new Set(names).size).toBe(one === other ? 2 : 3);
      }),
    );
    expect(groupName('n', 'p')).toMatch(/^azk-[0-9a-f]{16}$/);
    for (const bad of ['..', 'a/b', '', 'A', 'x'.repeat(200)]) expect(() => volumeName(bad, 0)).toThrow(AzekuraError);
  });
});

describe('sizes', () => {
  it('of a thin pool stay within what the kernel takes, and chunks grow with it', () => {
    expect(thinPoolSizes(gibibyte)).toEqual({ chunkBytes: 65536, metadataBytes: 4 * 2 ** 20 });
    expect(thinPoolSizes(1024 * gibibyte)).toEqual({ chunkBytes: 65536, metadataBytes: gibibyte });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500_000 }), (gibibytes) => {
        const { chunkBytes, metadataBytes } = thinPoolSizes(gibibytes * gibibyte);
        expect(metadataBytes).toBeLessThanOrEqual(15 * gibibyte);
        expect(metadataBytes % (4 * 2 ** 20)).toBe(0);
        expect(chunkBytes % 65536).toBe(0);
      }),
    );
  });

  it('a thin pool grows before its writers meet its end, and never by more than there is', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 8, max: 1_000_000 }),
        fc.nat(100),
        fc.nat(100),
        (capacity, usedPercent, thinPercent) => {
          const thin = Math.max(firstThinExtents(capacity), Math.floor((capacity * thinPercent) / 100));
          const freeThin = Math.floor((thin * (100 - usedPercent)) / 100);
          const grow = thinGrowth({
            capacityExtents: capacity,
            freeThinExtents: freeThin,
            freeGroupExtents: capacity - thin,
            extentBytes: 2 ** 30,
          });
          expect(grow).toBeLessThanOrEqual(capacity - thin);
          const headroom = freeThin + grow;
          expect(headroom >= Math.max(16, Math.ceil(capacity / 4)) || grow === capacity - thin).toBe(true);
        },
      ),
    );
  });

  it('count foreign volumes as not there', () => {
    const on = (extents: number) => [
      { type: 'striped', startExtent: 0, extents, areas: [{ on: 'pv0', startExtent: 0 }] },
    ];
    const ours = lv('v', { kind: 'volume', state: 'ready', volumeId: 'a', generation: 0, blank: false }, on(100));
    const foreign: LogicalVolume = {
      ...lv('root', { kind: 'part', state: 'new', generation: 0, blank: false }, on(300)),
      tags: [],
    };
    const extent = 4 * 2 ** 20;
    expect(capacityOf(groupOf([ours, foreign]))).toEqual({ capacityBytes: 700 * extent, freeBytes: 600 * extent });
  });
});

describe('layouts', () => {
  it('are read from class parameters, and refused with a sentence', () => {
    expect(layoutOf({ layout: 'striped', stripes: '2', stripeSize: '128Ki' }, 4)).toEqual({
      type: 'striped',
      stripes: 2,
      stripeBytes: 131072,
    });
    expect(() => layoutOf({ layout: 'raid7' }, 4)).toThrow(AzekuraError);
    expect(() => layoutOf({ layout: 'striped', stripeSize: '100' }, 4)).toThrow(/power of two/);
    expect(() => layoutOf({ unknown: '1' }, 4)).toThrow(AzekuraError);
    expect(() => refuseLayout({ layout: 'raid1' })).toThrow(/thick/);
    expect(() => refuseLayout({})).not.toThrow();
  });
});

describe('the class of disks', () => {
  it('is that of the slowest', () => {
    expect(classOf([])).toBeUndefined();
    expect(classOf([{ rotational: false, transport: 'nvme' }])).toBe('nvme');
    expect(
      classOf([
        { rotational: false, transport: 'nvme' },
        { rotational: false, transport: 'ata' },
      ]),
    ).toBe('ssd');
    expect(
      classOf([
        { rotational: false, transport: 'nvme' },
        { rotational: true, transport: 'ata' },
      ]),
    ).toBe('hdd');
  });
});
