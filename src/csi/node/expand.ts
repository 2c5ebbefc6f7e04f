import type { NodeExpandVolumeRequest } from '../../gen/csi/csi_pb.js';
import { filesystemGrownToBytes } from '../../model/attachment.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { Attachment } from '../../model/kinds.ts';
import { required } from '../common/arguments.ts';
import { attachmentSettled } from '../common/attachment.ts';
import { parseCapability } from '../common/capability.ts';
import { sizeBounds } from '../common/capacity-range.ts';
import { type CsiContext, volumeHandle } from '../common/context.ts';
import type { Call } from '../grpc/call.ts';
import { usedAt } from './usage.ts';

/**
 * NodeExpandVolume: answers when the file system has the volume's size. The agent grows it by itself; here it is made to
 * look again, and waited for.
 *
 * @throws AzekuraError NotFound, OutOfRange (the volume itself is smaller), FailedPrecondition (it grows at the next mount
 *   only), DeadlineExceeded
 */
export async function expandOnNode(
  context: CsiContext,
  request: NodeExpandVolumeRequest,
  call: Call,
): Promise<{ capacityBytes: bigint }> {
  const handle = required(request.volumeId, 'volume_id');
  const path = required(request.volumePath, 'volume_path');
  const { requiredBytes } = sizeBounds(request.capacityRange);
  if (request.volumeCapability) parseCapability(request.volumeCapability);
  return context.locks.run({ exclusive: [`node/${handle}`] }, async () => {
    const volume = await context.needVolume(handle);
    const attachment = await usedAt(context, volume, path);
    const { sizeBytes } = volume.spec;
    if (sizeBytes < requiredBytes)
      throw new AzekuraError('OutOfRange', `volume ${volume.metadata.name} has ${sizeBytes} bytes only`, {
        next: 'expand it with ControllerExpandVolume first',
      });
    if (attachment.spec.access === 'block') {
      await context.volumes.until(volume.metadata.name, call, {
        look: (object) => (object && object.status.sizeBytes >= sizeBytes ? object : undefined),
        describe: () => `volume ${volumeHandle(volume)} is being expanded`,
      });
      return { capacityBytes: BigInt(sizeBytes) };
    }
    const { nodeName, operations } = context.deps;
    const { access, accessMode, readOnly, mountOptions, stagingPath } = attachment.spec;
    const asked = await operations.as(call).stageVolume(volume.metadata.name, {
      nodeName,
      access,
      ...(accessMode ? { accessMode } : {}),
      readOnly,
      mountOptions,
      ...(stagingPath === undefined ? {} : { stagingPath }),
      observeRequestId: call.requestId,
    });
    const settled = await attachmentSettled(context, asked, call, (seen) => isGrown(seen, sizeBytes));
    const blocked = settled.status.causes.find(({ code }) => code === 'FilesystemGrowthBlocked');
    if (blocked) throw blamed('FailedPrecondition', blocked);
    return { capacityBytes: BigInt(sizeBytes) };
  });
}

/** The agent notes in the file system's layer up to which size of the volume it has grown it, or why it could not. */
function isGrown({ spec, status }: Attachment, sizeBytes: number): boolean {
  if (spec.readOnly) return true;
  return filesystemGrownToBytes(status) >= sizeBytes;
}
