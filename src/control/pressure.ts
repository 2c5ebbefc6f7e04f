import { formatBytes } from '../lib/quantity.ts';
import type { RunResult } from '../lib/work-queue.ts';
import type { RecycledVolume } from '../model/kinds.ts';
import { annotations } from '../model/names.ts';
import type { ControlContext } from './context.ts';
import { purgeRecycled } from './recycle.ts';

/** Space comes back a while after files are removed; until then no further one is purged. */
const settleMs = 15_000;

/**
 * Empties the recycle bin of a pool that is into its reserve: the volume that was deleted first goes first, one at a
 * time, until there is room again.
 */
export async function relievePressure(context: ControlContext, poolName: string): Promise<RunResult> {
  const { view, deps } = context;
  const pool = view.pools.get(poolName);
  if (!pool || pool.status.capacityBytes === 0 || pool.status.phase === 'Missing') return undefined;
  const { freeBytes, reserveBytes } = pool.status;
  if (freeBytes > reserveBytes) return undefined;
  const resting = oldestFirst(context, poolName);
  if (resting.some((entry) => entry.metadata.deletionTimestamp)) return { againAfterMs: settleMs };
  const [oldest] = resting;
  if (!oldest) return undefined;
  deps.log.warn(
    {
      pool: poolName,
      free: formatBytes(freeBytes),
      reserve: formatBytes(reserveBytes),
      volume: oldest.spec.volumeName,
    },
    'the pool is into its reserve: a deleted volume is purged before its time',
  );
  await purgeRecycled(deps.store, oldest.metadata.name);
  return { againAfterMs: settleMs };
}

function oldestFirst({ view }: ControlContext, poolName: string): readonly RecycledVolume[] {
  const onPool = new Set(view.replicasOn(poolName).map((replica) => replica.spec.volumeId));
  return view.recycled
    .list()
    .filter(
      (entry) => onPool.has(entry.spec.volumeId) && entry.metadata.annotations[annotations.undeletedAs] === undefined,
    )
    .sort((a, b) => (a.spec.deletedAt < b.spec.deletedAt ? -1 : 1));
}
