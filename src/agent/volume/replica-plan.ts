import type { VolumeObservation } from '../../engines/contract.ts';
import type { Replica } from '../../model/kinds.ts';

/** What is to be done with a replica next. One at a time: each is looked at anew afterwards. */
export type ReplicaAction =
  | 'none'
  /** Its data should be there and is not: nothing is made in its place. */
  | 'missing'
  /** Its device was left behind by an operation that was interrupted: nobody wants it attached. */
  | 'detach'
  | 'create'
  | 'recycle'
  | 'unrecycle'
  | 'restore'
  | 'expand'
  | 'repair'
  | 'changeKey'
  | 'identity'
  | 'delete'
  /** The object goes, the data stays: nobody has consented to destroy it. */
  | 'release';

/** What else is known of the volume on this node. */
export interface ReplicaSurroundings {
  /** There is an Attachment: somebody wants the volume attached, or has it so. */
  readonly attached: boolean;
  /** Whether the identity on the disk says what it should. */
  readonly identityRight: boolean;
}

/**
 * The next action, from what is wanted and what is seen. Pure.
 *
 * @param replica of this node
 * @param seen as the engine observes it
 */
export function planReplica(
  replica: Pick<Replica, 'metadata' | 'spec' | 'status'>,
  seen: VolumeObservation,
  around: ReplicaSurroundings,
): ReplicaAction {
  const { spec, status } = replica;
  if (seen.attached && !around.attached) return 'detach';
  if (replica.metadata.deletionTimestamp) return spec.purge ? 'delete' : 'release';
  if (spec.recycled) {
    if (seen.recycled) return 'none';
    return seen.present ? 'recycle' : missingOr(status, 'none');
  }
  if (seen.recycled) return 'unrecycle';
  if (!seen.present) return missingOr(status, 'create');
  // What lies around the data is there, the data is not: nothing that could be restored, grown or checked.
  if (seen.sizeBytes === 0 && seen.causes.some(({ code }) => code === 'BackingMissing')) return 'missing';
  if (spec.restore && status.restoredRequestId !== spec.restore.requestId && !around.attached) return 'restore';
  if (seen.sizeBytes < spec.sizeBytes) return 'expand';
  if (spec.repair && status.repair?.requestId !== spec.repair.requestId && !around.attached) return 'repair';
  if (spec.changeKey && status.changeKey?.requestId !== spec.changeKey.requestId) return 'changeKey';
  return around.identityRight ? 'none' : 'identity';
}

/** Whether an attachment has to wait because of what is due on the replica. */
export function holdsAttachment(replica: Pick<Replica, 'spec' | 'status'>): boolean {
  const { restore, repair } = replica.spec;
  return (
    (restore !== undefined && replica.status.restoredRequestId !== restore.requestId) ||
    (repair !== undefined && replica.status.repair?.requestId !== repair.requestId)
  );
}

/** A replica that had data once must never be made anew: that would hide the loss. */
function missingOr(status: Replica['status'], otherwise: 'create' | 'none'): ReplicaAction {
  return status.sizeBytes === 0 ? otherwise : 'missing';
}
