import type { Pool } from '../model/kinds.ts';
import type { PoolSums } from './ledger.ts';

/** What of a pool may still be given away. All in bytes; never negative. */
export interface Room {
  readonly reserveBytes: number;
  /** For thin volumes: up to the overcommit limit, and only while the pool is not into its reserve. */
  readonly thinBytes: number;
  /** For thick volumes: free now, minus the reserve and what others were promised at once. */
  readonly thickBytes: number;
  /** Whether the pool is already into its reserve. */
  readonly short: boolean;
}

/**
 * Counts the room of a pool: free bytes as observed, what is promised and not yet visible, the reserve and the
 * overcommit limit.
 */
export function roomOf(pool: Pick<Pool, 'spec' | 'status'>, sums: PoolSums): Room {
  const { capacityBytes, freeBytes } = pool.status;
  const reserveBytes = Math.ceil((capacityBytes * pool.spec.reservePercent) / 100);
  const thickBytes = Math.max(0, freeBytes - reserveBytes - sums.reservedBytes);
  const short = thickBytes === 0;
  const limitBytes = Math.floor(capacityBytes * pool.spec.overcommitRatio) - reserveBytes;
  const thinBytes = short ? 0 : Math.max(0, limitBytes - sums.promisedBytes);
  return {
    reserveBytes,
    thinBytes,
    thickBytes: Math.min(thickBytes, Math.max(0, limitBytes - sums.promisedBytes)),
    short,
  };
}
