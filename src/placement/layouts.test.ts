import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { overheadOf, spread } from '../model/disk-layout.ts';
import { Policy } from '../model/policy.ts';
import { type DiskLayout, diskLayouts, type PoolDisk } from '../model/pool.ts';
import { capacityFor } from './class-capacity.ts';
import { gibibyte, makeNode, makePool, makeStock } from './fixture.ts';
import { Ledger, promise } from './ledger.ts';
import { place } from './place.ts';

/* Thick volumes of lvm that lie redundantly: they take more of a pool than they offer. */

const nodes = [makeNode('n1')];
const disksOf = (count: number, state: PoolDisk['state'] = 'InUse'): PoolDisk[] =>
  Array.from({ length: count }, (_, i) => ({
    path: `/dev/sd${i}`,
    id: `${state}${i}`,
    sizeBytes: 0,
    usedBytes: 0,
    state,
  }));
/** A pool of 100 GiB on so many disks. */
const poolOf = (disks: readonly PoolDisk[], spec: { overcommitRatio?: number } = {}) =>
  makePool('p', { spec: { engine: 'lvm', ...spec }, status: { disks: [...disks] } });
const thick = (layout: DiskLayout, more: Record<string, string> = {}) =>
  Policy.parse({ engine: 'lvm', provisioning: 'thick', parameters: { layout, ...more } });

describe('the layout of a thick volume', () => {
  it('counts when it is placed, and is told with the capacity of its class', () => {
    const stock = makeStock(nodes, [poolOf(disksOf(4))]);
    const largest = (policy: Policy) => capacityFor({ policy }, 'n1', stock);
    for (const [policy, gibibytes] of [
      [thick('linear'), 100],
      [thick('raid1'), 50],
      [thick('raid1', { mirrors: '3' }), 25],
      [thick('raid10'), 50],
      [thick('raid5'), 75],
      [thick('raid5', { stripes: '2' }), 200 / 3],
    ] as const) {
      const bytes = Math.floor(gibibytes * gibibyte);
      expect(largest(policy)).toEqual({ availableBytes: bytes, maximumBytes: bytes });
      const claims = (sizeBytes: number) => ({ claims: [{ sizeBytes, policy }] });
      expect(place(claims(bytes), stock).places).toEqual([[{ nodeName: 'n1', poolName: 'p' }]]);
      expect(place(claims(bytes + 1), stock).places).toBeUndefined();
      expect(place(claims(bytes + 1), stock).onlySpaceLacks).toBe(true);
    }
  });

  it('counts once it is promised, for as many disks as the pool has, also when those come later', () => {
    const ledger = new Ledger();
    const policy = thick('raid5');
    ledger.set(promise('r', 'p', { sizeBytes: 6 * gibibyte, policy }));
    // Nobody has seen the pool: the fewest disks are assumed.
    expect(ledger.sums('p')).toMatchObject({ promisedBytes: 9 * gibibyte, reservedBytes: 9 * gibibyte });
    const stock = makeStock(nodes, [poolOf(disksOf(4))], ledger);
    expect(ledger.sums('p')).toMatchObject({ promisedBytes: 8 * gibibyte, reservedBytes: 8 * gibibyte });
    expect(stock.room('p').thickBytes).toBe(92 * gibibyte);
    stock.setPool(poolOf([...disksOf(3), ...disksOf(1, 'Missing')]));
    expect(stock.room('p').thickBytes).toBe(91 * gibibyte);
    ledger.delete('r');
    expect(ledger.sums('p')).toEqual({ promisedBytes: 0, reservedBytes: 0, volumes: 0 });
  });

  it('needs its disks: a pool with fewer is not asked', () => {
    const stock = makeStock(nodes, [poolOf([...disksOf(1), ...disksOf(3, 'Missing')])]);
    const answer = place({ claims: [{ sizeBytes: gibibyte, policy: thick('raid1') }] }, stock);
    expect(answer.places).toBeUndefined();
    expect(answer.considered[0]).toMatchObject({
      code: 'TooFewDisks',
      reason: 'the layout raid1 needs 2 disks, and it has 1',
    });
    expect(answer.onlySpaceLacks).toBe(false);
    expect(capacityFor({ policy: thick('raid1') }, 'n1', stock).maximumBytes).toBe(0);
  });

  it('never lets a pool promise more than there is, whatever is asked for', () => {
    const wish = fc.record({ layout: fc.constantFrom(...diskLayouts), gibibytes: fc.integer({ min: 1, max: 40 }) });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.array(wish, { maxLength: 12 }), (disks, wishes) => {
        const ledger = new Ledger();
        const stock = makeStock(nodes, [poolOf(disksOf(disks), { overcommitRatio: 1 })], ledger);
        let taken = 0;
        for (const [i, { layout, gibibytes }] of wishes.entries()) {
          const claim = { sizeBytes: gibibytes * gibibyte, policy: thick(layout) };
          if (!place({ claims: [claim] }, stock).places) continue;
          ledger.set(promise(`r${i}`, 'p', claim));
          taken += claim.sizeBytes * overheadOf(spread({ type: layout }, disks));
        }
        expect(taken).toBeLessThanOrEqual(100 * gibibyte + wishes.length);
        expect(Math.abs(ledger.sums('p').promisedBytes - taken)).toBeLessThanOrEqual(wishes.length);
      }),
    );
  });
});
