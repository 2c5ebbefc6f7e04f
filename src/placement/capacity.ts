import type { Pool } from '../model/kinds.ts';
import type { PoolSums } from './ledger.ts';

/** What of a pool may still be given away. All in bytes; never negative. */
export interface Room {
  readonly reserveBytes: number;
  /** For thin volumes: up to the overcommit limit, and only while the pool is not into its reserve. */
  readonly thinBytes: number;
  /** For thick volumes: what they can have now, minus the reserve and what others were promised at once. */
  readonly thickBytes: number;
  /** Free now, minus the reserve and what others were promised at once, whatever the overcommit limit says. */
  readonly freeBytes: number;
  /** The part of it that thick volumes can have: an engine may keep some for thin ones. */
  readonly thickFreeBytes: number;
  /** Free now, and to be promised still: by this, pools are compared. */
  readonly spareBytes: number;
  /** What may still be promised, thin and thick together. */
  readonly promisableBytes: number;
  /** Whether the pool is already into its reserve. */
  readonly short: boolean;
}

/** The room of a pool that is not there. */
export const noRoom: Room = {
  reserveBytes: 0,
  thinBytes: 0,
  thickBytes: 0,
  freeBytes: 0,
  thickFreeBytes: 0,
  spareBytes: 0,
  promisableBytes: 0,
  short: true,
};

/**
 * Counts the room of a pool: free bytes as observed, what is promised and not yet visible, the reserve and the
 * overcommit limit.
 */
export function roomOf(pool: Pick<Pool, 'spec' | 'status'>, sums: PoolSums): Room {
  const { capacityBytes } = pool.status;
  const reserveBytes = Math.ceil((capacityBytes * pool.spec.reservePercent) / 100);
  const freeBytes = Math.max(0, pool.status.freeBytes - reserveBytes - sums.reservedBytes);
  const ofThick = (pool.status.thickFreeBytes ?? Number.POSITIVE_INFINITY) - sums.reservedBytes;
  const thickFreeBytes = Math.max(0, Math.min(freeBytes, ofThick));
  const short = freeBytes === 0;
  const limitBytes = Math.floor(capacityBytes * pool.spec.overcommitRatio) - reserveBytes;
  const promisableBytes = Math.max(0, limitBytes - sums.promisedBytes);
  return {
    reserveBytes,
    thinBytes: short ? 0 : promisableBytes,
    thickBytes: Math.min(thickFreeBytes, promisableBytes),
    freeBytes,
    thickFreeBytes,
    spareBytes: Math.min(freeBytes, promisableBytes),
    promisableBytes,
    short,
  };
}

/**
 * Whether a pool can take these volumes together, whatever the order in which they are made.
 *
 * @param thinBytes sum of the thin ones; undefined when there is none
 * @param thickBytes sum of the thick ones
 */
export function holdsTogether(room: Room, thinBytes: number | undefined, thickBytes: number): boolean {
  if (thickBytes + (thinBytes ?? 0) > room.promisableBytes) return false;
  // A thin volume is not put on a pool that the thick ones have brought down to its reserve.
  return thickBytes <= room.thickFreeBytes && (thinBytes === undefined || thickBytes < room.freeBytes);
}
