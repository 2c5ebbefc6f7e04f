import type { PoolObservation } from '../../engines/contract.ts';
import { formatBytes } from '../../lib/quantity.ts';
import { type Cause, makeCause } from '../../model/cause.ts';
import { causeCatalogue } from '../../model/causes.ts';
import type { Pool, Replica } from '../../model/kinds.ts';
import type { PoolStatus } from '../../model/pool.ts';
import { type PoolSums, roomOf } from '../../placement/index.ts';

/** From this fill on it counts that a pool has promised more than it has. */
const riskyPercent = 50;

/**
 * The status of a pool from what was observed and what is promised. Pure.
 *
 * @param recycledBytes exclusive bytes of what rests in the pool's recycle bin
 */
export function poolFigures(
  pool: Pick<Pool, 'metadata' | 'spec' | 'status'>,
  seen: PoolObservation,
  sums: PoolSums,
  recycledBytes: number,
): Partial<PoolStatus> {
  const { capacityBytes, freeBytes, thickFreeBytes } = seen;
  const ofThick = thickFreeBytes === undefined ? {} : { thickFreeBytes };
  const observed = { ...pool, status: { ...pool.status, capacityBytes, freeBytes, ...ofThick } };
  const room = roomOf(observed, sums);
  const draining = pool.spec.draining ? [makeCause('PoolDraining', { pool: pool.metadata.name })] : [];
  const causes = [
    ...seen.causes,
    ...(seen.present ? thresholds(observed, sums, room.short) : []),
    ...draining,
    ...orphaned(pool),
  ];
  const blocked = seen.causes.some((cause) => blocking(cause) && cause.code !== 'PoolFull');
  return {
    phase: !seen.present ? 'Missing' : blocked ? 'Failed' : pool.spec.draining ? 'Draining' : 'Ready',
    ...(seen.path === undefined ? {} : { path: seen.path }),
    ...(seen.filesystem === undefined ? {} : { filesystem: seen.filesystem }),
    ...deviceClassOf(pool, seen),
    ...(seen.disks === undefined ? {} : { disks: [...seen.disks] }),
    ...(seen.present
      ? {
          capacityBytes,
          freeBytes,
          ...ofThick,
          usedBytes: Math.max(0, capacityBytes - freeBytes),
          reserveBytes: room.reserveBytes,
        }
      : {}),
    promisedBytes: sums.promisedBytes,
    reservedBytes: sums.reservedBytes,
    maximumVolumeBytes: seen.present ? room.thinBytes : 0,
    recycledBytes,
    volumes: sums.volumes,
    causes,
  };
}

/** What the user says counts, whatever the disks tell. */
function deviceClassOf(
  { spec }: Pick<Pool, 'spec'>,
  { deviceClass }: PoolObservation,
): { readonly deviceClass?: string } {
  const known = spec.deviceClass ?? deviceClass;
  return known === undefined ? {} : { deviceClass: known };
}

function orphaned({ metadata, status }: Pick<Pool, 'metadata' | 'status'>): Cause[] {
  const { volumeCount = 0, snapshotCount = 0 } = status.orphans ?? {};
  if (volumeCount + snapshotCount === 0) return [];
  return [makeCause('PoolHasOrphans', { pool: metadata.name, volumes: volumeCount, snapshots: snapshotCount })];
}

function blocking(cause: Cause): boolean {
  return causeCatalogue[cause.code].severity === 'blocking';
}

function thresholds(pool: Pick<Pool, 'metadata' | 'spec' | 'status'>, sums: PoolSums, short: boolean): Cause[] {
  const { name } = pool.metadata;
  const { capacityBytes, freeBytes } = pool.status;
  if (capacityBytes === 0) return [];
  const causes: Cause[] = [];
  const percent = Math.round(((capacityBytes - freeBytes) / capacityBytes) * 100);
  if (short) causes.push(makeCause('PoolFull', { pool: name, wanted: 'more', free: formatBytes(0) }));
  else if (percent >= pool.spec.warnPercent) causes.push(makeCause('PoolNearFull', { pool: name, percent }));
  // Promising more than there is is what thin volumes are for. It is a risk beyond the limit, and when the pool fills.
  const beyondLimit = sums.promisedBytes > capacityBytes * pool.spec.overcommitRatio;
  if (beyondLimit || (sums.promisedBytes > capacityBytes && percent >= riskyPercent))
    causes.push(
      makeCause('PoolOvercommitted', {
        pool: name,
        promised: formatBytes(sums.promisedBytes),
        capacity: formatBytes(capacityBytes),
      }),
    );
  return causes;
}

/** What emptying the recycle bin of a pool would give back, as far as it is known. */
export function recycledBytesOf(replicas: readonly Replica[]): number {
  let bytes = 0;
  for (const replica of replicas) if (replica.spec.recycled) bytes += replica.status.exclusiveBytes ?? 0;
  return bytes;
}
