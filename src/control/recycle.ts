import type { RunResult } from '../lib/work-queue.ts';
import { hasCode } from '../model/errors.ts';
import type { RecycledVolume } from '../model/kinds.ts';
import { annotations, finalizers } from '../model/names.ts';
import type { RecycledVolumeStatus } from '../model/volume.ts';
import { change, changeStatus } from '../store/change.ts';
import type { Store } from '../store/store.ts';
import { type ControlContext, withSince } from './context.ts';
import { consents, purge, withConsent } from './purge.ts';
import { requestOf } from './request.ts';

/** The clock is looked at again after this at the latest: timers of many days do not survive a suspended machine. */
const longestWaitMs = 3_600_000;

/**
 * Looks after a deleted volume in the recycle bin: says when it rests there, purges it when its time has come or when
 * that was asked for, and lets it go when it has been taken out.
 */
export async function reconcileRecycled(context: ControlContext, name: string): Promise<RunResult> {
  const { view, deps } = context;
  const entry = view.recycled.get(name);
  if (!entry) return undefined;
  const returned = entry.metadata.annotations[annotations.undeletedAs];
  if (returned !== undefined) {
    const volume = await deps.store.find('Volume', returned);
    const back = volume?.metadata.annotations[annotations.volumeId] === entry.spec.volumeId;
    if (!back) return undefined;
    await deps.store.delete('RecycledVolume', name, { uid: entry.metadata.uid });
    await letGo(context, entry);
    return undefined;
  }
  if (entry.metadata.deletionTimestamp) return end(context, entry);
  await report(context, entry);
  const leftMs = Date.parse(entry.spec.expiresAt) - deps.clock.nowMs();
  if (leftMs > 0) return { againAfterMs: Math.min(leftMs, longestWaitMs) };
  await purgeRecycled(deps.store, name);
  return { againAfterMs: 1_000 };
}

/**
 * Asks for the end of a recycled volume and its data, unless it is just being taken out.
 *
 * @returns whether it was asked for
 */
export async function purgeRecycled(store: Store, name: string): Promise<boolean> {
  const marked = await change(store, 'RecycledVolume', name, (stored) =>
    stored.metadata.annotations[annotations.undeletedAs] !== undefined || consents(stored)
      ? undefined
      : { metadata: { annotations: withConsent(stored) } },
  );
  if (!marked || !consents(marked)) return false;
  try {
    // Taken out at this very moment, it has another version, and stays.
    await store.delete('RecycledVolume', name, { resourceVersion: marked.metadata.resourceVersion });
    return true;
  } catch (error) {
    if (!hasCode(error, 'Conflict')) throw error;
    return false;
  }
}

async function report(context: ControlContext, entry: RecycledVolume): Promise<void> {
  const replicas = context.view.replicasOf(entry.spec.volumeId);
  const resting = replicas.length > 0 && replicas.every((replica) => replica.status.phase === 'Recycled');
  await write(context, entry, {
    phase: resting ? 'Recycled' : 'Recycling',
    usedBytes: replicas.reduce((sum, replica) => sum + (replica.status.exclusiveBytes ?? 0), 0),
    causes: replicas.flatMap((replica) => replica.status.causes),
  });
}

/** Copies and snapshots go, with their data when that was asked for; the entry goes after them. */
async function end(context: ControlContext, entry: RecycledVolume): Promise<RunResult> {
  const { store } = context.deps;
  const { volumeId } = entry.spec;
  const snapshots = context.view.snapshotsOf(volumeId);
  const replicas = context.view.replicasOf(volumeId);
  await write(context, entry, { phase: 'Purging', causes: replicas.flatMap((replica) => replica.status.causes) });
  if (consents(entry)) {
    for (const snapshot of snapshots) await purge(store, 'Snapshot', snapshot, requestOf(entry));
    for (const replica of replicas) await purge(store, 'Replica', replica, requestOf(entry));
  } else {
    for (const { metadata } of snapshots)
      if (!metadata.deletionTimestamp) await store.delete('Snapshot', metadata.name, { uid: metadata.uid });
    for (const { metadata } of replicas)
      if (!metadata.deletionTimestamp) await store.delete('Replica', metadata.name, { uid: metadata.uid });
  }
  if (snapshots.length > 0 || replicas.length > 0) return undefined;
  await letGo(context, entry);
  return undefined;
}

async function write(
  context: ControlContext,
  entry: RecycledVolume,
  status: Partial<RecycledVolumeStatus>,
): Promise<void> {
  await changeStatus(context.deps.store, 'RecycledVolume', entry.metadata.name, (stored) => ({
    ...status,
    causes: withSince(status.causes ?? [], stored.status.causes, context.now),
  }));
}

async function letGo(context: ControlContext, entry: RecycledVolume): Promise<void> {
  await change(context.deps.store, 'RecycledVolume', entry.metadata.name, ({ metadata }) =>
    metadata.uid === entry.metadata.uid
      ? { metadata: { finalizers: metadata.finalizers.filter((name) => name !== finalizers.recycle) } }
      : undefined,
  );
}
