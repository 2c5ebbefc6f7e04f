import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  ControllerGetVolumeHealthRequest,
  ControllerGetVolumeHealthResponseSchema,
  ControllerListVolumeHealthRequest,
  ControllerListVolumeHealthResponseSchema,
} from '../../gen/csi/csi_pb.js';
import type { Volume } from '../../model/kinds.ts';
import { required } from '../common/arguments.ts';
import { type CsiContext, volumeHandle } from '../common/context.ts';
import { volumeHealth } from '../common/health.ts';
import { pageOf } from '../common/page.ts';
import { isListed } from './volumes.ts';

/** ControllerGetVolumeHealth. @throws AzekuraError NotFound */
export async function getVolumeHealth(
  context: CsiContext,
  request: ControllerGetVolumeHealthRequest,
): Promise<MessageInitShape<typeof ControllerGetVolumeHealthResponseSchema>> {
  const volume = await context.needVolume(required(request.volumeId, 'volume_id'));
  return { volumeHealth: healthOf(context, volume, request.volumeId) };
}

/** ControllerListVolumeHealth: all volumes, the healthy ones with an empty list. */
export async function listVolumeHealth(
  context: CsiContext,
  request: ControllerListVolumeHealthRequest,
): Promise<MessageInitShape<typeof ControllerListVolumeHealthResponseSchema>> {
  const { entries, nextToken } = pageOf(context.deps.view.volumes.list().filter(isListed), volumeHandle, request);
  return { entries: entries.map((volume) => healthOf(context, volume, volumeHandle(volume))), nextToken };
}

/** What is wrong with the volume itself, and with its use on any node. */
export function healthOf(context: CsiContext, volume: Volume, handle: string): ReturnType<typeof volumeHealth> {
  const used = context.deps.view.attachmentsOf(volumeHandle(volume)).flatMap(({ status }) => status.causes);
  return volumeHealth(handle, [...volume.status.causes, ...used]);
}
