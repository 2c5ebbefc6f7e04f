import { formatBytes } from '../../lib/quantity.ts';
import { type Cause, makeCause } from '../../model/cause.ts';
import type { Policy } from '../../model/policy.ts';
import { type Place, type PlacementResult, place } from '../../placement/index.ts';
import type { View } from '../view.ts';

/** What is to be placed. */
export interface Wanted {
  readonly sizeBytes: number;
  readonly policy: Policy;
  readonly poolName?: string | undefined;
  readonly nodeNames?: readonly string[] | undefined;
  readonly excludedPools?: readonly string[];
}

/** Where the copies of one volume go; `chosen` is empty when there is no place. */
export interface FoundPlace extends Pick<PlacementResult, 'considered' | 'onlySpaceLacks'> {
  readonly chosen: readonly Place[];
}

/** Looks for a place in the present state. */
export function findPlace(view: View, { nodeNames, ...claim }: Wanted): FoundPlace {
  const result = place({ claims: [claim], nodeNames }, view.stock);
  return {
    chosen: result.places?.[0] ?? [],
    get considered() {
      return result.considered;
    },
    get onlySpaceLacks() {
      return result.onlySpaceLacks;
    },
  };
}

/** Why there is no place: the pool that is full when only space lacks, else what is against each of them. */
export function placementCause(wanted: Wanted, result: FoundPlace): Cause {
  const candidates = result.considered.filter((one) => one.score !== undefined);
  if (result.onlySpaceLacks && candidates.length > 0) {
    const best = candidates.reduce((a, b) => ((b.score ?? 0) > (a.score ?? 0) ? b : a));
    return makeCause('PoolFull', {
      pool: best.poolName,
      wanted: formatBytes(wanted.sizeBytes),
      free: formatBytes(best.score ?? 0),
    });
  }
  const reasons = result.considered.slice(0, 5).map((one) => `${one.poolName}: ${one.reason}`);
  if (result.considered.length > 5) reasons.push(`and ${result.considered.length - 5} more`);
  return makeCause('PoolNotFound', { reasons: reasons.join('; ') || 'there is no pool at all' });
}
