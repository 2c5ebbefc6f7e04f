import type { ControllerPublishVolumeRequest, ControllerUnpublishVolumeRequest } from '../../gen/csi/csi_pb.js';
import { AzekuraError } from '../../model/errors.ts';
import { keyComesWithStaging } from '../../model/policy.ts';
import { required } from '../common/arguments.ts';
import { attachmentGone, attachmentSettled } from '../common/attachment.ts';
import { capabilityProblem, isReadOnly, parseCapability } from '../common/capability.ts';
import type { CsiContext } from '../common/context.ts';
import type { Call } from '../grpc/call.ts';

/**
 * ControllerPublishVolume: gives the node the volume's device, nothing mounted yet.
 *
 * @throws AzekuraError NotFound (volume, node), AlreadyExists (attached there otherwise), FailedPrecondition (attached to
 *   another node, which the message names), ResourceExhausted (the node has as many as it may have)
 */
export async function controllerPublish(
  context: CsiContext,
  request: ControllerPublishVolumeRequest,
  call: Call,
): Promise<{ publishContext: Record<string, string> }> {
  const handle = required(request.volumeId, 'volume_id');
  const nodeName = required(request.nodeId, 'node_id');
  const capability = parseCapability(request.volumeCapability);
  return context.locks.run({ exclusive: [`volume/${handle}`] }, async () => {
    const volume = await context.needVolume(handle);
    const { view, operations, maxVolumesPerNode } = context.deps;
    if (!view.nodes.get(nodeName)) throw new AzekuraError('NotFound', `there is no node "${nodeName}"`);
    const problem = capabilityProblem(capability, { mode: volume.spec.mode, ...volume.spec.policy });
    if (problem)
      throw new AzekuraError('InvalidArgument', `volume ${volume.metadata.name} cannot be used like that: ${problem}`);
    const attachment = await operations.as(call).attachVolume(volume.metadata.name, {
      nodeName,
      access: capability.access,
      accessMode: capability.accessMode,
      readOnly: request.readonly || isReadOnly(capability.accessMode),
      mountOptions: capability.mountOptions,
      ...(maxVolumesPerNode > 0 ? { maxPerNode: maxVolumesPerNode } : {}),
      observeRequestId: call.requestId,
    });
    // A key that comes with staging is that request's affair, also when one before has brought none or a wrong one.
    const excused = keyComesWithStaging(volume.spec.policy) ? keyCauses : [];
    await attachmentSettled(context, attachment, call, () => true, undefined, excused);
    return { publishContext: {} };
  });
}

const keyCauses = ['EncryptionKeyMissing', 'EncryptionKeyWrong'] as const;

/**
 * ControllerUnpublishVolume: takes the device away again, from all nodes when none is named. What is not there is no error.
 * From a node that is dead or gone nobody unstages a volume: the orchestrator comes here without (Kubernetes after six
 * minutes, or at once with the taint out-of-service). Then it is answered without waiting for that node.
 *
 * @throws AzekuraError FailedPrecondition while it is still staged or published on a node that is there
 */
export async function controllerUnpublish(
  context: CsiContext,
  request: ControllerUnpublishVolumeRequest,
  call: Call,
): Promise<Record<string, never>> {
  const handle = required(request.volumeId, 'volume_id');
  return context.locks.run({ exclusive: [`volume/${handle}`] }, async () => {
    const volume = await context.findVolume(handle);
    const { store, operations } = context.deps;
    // By the id of its data: the Volume object may have been removed, or made anew by an adoption.
    const volumeId = volume ? volume.status.volumeId : handle;
    if (volumeId === undefined) return {};
    const { items } = await store.list('Attachment', { fields: { 'spec.volumeId': volumeId } });
    const attachments = items.filter(
      ({ spec }) =>
        (request.nodeId === '' || spec.nodeName === request.nodeId) &&
        // What a person mounted was never published, and is not ours to take away.
        spec.origin !== 'mount',
    );
    if (attachments.length === 0) return {};
    // Each by its node: with none named, detachVolume would also take what a person has mounted.
    const unattended = new Set<string>();
    for (const { spec } of attachments) {
      const { nodeName, volumeName } = spec;
      const result = await operations.as(call).detachVolume(volumeName, { nodeName, volumeId });
      for (const name of result.unattended) unattended.add(name);
    }
    for (const attachment of attachments)
      if (!unattended.has(attachment.metadata.name)) await attachmentGone(context, attachment, call);
    return {};
  });
}
