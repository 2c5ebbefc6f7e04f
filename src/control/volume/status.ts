import { filesystemGrownToBytes } from '../../model/attachment.ts';
import { type Cause, worstCause } from '../../model/cause.ts';
import { causeCatalogue } from '../../model/causes.ts';
import type { Attachment, Replica, Volume } from '../../model/kinds.ts';
import type { VolumeStatus } from '../../model/volume.ts';

/**
 * The status of a volume from its copies and attachments. Pure.
 *
 * @param own causes that the volume itself has, such as no place for it
 */
export function volumeStatus(
  volume: Pick<Volume, 'metadata' | 'spec' | 'status'>,
  replicas: readonly Replica[],
  attachments: readonly Attachment[],
  own: readonly Cause[],
  now: string,
): Partial<VolumeStatus> {
  const uses = attachments.map(useOf);
  const staying = replicas.filter((replica) => !replica.metadata.deletionTimestamp);
  const used = staying.findLast((replica) => replica.status.sizeBytes > 0) ?? staying[0];
  const causes = [...own, ...staying.flatMap(causesNow), ...uses.flatMap((use) => use.causes)];
  const { status } = volume;
  return {
    observedGeneration: volume.metadata.generation,
    phase: phaseOf(volume, staying, used, uses, causes),
    sizeBytes: used?.status.sizeBytes ?? status.sizeBytes,
    replicas: staying.map((replica) => ({
      replicaName: replica.metadata.name,
      nodeName: replica.spec.nodeName,
      poolName: replica.spec.poolName,
      phase: replica.status.phase,
    })),
    ...(used?.status.exclusiveBytes === undefined ? {} : { exclusiveBytes: used.status.exclusiveBytes }),
    ...(used?.status.sharedBytes === undefined ? {} : { sharedBytes: used.status.sharedBytes }),
    ...(used?.status.extents === undefined ? {} : { extents: used.status.extents }),
    attachedTo: uses.flatMap(({ attachedTo }) => attachedTo ?? []),
    ...(used?.status.trim ? { trim: used.status.trim } : {}),
    ...requestsDone(volume, used, now),
    causes,
  };
}

function phaseOf(
  { metadata, spec, status }: Pick<Volume, 'metadata' | 'spec' | 'status'>,
  staying: readonly Replica[],
  used: Replica | undefined,
  uses: readonly Use[],
  causes: readonly Cause[],
): VolumeStatus['phase'] {
  if (metadata.deletionTimestamp) return 'Deleting';
  if (!used) return 'Pending';
  const worst = worstCause(causes);
  const blocked = worst !== undefined && causeCatalogue[worst.code].severity === 'blocking';
  if (used.status.sizeBytes === 0) return blocked ? 'Failed' : 'Creating';
  if (spec.restore && used.status.restoredRequestId !== spec.restore.requestId) return 'Restoring';
  if (staying.some((replica) => replica.spec.source?.kind === 'move' && replica.status.sizeBytes === 0))
    return 'Moving';
  if (used.status.sizeBytes < spec.sizeBytes) return 'Expanding';
  if (uses.some(({ growsFromBytes = Infinity }) => growsFromBytes < used.status.sizeBytes)) return 'Expanding';
  if (used.status.phase !== 'Ready') return status.phase === 'Ready' ? 'Ready' : 'Creating';
  return causes.some((cause) => cause.code === 'BackingMissing') ? 'Failed' : 'Ready';
}

/**
 * What a copy or an attachment suffered before it was asked for something else says nothing of that: it speaks again once
 * it has looked.
 */
export function causesNow({ metadata, status }: Replica | Attachment): readonly Cause[] {
  return status.observedGeneration < metadata.generation ? [] : status.causes;
}

/** All that a Volume's status tells of an attachment, and that a change of one can change in it. */
export interface Use {
  readonly attachedTo?: string;
  /** Up to where a mounted file system has grown that follows its volume: who waits for a larger volume waits for it. */
  readonly growsFromBytes?: number;
  readonly causes: readonly Cause[];
}

export function useOf(attachment: Attachment): Use {
  const { spec, status } = attachment;
  const attached = status.phase === 'Attached' || status.phase === 'Detaching';
  const growsFromBytes = grows(attachment) ? filesystemGrownToBytes(status) : 0;
  return {
    ...(attached ? { attachedTo: spec.nodeName } : {}),
    ...(growsFromBytes > 0 ? { growsFromBytes } : {}),
    causes: causesNow(attachment),
  };
}

function grows({ spec, status }: Attachment): boolean {
  if (status.phase !== 'Attached' || spec.access !== 'filesystem' || !spec.staged || spec.readOnly) return false;
  return !status.causes.some(({ code }) => code === 'FilesystemGrowthBlocked');
}

/** Requests that are done once each: when, and with what outcome. */
function requestsDone(
  { spec, status }: Pick<Volume, 'spec' | 'status'>,
  used: Replica | undefined,
  now: string,
): Partial<VolumeStatus> {
  const done: Partial<VolumeStatus> = {};
  const restored = used?.status.restoredRequestId;
  if (spec.restore && restored === spec.restore.requestId && status.restore?.requestId !== restored)
    done.restore = { requestId: restored, finishedAt: now };
  const repaired = used?.status.repair;
  if (spec.repair && repaired?.requestId === spec.repair.requestId && status.repair?.requestId !== repaired.requestId)
    done.repair = { requestId: repaired.requestId, finishedAt: now, outcome: repaired.outcome };
  const changed = used?.status.changeKey;
  if (
    spec.changeKey &&
    changed?.requestId === spec.changeKey.requestId &&
    status.changeKey?.requestId !== changed.requestId
  )
    done.changeKey = { requestId: changed.requestId, finishedAt: now, outcome: changed.outcome };
  return done;
}
