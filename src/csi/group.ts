import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  GroupControllerServiceCapability_RPC_Type as Capability,
  type CreateVolumeGroupSnapshotRequest,
  type CreateVolumeGroupSnapshotResponseSchema,
  type DeleteVolumeGroupSnapshotRequest,
  type GetVolumeGroupSnapshotRequest,
  type GetVolumeGroupSnapshotResponseSchema,
  type GroupController,
} from '../gen/csi/csi_pb.js';
import { AzekuraError } from '../model/errors.ts';
import type { Snapshot, SnapshotGroup } from '../model/kinds.ts';
import { required } from './common/arguments.ts';
import { type CsiContext, snapshotHandle } from './common/context.ts';
import { finalFailure, stateSentence } from './common/failure.ts';
import { groupMessage } from './common/messages.ts';
import { canonical, csiAnnotations, objectName } from './common/names.ts';
import { immutableParameters, parseSnapshotParameters } from './common/parameters.ts';
import type { Handlers } from './grpc/adapter.ts';
import type { Call } from './grpc/call.ts';

/** CSI's group controller: snapshots of several volumes at one instant. */
export function groupController(context: CsiContext): Handlers<typeof GroupController> {
  return {
    groupControllerGetCapabilities: async () => ({
      capabilities: [{ type: { case: 'rpc', value: { type: Capability.CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT } } }],
    }),
    createVolumeGroupSnapshot: (request, call) => createGroup(context, request, call),
    deleteVolumeGroupSnapshot: (request, call) => deleteGroup(context, request, call),
    getVolumeGroupSnapshot: (request) => getGroup(context, request),
  };
}

/** @throws AzekuraError InvalidArgument, NotFound, AlreadyExists, FailedPrecondition, ResourceExhausted, DeadlineExceeded */
async function createGroup(
  context: CsiContext,
  request: CreateVolumeGroupSnapshotRequest,
  call: Call,
): Promise<MessageInitShape<typeof CreateVolumeGroupSnapshotResponseSchema>> {
  const csiName = required(request.name, 'name');
  const handles = [...new Set(request.sourceVolumeIds)];
  if (handles.length === 0 || handles.includes(''))
    throw new AzekuraError('InvalidArgument', 'field source_volume_ids is missing, or has an empty entry');
  const parameters = parseSnapshotParameters(request.parameters);
  const parametersText = canonical(immutableParameters(request.parameters));
  const name = objectName(csiName);
  const keys = { exclusive: [`group/${name}`], shared: handles.map((handle) => `volume/${handle}`) };
  return context.locks.run(keys, async () => {
    const { store, operations } = context.deps;
    const existing = await store.find('SnapshotGroup', name);
    const volumeNames: string[] = [];
    for (const handle of handles) {
      const volume = await context.findVolume(handle);
      if (volume) volumeNames.push(volume.metadata.name);
      else if (!existing) throw new AzekuraError('NotFound', `there is no volume with the handle "${handle}"`);
    }
    if (existing) {
      const { annotations } = existing.metadata;
      const same =
        (annotations[csiAnnotations.name] ?? name) === csiName &&
        (annotations[csiAnnotations.parameters] ?? parametersText) === parametersText &&
        sameSet(existing.spec.volumeNames, volumeNames);
      if (!same)
        throw new AzekuraError('AlreadyExists', `group snapshot "${csiName}" exists, of other volumes or parameters`);
      if (existing.metadata.deletionTimestamp)
        throw new AzekuraError('Aborted', 'a group snapshot of that name is being deleted', { next: 'call again' });
    }
    const group =
      existing ??
      (await operations.as(call).createSnapshotGroup({
        name,
        volumeNames,
        ...parameters,
        annotations: {
          [csiAnnotations.parameters]: parametersText,
          ...(csiName === name ? {} : { [csiAnnotations.name]: csiName }),
        },
      }));
    const ready = await groupReady(context, group, call);
    return { groupSnapshot: groupMessage(ready, await members(context, ready)) };
  });
}

async function groupReady(context: CsiContext, group: SnapshotGroup, call: Call): Promise<SnapshotGroup> {
  const { name } = group.metadata;
  return context.groups.until(name, call, {
    since: group,
    look: (object) => {
      if (!object) throw new AzekuraError('Aborted', 'the group was deleted while it was made', { next: 'call again' });
      if (object.status.phase === 'Ready' && object.status.snapshotNames.length === group.spec.volumeNames.length)
        return object;
      const failure = finalFailure(object.status.causes);
      if (failure) throw failure;
      return undefined;
    },
    describe: (object) => stateSentence(`group snapshot ${name}`, object),
  });
}

/** @throws AzekuraError InvalidArgument when the ids are not those of its members; DeadlineExceeded */
async function deleteGroup(
  context: CsiContext,
  request: DeleteVolumeGroupSnapshotRequest,
  call: Call,
): Promise<Record<string, never>> {
  const handle = required(request.groupSnapshotId, 'group_snapshot_id');
  return context.locks.run({ exclusive: [`group/${handle}`] }, async () => {
    const group = await context.findGroup(handle);
    if (!group) return {};
    const { name, uid } = group.metadata;
    if (!group.metadata.deletionTimestamp) {
      checkMembers(await members(context, group), request.snapshotIds);
      await context.deps.operations.as(call).deleteSnapshotGroup(name);
    }
    if ((await context.deps.store.find('SnapshotGroup', name))?.metadata.uid !== uid) return {};
    await context.groups.until(name, call, {
      since: group,
      look: (object) => (object?.metadata.uid === uid ? undefined : true),
      describe: (object) => stateSentence(`group snapshot ${name}`, object),
    });
    return {};
  });
}

/** @throws AzekuraError NotFound, InvalidArgument when the ids are not those of its members */
async function getGroup(
  context: CsiContext,
  request: GetVolumeGroupSnapshotRequest,
): Promise<MessageInitShape<typeof GetVolumeGroupSnapshotResponseSchema>> {
  const handle = required(request.groupSnapshotId, 'group_snapshot_id');
  const group = await context.findGroup(handle);
  if (!group) throw new AzekuraError('NotFound', `there is no group snapshot with the handle "${handle}"`);
  const present = await members(context, group);
  checkMembers(present, request.snapshotIds);
  return { groupSnapshot: groupMessage(group, present) };
}

/** The store is asked: a member's readiness may have reached the group's memory before the snapshots'. */
async function members(context: CsiContext, group: SnapshotGroup): Promise<Snapshot[]> {
  const found = await Promise.all(group.status.snapshotNames.map((name) => context.deps.store.find('Snapshot', name)));
  return found.filter((snapshot) => snapshot !== undefined);
}

function checkMembers(present: readonly Snapshot[], ids: readonly string[]): void {
  if (!sameSet(present.map(snapshotHandle), ids))
    throw new AzekuraError('InvalidArgument', 'field snapshot_ids does not name the members of the group');
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && new Set([...a, ...b]).size === new Set(a).size;
}
