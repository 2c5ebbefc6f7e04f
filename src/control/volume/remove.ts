import type { RunResult } from '../../lib/work-queue.ts';
import { type Cause, makeCause } from '../../model/cause.ts';
import { hasCode } from '../../model/errors.ts';
import type { Replica, Volume } from '../../model/kinds.ts';
import { annotations, finalizers, recycledVolumeName, replicaName } from '../../model/names.ts';
import { change } from '../../store/change.ts';
import { type ControlContext, withSince } from '../context.ts';
import { purge } from '../purge.ts';
import { requestOf } from '../request.ts';
import { writeVolumeStatus } from './write-status.ts';

/** The time in the bin of a volume whose policy has none, when nobody has asked for its end through Operations. */
const unaskedMs = 24 * 3_600_000;

/**
 * Ends a volume: into the recycle bin, or for good when that was asked for or it never had data. A deletion that came
 * past Operations is no consent to destroy: then the bin keeps the data for a day at least, and where there is no bin it
 * stays on the pool. The Volume object goes when its copies are where they belong.
 */
export async function removeVolume(context: ControlContext, volume: Volume): Promise<RunResult> {
  const { view } = context;
  const { volumeId } = volume.status;
  if (volumeId === undefined) {
    await letGo(context, volume);
    return undefined;
  }
  const attachments = view.attachmentsOf(volumeId);
  if (attachments.length > 0) {
    const nodes = attachments.map((attachment) => attachment.spec.nodeName).join(', ');
    await report(context, volume, [
      makeCause('InUse', { what: `volume ${volume.metadata.name}`, holder: `node ${nodes}, where it is attached` }),
    ]);
    return undefined;
  }
  const replicas = view.replicasOf(volumeId);
  const kept = replicas.filter((replica) => replica.status.sizeBytes > 0 && !replica.metadata.deletionTimestamp);
  if (replicas.length > 0) {
    const recycles = kept.length > 0 && mayRecycle(context, volume);
    if (recycles) await recycle(context, volume, volumeId, kept);
    // A copy without data, half made, has no place in the bin.
    for (const replica of replicas) {
      if (recycles && kept.includes(replica)) continue;
      await end(context, volume, replica, forGood(volume) || replica.status.sizeBytes === 0);
    }
    const waiting = recycles ? kept.filter((replica) => replica.status.phase !== 'Recycled') : replicas;
    if (waiting.length > 0) {
      await report(
        context,
        volume,
        waiting.flatMap((replica) => replica.status.causes),
      );
      return undefined;
    }
  }
  if (replicas.length === 0) {
    const first = replicaName(volumeId, 0);
    // Made a moment ago, it is not in the view yet; when it is, this is looked at again.
    if (await context.deps.store.find('Replica', first)) return { againAfterMs: 1_000 };
    // A promise that was made for it before it had a copy.
    view.ledger.delete(first);
  }
  await letGo(context, volume);
  return undefined;
}

/** Operations write this when the data is to go at once. */
function forGood({ metadata }: Volume): boolean {
  return metadata.annotations[annotations.skipRecycleBin] === 'true';
}

function mayRecycle(context: ControlContext, volume: Volume): boolean {
  return !forGood(volume) && context.deps.engines(volume.spec.policy.engine).capabilities.recycle;
}

async function recycle(
  context: ControlContext,
  volume: Volume,
  volumeId: string,
  replicas: readonly Replica[],
): Promise<void> {
  const { store } = context.deps;
  const { metadata, spec } = volume;
  const deletedAt = metadata.deletionTimestamp ?? context.now;
  const expiresAt = new Date(Date.parse(deletedAt) + (spec.recycleMs || unaskedMs)).toISOString();
  const name = recycledVolumeName(metadata.name, volumeId);
  if (!context.view.recycled.get(name)) {
    try {
      await store.create({
        kind: 'RecycledVolume',
        metadata: {
          name,
          finalizers: [finalizers.recycle],
          labels: metadata.labels,
          annotations: requestOf(volume),
        },
        spec: {
          volumeName: metadata.name,
          volumeId,
          volume: spec,
          replicaNames: replicas.map((replica) => replica.metadata.name),
          deletedAt,
          expiresAt,
        },
      });
    } catch (error) {
      if (!hasCode(error, 'AlreadyExists')) throw error;
    }
  }
  for (const replica of replicas) {
    if (replica.spec.recycled) continue;
    await change(store, 'Replica', replica.metadata.name, (stored) => ({
      metadata: { annotations: { ...stored.metadata.annotations, ...requestOf(volume) } },
      spec: { ...stored.spec, recycled: { deletedAt, expiresAt } },
    }));
  }
}

async function end(context: ControlContext, volume: Volume, replica: Replica, withData: boolean): Promise<void> {
  const { store } = context.deps;
  const { name, uid, deletionTimestamp } = replica.metadata;
  if (withData) await purge(store, 'Replica', replica, requestOf(volume));
  else if (!deletionTimestamp) await store.delete('Replica', name, { uid });
}

async function report(context: ControlContext, volume: Volume, causes: readonly Cause[]): Promise<void> {
  await writeVolumeStatus(context, volume.metadata.name, ({ status }) => ({
    phase: 'Deleting' as const,
    causes: withSince(causes, status.causes, context.now),
  }));
}

async function letGo(context: ControlContext, volume: Volume): Promise<void> {
  await change(context.deps.store, 'Volume', volume.metadata.name, ({ metadata }) =>
    metadata.uid === volume.metadata.uid
      ? { metadata: { finalizers: metadata.finalizers.filter((name) => name !== finalizers.volume) } }
      : undefined,
  );
}
