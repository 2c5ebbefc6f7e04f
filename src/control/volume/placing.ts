import { formatBytes } from '../../lib/quantity.ts';
import { type Cause, makeCause } from '../../model/cause.ts';
import type { Policy } from '../../model/policy.ts';
import { type PlacementResult, place, roomOf } from '../../placement/index.ts';
import type { View } from '../view.ts';

/** What is to be placed. */
export interface Wanted {
  readonly sizeBytes: number;
  readonly policy: Policy;
  readonly poolName?: string | undefined;
  readonly nodeNames?: readonly string[] | undefined;
  readonly excludedPools?: readonly string[];
}

/** Looks for a place in the present state. */
export function findPlace(view: View, wanted: Wanted): PlacementResult {
  return place(wanted, view.nodes, view.pools.list(), view.ledger);
}

/** Why there is no place: the pool that is full when only space lacks, else what is against each of them. */
export function placementCause(view: View, wanted: Wanted, result: PlacementResult): Cause {
  const candidates = result.considered.filter((one) => one.score !== undefined);
  if (result.onlySpaceLacks && candidates.length > 0) {
    const best = candidates.reduce((a, b) => ((b.score ?? 0) > (a.score ?? 0) ? b : a));
    const pool = view.pools.get(best.poolName);
    const room = pool && roomOf(pool, view.ledger.sums(best.poolName));
    const free = wanted.policy.provisioning === 'thick' ? room?.thickBytes : room?.thinBytes;
    return makeCause('PoolFull', {
      pool: best.poolName,
      wanted: formatBytes(wanted.sizeBytes),
      free: formatBytes(free ?? 0),
    });
  }
  const reasons = result.considered.slice(0, 5).map((one) => `${one.poolName}: ${one.reason}`);
  if (result.considered.length > 5) reasons.push(`and ${result.considered.length - 5} more`);
  return makeCause('PoolNotFound', { reasons: reasons.join('; ') || 'there is no pool at all' });
}
