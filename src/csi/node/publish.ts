import type { NodePublishVolumeRequest, NodeUnpublishVolumeRequest } from '../../gen/csi/csi_pb.js';
import { AzekuraError, hasCode } from '../../model/errors.ts';
import type { Volume } from '../../model/kinds.ts';
import { required } from '../common/arguments.ts';
import { attachmentSettled, withUse } from '../common/attachment.ts';
import { attachmentProblem, type Capability, isExclusive, isReadOnly, parseCapability } from '../common/capability.ts';
import type { CsiContext } from '../common/context.ts';
import { csiAnnotations } from '../common/names.ts';
import type { Call } from '../grpc/call.ts';
import { isInline, provideInline, removeInline } from './ephemeral.ts';
import type { TargetPaths } from './paths.ts';

/**
 * NodePublishVolume: shows the staged volume at a path. Inline volumes are made here, staged and published in one.
 *
 * @throws AzekuraError NotFound; AlreadyExists (published there otherwise); FailedPrecondition (not staged, shown at
 *   another path and only one is possible, something else lies there); DeadlineExceeded
 */
export async function publishVolume(
  context: CsiContext,
  paths: TargetPaths,
  request: NodePublishVolumeRequest,
  call: Call,
): Promise<Record<string, never>> {
  const handle = required(request.volumeId, 'volume_id');
  const target = required(request.targetPath, 'target_path');
  const capability = parseCapability(request.volumeCapability);
  if (isInline(request)) {
    await context.locks.run({ exclusive: [`node/${handle}`, `path/${target}`] }, async () => {
      await paths.check(target, 'target_path');
      const volume = await provideInline(context, request, capability, call);
      await publish(context, volume, { capability, target, readOnly: request.readonly, stagingPath: undefined }, call);
    });
    return {};
  }
  await context.locks.run({ shared: [`node/${handle}`], exclusive: [`path/${target}`] }, async () => {
    const volume = await context.needVolume(handle);
    if (request.stagingTargetPath === '')
      throw new AzekuraError(
        'FailedPrecondition',
        'field staging_target_path is missing: a volume is staged before it is published',
      );
    await paths.check(target, 'target_path');
    const { stagingTargetPath: stagingPath, readonly: readOnly } = request;
    await publish(context, volume, { capability, target, readOnly, stagingPath }, call);
  });
  return {};
}

async function publish(
  context: CsiContext,
  volume: Volume,
  wanted: { capability: Capability; target: string; readOnly: boolean; stagingPath: string | undefined },
  call: Call,
): Promise<void> {
  const { operations, nodeName } = context.deps;
  const { capability, target, stagingPath } = wanted;
  const { name } = volume.metadata;
  const attachment = await context.findAttachment(volume, nodeName);
  if (!attachment?.spec.staged || attachment.metadata.deletionTimestamp)
    throw new AzekuraError('FailedPrecondition', `volume ${name} is not staged on node ${nodeName}`);
  if (attachment.spec.stagingPath !== undefined && attachment.spec.stagingPath !== stagingPath)
    throw new AzekuraError('FailedPrecondition', `volume ${name} is staged at ${attachment.spec.stagingPath}`);
  const difference = attachmentProblem(capability, attachment);
  if (difference) {
    const there = attachment.spec.published.some((publication) => publication.path === target);
    throw new AzekuraError(there ? 'AlreadyExists' : 'FailedPrecondition', `volume ${name}: ${difference}`);
  }
  await withUse(context, volume, async (use) => {
    const written = await operations.as(call).publishPath(name, {
      nodeName,
      path: target,
      readOnly: wanted.readOnly || isReadOnly(capability.accessMode),
      exclusive: isExclusive(capability.accessMode),
      ...(capability.mountGroup === undefined ? {} : { mountGroup: capability.mountGroup }),
      observeRequestId: call.requestId,
    });
    try {
      await attachmentSettled(context, written, call, ({ status }) => status.published.includes(target), use);
    } catch (error) {
      // A wish that cannot come true must not stand in the way of the volume's other paths. While it may, it stays.
      const isNew = !attachment.spec.published.some((publication) => publication.path === target);
      if (isNew && hasCode(error, 'FailedPrecondition'))
        await operations.as(call).unpublishPath(name, { nodeName, path: target });
      throw error;
    }
  });
}

/**
 * NodeUnpublishVolume: takes the volume away from the path and removes the path. An inline volume goes for good.
 *
 * @throws AzekuraError FailedPrecondition while something holds it, DeadlineExceeded
 */
export async function unpublishVolume(
  context: CsiContext,
  paths: TargetPaths,
  request: NodeUnpublishVolumeRequest,
  call: Call,
): Promise<Record<string, never>> {
  const handle = required(request.volumeId, 'volume_id');
  const target = required(request.targetPath, 'target_path');
  const keys = { shared: [`node/${handle}`], exclusive: [`path/${target}`] };
  const inline = await context.locks.run(keys, async () => {
    const volume = await context.findVolume(handle);
    const { operations, nodeName, nodeHost } = context.deps;
    if (volume)
      await withUse(context, volume, async (use) => {
        const attachment = await operations.as(call).unpublishPath(volume.metadata.name, { nodeName, path: target });
        if (attachment && !attachment.metadata.deletionTimestamp)
          await attachmentSettled(context, attachment, call, ({ status }) => !status.published.includes(target), use);
      });
    // The agent removes what it made; what the orchestrator made beforehand has to go as well (CSI 1.13), also when the
    // volume is gone by now.
    if (await paths.exists(target, 'target_path')) await nodeHost.removeMountPoint(target);
    return volume?.metadata.annotations[csiAnnotations.ephemeral] === undefined ? undefined : volume;
  });
  if (inline) await context.locks.run({ exclusive: [`node/${handle}`] }, () => removeInline(context, inline, call));
  return {};
}
