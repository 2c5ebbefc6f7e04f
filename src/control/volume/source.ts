import { makeCause } from '../../model/cause.ts';
import { blamed } from '../../model/errors.ts';
import type { ReplicaSpec } from '../../model/replica.ts';
import type { VolumeSource } from '../../model/volume.ts';
import type { View } from '../view.ts';

/** What a volume is made from, as ids that stay true when names change, and where it lies. */
export interface ResolvedSource {
  readonly source: NonNullable<ReplicaSpec['source']>;
  readonly poolName: string;
  readonly sizeBytes: number;
}

/**
 * Finds what a volume is to be made from.
 *
 * @throws AzekuraError NotFound with blame SourceNotFound; FailedPrecondition while the source is not ready
 */
export function resolveSource(view: View, wanted: VolumeSource): ResolvedSource {
  const { kind, name } = wanted;
  const missing = () => blamed('NotFound', makeCause('SourceNotFound', { source: `${kind} ${name}` }));
  if (kind === 'snapshot') {
    const snapshot = view.snapshots.get(name);
    const { volumeId, snapshotId } = snapshot?.spec ?? {};
    if (!snapshot || snapshot.metadata.deletionTimestamp || !volumeId || !snapshotId) throw missing();
    if (!snapshot.status.readyToUse)
      throw blamed(
        'FailedPrecondition',
        snapshot.status.causes[0] ?? makeCause('SourceNotReady', { source: `snapshot ${name}` }),
      );
    const poolName = replicaOf(view, volumeId)?.spec.poolName;
    if (poolName === undefined) throw missing();
    return {
      source: { kind: 'snapshot', volumeId, snapshotId, poolName },
      poolName,
      sizeBytes: snapshot.status.sizeBytes,
    };
  }
  const volume = view.volumes.get(name);
  const volumeId = volume?.status.volumeId;
  if (!volume || volume.metadata.deletionTimestamp) throw missing();
  const replica = volumeId === undefined ? undefined : replicaOf(view, volumeId);
  if (volumeId === undefined || !replica || replica.status.phase !== 'Ready')
    throw blamed('FailedPrecondition', makeCause('SourceNotReady', { source: `volume ${name}` }));
  const { poolName } = replica.spec;
  return { source: { kind: 'replica', volumeId, poolName }, poolName, sizeBytes: replica.status.sizeBytes };
}

function replicaOf(view: View, volumeId: string) {
  return view
    .replicasOf(volumeId)
    .findLast((replica) => !replica.metadata.deletionTimestamp && replica.status.sizeBytes > 0);
}
