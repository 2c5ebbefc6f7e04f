import { makeCause } from '../../model/cause.ts';
import { blamed } from '../../model/errors.ts';
import type { Snapshot, Volume } from '../../model/kinds.ts';
import type { ReplicaSpec } from '../../model/replica.ts';
import type { VolumeSource } from '../../model/volume.ts';
import type { View } from '../view.ts';

/** What a volume is made from, as ids that stay true when names change, and where it lies. */
export interface ResolvedSource {
  readonly source: NonNullable<ReplicaSpec['source']>;
  readonly poolName: string;
  readonly sizeBytes: number;
}

/** The objects that a source can be, as the caller knows them: the store's own are newer than the view's. */
export interface SourceObjects {
  readonly snapshot?: Snapshot | undefined;
  readonly volume?: Volume | undefined;
}

/** What the view knows of a source. */
export function sourceInView(view: View, { kind, name }: VolumeSource): SourceObjects {
  return kind === 'snapshot' ? { snapshot: view.snapshots.get(name) } : { volume: view.volumes.get(name) };
}

/**
 * Finds out what a volume is to be made from.
 *
 * @throws AzekuraError NotFound with blame SourceNotFound; FailedPrecondition while the source is not ready
 */
export function resolveSource({ kind, name }: VolumeSource, { snapshot, volume }: SourceObjects): ResolvedSource {
  const missing = () => blamed('NotFound', makeCause('SourceNotFound', { source: `${kind} ${name}` }));
  const notReady = (cause = makeCause('SourceNotReady', { source: `${kind} ${name}` })) =>
    blamed('FailedPrecondition', cause);
  if (kind === 'snapshot') {
    const { volumeId, snapshotId, poolName } = snapshot?.spec ?? {};
    if (!snapshot || snapshot.metadata.deletionTimestamp) throw missing();
    if (!snapshot.status.readyToUse || !volumeId || !snapshotId || poolName === undefined)
      throw notReady(snapshot.status.causes[0]);
    const source = { kind: 'snapshot' as const, volumeId, snapshotId, poolName };
    return { source, poolName, sizeBytes: snapshot.status.sizeBytes };
  }
  if (!volume || volume.metadata.deletionTimestamp) throw missing();
  const { volumeId, sizeBytes, replicas, causes } = volume.status;
  const poolName = replicas.findLast((replica) => replica.phase === 'Ready')?.poolName;
  if (volumeId === undefined || sizeBytes === 0 || poolName === undefined) throw notReady(causes[0]);
  return { source: { kind: 'replica', volumeId, poolName }, poolName, sizeBytes };
}
