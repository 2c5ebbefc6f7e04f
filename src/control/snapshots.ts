import { shortId } from '../lib/id.ts';
import type { RunResult } from '../lib/work-queue.ts';
import { makeCause } from '../model/cause.ts';
import type { Snapshot, Volume } from '../model/kinds.ts';
import { finalizers } from '../model/names.ts';
import type { SnapshotSpec } from '../model/snapshot.ts';
import { change, changeStatus } from '../store/change.ts';
import { type ControlContext, withSince } from './context.ts';
import type { View } from './view.ts';

/**
 * Fills in of which volume a snapshot is by ids, so that it stays true when names change, follows the volume to another
 * pool, and says when there is nothing that it could be of.
 */
export async function reconcileSnapshot(context: ControlContext, name: string): Promise<RunResult> {
  const { view, deps } = context;
  const snapshot = view.snapshots.get(name);
  if (!snapshot) return undefined;
  const volumeId = snapshot.spec.volumeId ?? view.volumes.get(snapshot.spec.volumeName)?.status.volumeId;
  const known = volumeId !== undefined && view.replicasOf(volumeId).length > 0;
  if (snapshot.metadata.deletionTimestamp) {
    if (!known) await letGo(context, snapshot);
    return undefined;
  }
  if (!known) {
    // A volume that was made a moment ago gets its copy yet.
    if (view.volumes.get(snapshot.spec.volumeName)) return { againAfterMs: 1_000 };
    // What has a place is its node's to tell of.
    if (snapshot.spec.nodeName !== undefined) return undefined;
    const cause = makeCause('SnapshotSourceGone', { volume: snapshot.spec.volumeName, snapshot: name });
    await changeStatus(deps.store, 'Snapshot', name, ({ status }) => ({
      phase: 'Failed' as const,
      readyToUse: false,
      causes: withSince([cause], status.causes, context.now),
    }));
    return undefined;
  }
  const wanted = {
    ...snapshot.spec,
    ...placeOf(view, volumeId),
    volumeId,
    snapshotId: snapshot.spec.snapshotId ?? shortId(),
  };
  const same =
    wanted.poolName === snapshot.spec.poolName &&
    wanted.nodeName === snapshot.spec.nodeName &&
    snapshot.spec.snapshotId !== undefined;
  if (same && snapshot.spec.volumeId !== undefined) return undefined;
  await change(deps.store, 'Snapshot', name, ({ spec }) => ({
    spec: { ...spec, ...placeOf(view, volumeId), volumeId, snapshotId: spec.snapshotId ?? wanted.snapshotId },
  }));
  return undefined;
}

/** The spec of a new snapshot of a volume. */
export function snapshotSpecOf(
  view: View,
  volume: Volume,
  options: { readonly freeze: boolean; readonly groupName?: string },
): SnapshotSpec {
  const { volumeId } = volume.status;
  return {
    volumeName: volume.metadata.name,
    volumeUid: volume.metadata.uid,
    ...(volumeId === undefined ? {} : { volumeId, snapshotId: shortId(), ...placeOf(view, volumeId) }),
    ...options,
  };
}

function placeOf(view: View, volumeId: string): Partial<Pick<SnapshotSpec, 'nodeName' | 'poolName'>> {
  const replica = view
    .replicasOf(volumeId)
    .findLast((one) => !one.metadata.deletionTimestamp && one.status.sizeBytes > 0);
  return replica ? { nodeName: replica.spec.nodeName, poolName: replica.spec.poolName } : {};
}

async function letGo(context: ControlContext, snapshot: Snapshot): Promise<void> {
  await change(context.deps.store, 'Snapshot', snapshot.metadata.name, ({ metadata }) =>
    metadata.uid === snapshot.metadata.uid
      ? { metadata: { finalizers: metadata.finalizers.filter((one) => one !== finalizers.agent) } }
      : undefined,
  );
}
