import type { NodeStageVolumeRequest, NodeUnstageVolumeRequest } from '../../gen/csi/csi_pb.js';
import { AzekuraError } from '../../model/errors.ts';
import type { Attachment, Volume } from '../../model/kinds.ts';
import { required } from '../common/arguments.ts';
import { attachmentGone, attachmentSettled, withUse } from '../common/attachment.ts';
import {
  attachmentProblem,
  type Capability,
  capabilityProblem,
  isReadOnly,
  parseCapability,
} from '../common/capability.ts';
import type { CsiContext } from '../common/context.ts';
import type { Call } from '../grpc/call.ts';
import type { TargetPaths } from './paths.ts';

/**
 * NodeStageVolume: mounts the file system once for the node. A raw block volume has nothing to stage but its device.
 * Staging what is staged makes the agent look at what really is mounted, and mend it.
 *
 * @throws AzekuraError NotFound, AlreadyExists (staged otherwise), FailedPrecondition, DeadlineExceeded
 */
export async function stageVolume(
  context: CsiContext,
  paths: TargetPaths,
  request: NodeStageVolumeRequest,
  call: Call,
): Promise<Record<string, never>> {
  const handle = required(request.volumeId, 'volume_id');
  const stagingPath = required(request.stagingTargetPath, 'staging_target_path');
  const capability = parseCapability(request.volumeCapability);
  return context.locks.run({ exclusive: [`node/${handle}`] }, async () => {
    const volume = await context.needVolume(handle);
    await paths.check(stagingPath, 'staging_target_path');
    await withKeys(context, volume, request.secrets, () => stage(context, volume, capability, stagingPath, call));
    return {};
  });
}

/**
 * Hands the keys of a request to the agent for as long as the work lasts: `key`, and while it is being changed also
 * `previousKey`.
 *
 * @throws AzekuraError InvalidArgument for what is too short or too long to be a key
 */
export async function withKeys<T>(
  { deps }: CsiContext,
  volume: Volume,
  { key, previousKey }: Readonly<Record<string, string>>,
  work: () => Promise<T>,
): Promise<T> {
  const { volumeId } = volume.status;
  if (volume.spec.policy.encryption === 'none' || !key || volumeId === undefined || !deps.keys) return work();
  const withdraw = deps.keys.offer(volumeId, {
    key: Buffer.from(key),
    ...(previousKey ? { previousKey: Buffer.from(previousKey) } : {}),
  });
  try {
    return await work();
  } finally {
    withdraw();
  }
}

/** Attaches and mounts; without a path the agent chooses one. */
export async function stage(
  context: CsiContext,
  volume: Volume,
  capability: Capability,
  stagingPath: string | undefined,
  call: Call,
): Promise<Attachment> {
  const { operations, nodeName, maxVolumesPerNode } = context.deps;
  const problem = capabilityProblem(capability, { mode: volume.spec.mode, ...volume.spec.policy });
  if (problem)
    throw new AzekuraError('FailedPrecondition', `volume ${volume.metadata.name} cannot be used like that: ${problem}`);
  const before = await context.findAttachment(volume, nodeName);
  const difference = before && attachmentProblem(capability, before);
  if (difference) throw new AzekuraError('AlreadyExists', `volume ${volume.metadata.name}: ${difference}`);
  const mounted = capability.access === 'filesystem';
  return withUse(context, volume, async (use) => {
    const attachment = await operations.as(call).stageVolume(volume.metadata.name, {
      nodeName,
      access: capability.access,
      accessMode: capability.accessMode,
      // What the controller has published read-only stays so.
      readOnly: before?.spec.readOnly ?? isReadOnly(capability.accessMode),
      mountOptions: capability.mountOptions,
      ...(mounted && stagingPath !== undefined ? { stagingPath } : {}),
      ...(maxVolumesPerNode > 0 ? { maxPerNode: maxVolumesPerNode } : {}),
      observeRequestId: call.requestId,
    });
    return attachmentSettled(
      context,
      attachment,
      call,
      ({ status }) =>
        !mounted ||
        (status.stagingPath !== undefined && (stagingPath === undefined || status.stagingPath === stagingPath)),
      use,
    );
  });
}

/**
 * NodeUnstageVolume. What is not staged at that path is no error.
 *
 * @throws AzekuraError FailedPrecondition while it is published or in use, DeadlineExceeded
 */
export async function unstageVolume(
  context: CsiContext,
  request: NodeUnstageVolumeRequest,
  call: Call,
): Promise<Record<string, never>> {
  const handle = required(request.volumeId, 'volume_id');
  const stagingPath = required(request.stagingTargetPath, 'staging_target_path');
  return context.locks.run({ exclusive: [`node/${handle}`] }, async () => {
    const volume = await context.findVolume(handle);
    const attachment = volume && (await context.findAttachment(volume, context.deps.nodeName));
    if (!volume || !attachment || attachment.spec.origin === 'mount') return {};
    if (attachment.spec.stagingPath !== undefined && attachment.spec.stagingPath !== stagingPath) return {};
    await unstage(context, volume, attachment, call);
    return {};
  });
}

/** Unmounts, and lets the device go when nobody else has attached it. */
export async function unstage(context: CsiContext, volume: Volume, attachment: Attachment, call: Call): Promise<void> {
  const { operations, nodeName } = context.deps;
  await withUse(context, volume, async (use) => {
    if (!attachment.metadata.deletionTimestamp) {
      const after = await operations.as(call).unstageVolume(volume.metadata.name, { nodeName });
      if (after && after.spec.origin !== 'stage') {
        await attachmentSettled(context, after, call, ({ status }) => status.stagingPath === undefined, use);
        return;
      }
    }
    await attachmentGone(context, attachment, call, use);
  });
}
