import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  ControllerGetVolumeRequest,
  ControllerGetVolumeResponseSchema,
  ListVolumesRequest,
  ListVolumesResponseSchema,
  ValidateVolumeCapabilitiesRequest,
  ValidateVolumeCapabilitiesResponseSchema,
} from '../../gen/csi/csi_pb.js';
import { AzekuraError } from '../../model/errors.ts';
import type { Volume } from '../../model/kinds.ts';
import { required } from '../common/arguments.ts';
import { capabilityProblem, parseCapability } from '../common/capability.ts';
import { type CsiContext, volumeHandle } from '../common/context.ts';
import { volumeMessage } from '../common/messages.ts';
import { canonical, csiAnnotations } from '../common/names.ts';
import { pageOf } from '../common/page.ts';
import { immutableParameters, parseMutable } from '../common/parameters.ts';

/** ListVolumes: every volume that has its place, also those that were not made through CSI. */
export async function listVolumes(
  context: CsiContext,
  request: ListVolumesRequest,
): Promise<MessageInitShape<typeof ListVolumesResponseSchema>> {
  const listed = context.deps.view.volumes.list().filter(isListed);
  const { entries, nextToken } = pageOf(listed, volumeHandle, request);
  return {
    entries: entries.map((volume) => ({ volume: volumeMessage(volume), status: publishedNodes(context, volume) })),
    nextToken,
  };
}

/** A volume without its id has no handle yet; one that is being deleted counts until it is gone. */
export function isListed(volume: Volume): boolean {
  return volume.status.volumeId !== undefined && volume.status.sizeBytes > 0;
}

/** ControllerGetVolume. @throws AzekuraError NotFound */
export async function getVolume(
  context: CsiContext,
  request: ControllerGetVolumeRequest,
): Promise<MessageInitShape<typeof ControllerGetVolumeResponseSchema>> {
  const volume = await context.needVolume(required(request.volumeId, 'volume_id'));
  return { volume: volumeMessage(volume), status: publishedNodes(context, volume) };
}

/**
 * ValidateVolumeCapabilities: what is not possible is no error, but an answer without confirmation that says why.
 *
 * @throws AzekuraError InvalidArgument, NotFound
 */
export async function validateCapabilities(
  context: CsiContext,
  request: ValidateVolumeCapabilitiesRequest,
): Promise<MessageInitShape<typeof ValidateVolumeCapabilitiesResponseSchema>> {
  const handle = required(request.volumeId, 'volume_id');
  if (request.volumeCapabilities.length === 0)
    throw new AzekuraError('InvalidArgument', 'field volume_capabilities is missing');
  const volume = await context.needVolume(handle);
  const problem = validationProblem(volume, request);
  if (problem !== undefined) return { message: problem };
  const { volumeContext, volumeCapabilities, parameters, mutableParameters } = request;
  return { confirmed: { volumeContext, volumeCapabilities, parameters, mutableParameters } };
}

function validationProblem(volume: Volume, request: ValidateVolumeCapabilitiesRequest): string | undefined {
  try {
    for (const capability of request.volumeCapabilities) {
      const problem = capabilityProblem(parseCapability(capability), { mode: volume.spec.mode, ...volume.spec.policy });
      if (problem) return problem;
    }
    parseMutable(request.mutableParameters);
  } catch (error) {
    if (error instanceof AzekuraError && error.code === 'InvalidArgument') return error.message;
    throw error;
  }
  const made = volume.metadata.annotations[csiAnnotations.parameters];
  const asked = canonical(immutableParameters(request.parameters));
  return asked !== '{}' && made !== undefined && made !== asked ? 'it was made with other parameters' : undefined;
}

function publishedNodes(context: CsiContext, volume: Volume): { publishedNodeIds: string[] } {
  const attachments = context.deps.view.attachmentsOf(volumeHandle(volume));
  return { publishedNodeIds: [...new Set(attachments.map(({ spec }) => spec.nodeName))] };
}
