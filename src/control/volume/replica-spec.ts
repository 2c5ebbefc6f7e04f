import { isDeepStrictEqual } from 'node:util';
import type { Volume } from '../../model/kinds.ts';
import type { ReplicaSpec } from '../../model/replica.ts';
import type { View } from '../view.ts';

/**
 * What a replica's spec is to be, by its volume. What was decided when it was made (pool, node, source) stays.
 *
 * @param now the replica's present spec
 */
export function replicaSpecFor(view: View, volume: Volume, now: ReplicaSpec): ReplicaSpec {
  const { spec, metadata } = volume;
  const {
    restore: _restore,
    repair: _repair,
    trim: _trim,
    changeKey: _changeKey,
    recycled: _recycled,
    claim: _claim,
    ...kept
  } = now;
  const restore = restoreOf(view, volume) ?? now.restore;
  const repair = spec.repair && volume.status.repair?.requestId !== spec.repair.requestId ? spec.repair : now.repair;
  const trim = spec.trim ?? now.trim;
  const changeKey =
    spec.changeKey && volume.status.changeKey?.requestId !== spec.changeKey.requestId ? spec.changeKey : now.changeKey;
  const { encryptionKeyFile: keyBefore, ...policy } = now.policy;
  const { encryptionKeyFile } = spec.policy;
  return {
    ...kept,
    policy: { ...policy, ...(encryptionKeyFile === undefined ? {} : { encryptionKeyFile }) },
    volumeName: metadata.name,
    volumeUid: metadata.uid,
    sizeBytes: Math.max(spec.sizeBytes, now.sizeBytes),
    className: spec.className,
    // Only what ends up beside the data counts: a repair request must not rewrite the identity.
    volumeGeneration:
      spec.sizeBytes !== now.sizeBytes ||
      !isDeepStrictEqual(spec.claim, now.claim) ||
      encryptionKeyFile !== keyBefore ||
      metadata.uid !== now.volumeUid
        ? Math.max(metadata.generation, now.volumeGeneration + 1)
        : now.volumeGeneration,
    ...(spec.claim ? { claim: spec.claim } : {}),
    ...(restore ? { restore } : {}),
    ...(repair ? { repair } : {}),
    ...(trim ? { trim } : {}),
    ...(changeKey ? { changeKey } : {}),
  };
}

/** A snapshot's name may be given to another one later; its id stays. What is done is never handed to a new copy. */
function restoreOf(view: View, { spec, status }: Volume): ReplicaSpec['restore'] {
  if (!spec.restore || status.restore?.requestId === spec.restore.requestId) return undefined;
  const snapshot = view.snapshots.get(spec.restore.snapshotName);
  if (!snapshot?.spec.snapshotId || snapshot.spec.volumeId !== status.volumeId) return undefined;
  return { snapshotId: snapshot.spec.snapshotId, requestId: spec.restore.requestId };
}

/** Whether two specs say the same; absent and undefined fields are equal. */
export function sameSpec(one: ReplicaSpec, other: ReplicaSpec): boolean {
  return isDeepStrictEqual(JSON.parse(JSON.stringify(one)), JSON.parse(JSON.stringify(other)));
}
