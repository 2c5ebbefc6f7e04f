import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  NodeGetStorageHealthResponseSchema,
  NodeGetVolumeHealthRequest,
  NodeGetVolumeHealthResponseSchema,
  NodeGetVolumeStatsRequest,
  NodeGetVolumeStatsResponseSchema,
} from '../../gen/csi/csi_pb.js';
import { VolumeUsage_Unit as Unit } from '../../gen/csi/csi_pb.js';
import { AzekuraError } from '../../model/errors.ts';
import type { Attachment, Volume } from '../../model/kinds.ts';
import { required } from '../common/arguments.ts';
import { type CsiContext, volumeHandle } from '../common/context.ts';
import { storageHealth } from '../common/health.ts';
import { healthOf } from '../controller/health.ts';

/** NodeGetVolumeStats. @throws AzekuraError NotFound for an unknown volume, or one that is not at that path */
export async function volumeStats(
  context: CsiContext,
  request: NodeGetVolumeStatsRequest,
): Promise<MessageInitShape<typeof NodeGetVolumeStatsResponseSchema>> {
  const handle = required(request.volumeId, 'volume_id');
  const path = required(request.volumePath, 'volume_path');
  const volume = await context.needVolume(handle);
  const attachment = await usedAt(context, volume, path);
  if (attachment.spec.access === 'block')
    return { usage: [{ unit: Unit.BYTES, total: BigInt(volume.status.sizeBytes) }] };
  const usage = await context.deps.nodeHost.filesystemUsage(volumeHandle(volume), path);
  return {
    usage: [
      {
        unit: Unit.BYTES,
        total: BigInt(usage.sizeBytes),
        used: BigInt(usage.usedBytes),
        available: BigInt(usage.availableBytes),
      },
      {
        unit: Unit.INODES,
        total: BigInt(usage.files),
        used: BigInt(usage.files - usage.filesFree),
        available: BigInt(usage.filesFree),
      },
    ],
  };
}

/** The attachment of the volume on this node, when it is to be seen at the path. @throws AzekuraError NotFound */
export async function usedAt(context: CsiContext, volume: Volume, path: string): Promise<Attachment> {
  const attachment = await context.findAttachment(volume, context.deps.nodeName);
  const there =
    attachment?.status.published.includes(path) === true ||
    (attachment?.spec.staged === true &&
      (attachment.spec.stagingPath === path || attachment.status.stagingPath === path));
  if (!attachment || !there) throw new AzekuraError('NotFound', `volume ${volume.metadata.name} is not at ${path}`);
  return attachment;
}

/** NodeGetVolumeHealth, also of a volume that could not be staged. @throws AzekuraError NotFound */
export async function nodeVolumeHealth(
  context: CsiContext,
  request: NodeGetVolumeHealthRequest,
): Promise<MessageInitShape<typeof NodeGetVolumeHealthResponseSchema>> {
  const volume = await context.needVolume(required(request.volumeId, 'volume_id'));
  return { volumeHealth: healthOf(context, volume, request.volumeId) };
}

/** NodeGetStorageHealth: the pools of this node. */
export async function nodeStorageHealth(
  context: CsiContext,
): Promise<MessageInitShape<typeof NodeGetStorageHealthResponseSchema>> {
  const { view, nodeName } = context.deps;
  const pools = view.pools.list().filter(({ spec }) => spec.nodeName === nodeName);
  return { backendHealth: storageHealth(pools.flatMap(({ status }) => status.causes)) };
}
