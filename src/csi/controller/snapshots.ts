import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  CreateSnapshotRequest,
  CreateSnapshotResponseSchema,
  DeleteSnapshotRequest,
  GetSnapshotRequest,
  GetSnapshotResponseSchema,
  ListSnapshotsRequest,
  ListSnapshotsResponseSchema,
} from '../../gen/csi/csi_pb.js';
import { AzekuraError, hasCode } from '../../model/errors.ts';
import type { Snapshot, Volume } from '../../model/kinds.ts';
import { required } from '../common/arguments.ts';
import { type CsiContext, snapshotHandle } from '../common/context.ts';
import { finalFailure, stateSentence } from '../common/failure.ts';
import { nodesOf, snapshotMessage } from '../common/messages.ts';
import { csiAnnotations, objectName } from '../common/names.ts';
import { pageOf } from '../common/page.ts';
import { parseSnapshotParameters } from '../common/parameters.ts';
import { admittedNodes } from '../common/topology.ts';
import type { Call } from '../grpc/call.ts';

/**
 * CreateSnapshot: answers when the snapshot is cut and can be used.
 *
 * @throws AzekuraError NotFound, AlreadyExists (the name stands for another volume's), ResourceExhausted, Aborted,
 *   DeadlineExceeded; FailedPrecondition when the snapshot cannot lie where the caller wants it
 */
export async function createSnapshot(
  context: CsiContext,
  request: CreateSnapshotRequest,
  call: Call,
): Promise<MessageInitShape<typeof CreateSnapshotResponseSchema>> {
  const csiName = required(request.name, 'name');
  const handle = required(request.sourceVolumeId, 'source_volume_id');
  const parameters = parseSnapshotParameters(request.parameters);
  const admitted = admittedNodes(request.accessibilityRequirements);
  const name = objectName(csiName);
  return context.locks.run({ exclusive: [`snapshot/${name}`], shared: [`volume/${handle}`] }, async () => {
    const { store, operations } = context.deps;
    const existing = await store.find('Snapshot', name);
    if (existing) {
      if (existing.spec.volumeId !== handle || (existing.metadata.annotations[csiAnnotations.name] ?? name) !== csiName)
        throw new AzekuraError('AlreadyExists', `snapshot "${csiName}" exists, of another volume`);
      if (existing.metadata.deletionTimestamp)
        throw new AzekuraError('Aborted', 'a snapshot of that name is being deleted', { next: 'call again' });
      return { snapshot: snapshotMessage(await snapshotCut(context, existing, call)) };
    }
    const volume = await context.needVolume(handle);
    refuseElsewhere(volume, admitted);
    const snapshot = await operations.as(call).createSnapshot({
      name,
      volumeName: volume.metadata.name,
      ...parameters,
      annotations: { ...(csiName === name ? {} : { [csiAnnotations.name]: csiName }) },
    });
    return { snapshot: snapshotMessage(await snapshotCut(context, snapshot, call)) };
  });
}

/** A snapshot lies beside its volume. */
function refuseElsewhere(volume: Volume, admitted: readonly string[] | undefined): void {
  const nodes = nodesOf(volume);
  if (!admitted || nodes.some((node) => admitted.includes(node))) return;
  // RESOURCE_EXHAUSTED is CSI 1.13's code for a topology that cannot be had.
  throw new AzekuraError(
    'ResourceExhausted',
    `a snapshot lies beside its volume, which is on node ${nodes.join(', ')}`,
  );
}

async function snapshotCut(context: CsiContext, snapshot: Snapshot, call: Call): Promise<Snapshot> {
  const { name } = snapshot.metadata;
  try {
    return await context.snapshots.until(name, call, {
      since: snapshot,
      look: (object) => {
        if (!object)
          throw new AzekuraError('Aborted', 'the snapshot was deleted while it was made', { next: 'call again' });
        if (object.status.readyToUse && object.status.cutAt) return object;
        const failure = finalFailure(object.status.causes);
        if (failure) throw failure;
        return undefined;
      },
      describe: (object) => stateSentence(`snapshot ${name}`, object),
    });
  } catch (error) {
    // The snapshotter takes this code as final, and forgets the snapshot: one that is cut later would be nobody's.
    if (hasCode(error, 'FailedPrecondition')) await removeUncut(context, snapshot, call);
    throw error;
  }
}

async function removeUncut(context: CsiContext, { metadata }: Snapshot, call: Call): Promise<void> {
  const stored = await context.deps.store.find('Snapshot', metadata.name);
  if (stored?.metadata.uid !== metadata.uid || stored.status.cutAt !== undefined) return;
  if (!stored.metadata.deletionTimestamp) await context.deps.operations.as(call).deleteSnapshot(metadata.name);
  await snapshotGone(context, stored, call);
}

/**
 * DeleteSnapshot. A snapshot that is not there is no error.
 *
 * @throws AzekuraError InvalidArgument for a member of a group, which goes with its group only
 */
export async function deleteSnapshot(
  context: CsiContext,
  request: DeleteSnapshotRequest,
  call: Call,
): Promise<Record<string, never>> {
  const handle = required(request.snapshotId, 'snapshot_id');
  return context.locks.run({ exclusive: [`snapshot-id/${handle}`] }, async () => {
    const snapshot = await context.findSnapshot(handle);
    if (!snapshot) return {};
    if (snapshot.spec.groupName)
      throw new AzekuraError('InvalidArgument', `the snapshot belongs to the group ${snapshot.spec.groupName}`, {
        next: 'delete the group snapshot',
      });
    if (!snapshot.metadata.deletionTimestamp)
      await context.deps.operations.as(call).deleteSnapshot(snapshot.metadata.name);
    await snapshotGone(context, snapshot, call);
    return {};
  });
}

/** Waits until the snapshot is gone. */
export async function snapshotGone(context: CsiContext, snapshot: Snapshot, call: Call): Promise<void> {
  const { name, uid } = snapshot.metadata;
  if ((await context.deps.store.find('Snapshot', name))?.metadata.uid !== uid) return;
  await context.snapshots.until(name, call, {
    since: snapshot,
    look: (object) => (object?.metadata.uid === uid ? undefined : true),
    describe: (object) => stateSentence(`snapshot ${name}`, object),
  });
}

/** GetSnapshot, also of one that is not ready yet. @throws AzekuraError NotFound */
export async function getSnapshot(
  context: CsiContext,
  request: GetSnapshotRequest,
): Promise<MessageInitShape<typeof GetSnapshotResponseSchema>> {
  return { snapshot: snapshotMessage(await context.needSnapshot(required(request.snapshotId, 'snapshot_id'))) };
}

/** ListSnapshots: those that are cut. What does not exist gives an empty list. */
export async function listSnapshots(
  context: CsiContext,
  request: ListSnapshotsRequest,
): Promise<MessageInitShape<typeof ListSnapshotsResponseSchema>> {
  const listed = context.deps.view.snapshots
    .list()
    .filter(
      (snapshot) =>
        snapshot.status.cutAt !== undefined &&
        (request.snapshotId === '' || snapshotHandle(snapshot) === request.snapshotId) &&
        (request.sourceVolumeId === '' || snapshot.spec.volumeId === request.sourceVolumeId),
    );
  const { entries, nextToken } = pageOf(listed, snapshotHandle, request);
  return { entries: entries.map((snapshot) => ({ snapshot: snapshotMessage(snapshot) })), nextToken };
}
