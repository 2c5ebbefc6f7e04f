import { shortId } from '../../lib/id.ts';
import type { RunResult } from '../../lib/work-queue.ts';
import type { Cause } from '../../model/cause.ts';
import { hasCode } from '../../model/errors.ts';
import type { Replica, Volume } from '../../model/kinds.ts';
import { annotations, finalizers } from '../../model/names.ts';
import { change } from '../../store/change.ts';
import { type ControlContext, withSince } from '../context.ts';
import { purge } from '../purge.ts';
import { requestOf } from '../request.ts';
import { createReplica } from './create-replica.ts';
import { removeVolume } from './remove.ts';
import { replicaSpecFor, sameSpec } from './replica-spec.ts';
import { volumeStatus } from './status.ts';
import { writeVolumeStatus } from './write-status.ts';

/** Placing is tried again by itself now and then: not every change of room is told. */
const placeAgainMs = 30_000;

/** Makes of a Volume what is wanted: a copy on a pool, kept to the volume's spec; or its end. */
export async function reconcileVolume(context: ControlContext, name: string): Promise<RunResult> {
  const known = context.view.volumes.get(name);
  if (!known) return undefined;
  if (known.metadata.deletionTimestamp) return removeVolume(context, known);
  // Without it a deletion would leave the copies behind, which nobody would end.
  if (!known.metadata.finalizers.includes(finalizers.volume)) await hold(context, known);
  const volume = known.status.volumeId === undefined ? await giveId(context, known) : known;
  const volumeId = volume?.status.volumeId;
  if (!volume || volumeId === undefined) return undefined;
  const replicas = context.view.replicasOf(volumeId);
  const own: Cause[] = [];
  if (replicas.length === 0) {
    const cause = await createReplica(context, volume, volumeId);
    if (cause) own.push(cause);
  }
  for (const replica of replicas) if (!replica.metadata.deletionTimestamp) await follow(context, volume, replica);
  await retireMoved(context, replicas);
  await report(context, volume, volumeId, own);
  return own.length > 0 ? { againAfterMs: placeAgainMs } : undefined;
}

/** Puts our finalizer on again that somebody took off. */
async function hold({ deps }: ControlContext, { metadata }: Volume): Promise<void> {
  await change(deps.store, 'Volume', metadata.name, (stored) =>
    stored.metadata.uid !== metadata.uid || stored.metadata.deletionTimestamp
      ? undefined
      : { metadata: { finalizers: [...new Set([...stored.metadata.finalizers, finalizers.volume])] } },
  );
}

/** The id names files and devices; it is stored before anything is made under it. @returns the volume, if it is to stay */
async function giveId(context: ControlContext, { metadata }: Volume): Promise<Volume | undefined> {
  const volumeId = metadata.annotations[annotations.volumeId] ?? shortId();
  const stays = (stored: Volume) =>
    stored.metadata.uid === metadata.uid && stored.metadata.deletionTimestamp === undefined;
  const volume = await writeVolumeStatus(context, metadata.name, (stored) =>
    stays(stored) && stored.status.volumeId === undefined ? { volumeId } : undefined,
  );
  return volume && stays(volume) ? volume : undefined;
}

/** The replica's spec follows the volume's: size, claim, requests; and out of the recycle bin after an undelete. */
async function follow(context: ControlContext, volume: Volume, replica: Replica): Promise<void> {
  const wanted = replicaSpecFor(context.view, volume, replica.spec);
  if (sameSpec(wanted, replica.spec)) return;
  await change(context.deps.store, 'Replica', replica.metadata.name, (stored) =>
    stored.metadata.deletionTimestamp
      ? undefined
      : {
          metadata: { annotations: { ...stored.metadata.annotations, ...requestOf(volume) } },
          spec: replicaSpecFor(context.view, volume, stored.spec),
        },
  );
}

/** The old copy goes when the new one is ready. */
async function retireMoved(context: ControlContext, replicas: readonly Replica[]): Promise<void> {
  for (const { spec, status, metadata } of replicas) {
    if (spec.source?.kind !== 'move' || status.phase !== 'Ready' || metadata.deletionTimestamp) continue;
    for (const old of replicas)
      if (
        old.metadata.name !== metadata.name &&
        old.spec.poolName === spec.source.poolName &&
        !old.metadata.deletionTimestamp
      )
        await purge(context.deps.store, 'Replica', old);
  }
}

async function report(context: ControlContext, volume: Volume, volumeId: string, own: readonly Cause[]): Promise<void> {
  const { view } = context;
  try {
    await writeVolumeStatus(context, volume.metadata.name, (stored) => {
      if (stored.metadata.uid !== volume.metadata.uid) return undefined;
      const status = volumeStatus(stored, view.replicasOf(volumeId), view.attachmentsOf(volumeId), own, context.now);
      return { ...status, causes: withSince(status.causes ?? [], stored.status.causes, context.now) };
    });
  } catch (error) {
    if (!hasCode(error, 'NotFound')) throw error;
  }
}
