import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytesFromDisks, bytesOnDisks, disksNeeded, overheadOf, spread, wantedLayout } from './disk-layout.ts';
import { diskLayouts } from './pool.ts';

describe('layouts', () => {
  it('follow from the disks, and need enough of them', () => {
    expect(spread({ type: 'linear' }, 1)).toEqual({ type: 'linear' });
    expect(spread({ type: 'raid1' }, 2)).toEqual({ type: 'raid1', mirrors: 1 });
    expect(spread({ type: 'raid5' }, 3)).toEqual({ type: 'raid5', stripes: 2 });
    expect(spread({ type: 'raid10' }, 5)).toEqual({ type: 'raid10', stripes: 2, mirrors: 1 });
    for (const [type, disks] of [
      ['striped', 1],
      ['raid1', 1],
      ['raid5', 2],
      ['raid6', 4],
      ['raid10', 3],
    ] as const)
      expect(() => spread({ type }, disks)).toThrow(/needs \d+ disks, and the volume group has \d/);
    expect(() => spread({ type: 'raid1', mirrors: 3 }, 3)).toThrow(/needs 4 disks/);
    expect(() => spread({ type: 'raid5', stripes: 5 }, 4)).toThrow(/needs 6 disks/);
  });

  it('take of the disks what they say', () => {
    expect(overheadOf({ type: 'raid1', mirrors: 2 })).toBe(3);
    expect(overheadOf({ type: 'raid5', stripes: 2 })).toBe(1.5);
    expect(overheadOf({ type: 'raid6', stripes: 3 })).toBeCloseTo(5 / 3);
    for (const type of diskLayouts) expect(overheadOf(spread({ type }, 8))).toBeGreaterThanOrEqual(1);
  });

  it('are those of thick volumes alone', () => {
    const raid = { provisioning: 'thick', parameters: { layout: 'raid5', stripes: '3' } } as const;
    expect(wantedLayout(raid)).toEqual({ type: 'raid5', stripes: 3, mirrors: undefined });
    expect(wantedLayout({ ...raid, provisioning: 'thin' })).toBeUndefined();
    expect(wantedLayout({ ...raid, parameters: { layout: 'linear' } })).toBeUndefined();
    expect(wantedLayout({ provisioning: 'thick' })).toBeUndefined();
  });

  it('count bytes exactly, to the disks and back', () => {
    const wanted = fc.record({
      type: fc.constantFrom(...diskLayouts),
      stripes: fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined }),
      mirrors: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
    });
    const bytes = fc.integer({ min: 0, max: 2 ** 46 });
    fc.assert(
      fc.property(wanted, fc.integer({ min: 0, max: 24 }), bytes, bytes, (layout, disks, stored, room) => {
        const taken = bytesOnDisks(stored, layout, disks);
        const share = overheadOf(spread(layout, Math.max(disks, disksNeeded(layout))));
        expect(Math.abs(taken - stored * share)).toBeLessThanOrEqual(1);
        // What has room is what takes no more than the room.
        expect(stored <= bytesFromDisks(room, layout, disks)).toBe(taken <= room);
      }),
    );
  });
});
