import type { ControllerExpandVolumeRequest, ControllerModifyVolumeRequest } from '../../gen/csi/csi_pb.js';
import { AzekuraError, blamed, hasCode } from '../../model/errors.ts';
import { required } from '../common/arguments.ts';
import { capabilityProblem, parseCapability } from '../common/capability.ts';
import { chooseSize, sizeBounds } from '../common/capacity-range.ts';
import type { CsiContext } from '../common/context.ts';
import { finalFailure, stateSentence } from '../common/failure.ts';
import { parseMutable } from '../common/parameters.ts';
import type { Call } from '../grpc/call.ts';

/**
 * ControllerExpandVolume: grows the volume, in use or not. The node then grows the file system.
 *
 * @throws AzekuraError InvalidArgument, NotFound, OutOfRange (also when there is no room for it), ResourceExhausted when the
 *   room went after it had begun, DeadlineExceeded
 */
export async function expandVolume(
  context: CsiContext,
  request: ControllerExpandVolumeRequest,
  call: Call,
): Promise<{ capacityBytes: bigint; nodeExpansionRequired: boolean }> {
  const handle = required(request.volumeId, 'volume_id');
  if (!request.capacityRange) throw new AzekuraError('InvalidArgument', 'field capacity_range is missing');
  const bounds = sizeBounds(request.capacityRange);
  const capability = request.volumeCapability ? parseCapability(request.volumeCapability) : undefined;
  return context.locks.run({ exclusive: [`volume/${handle}`] }, async () => {
    const volume = await context.needVolume(handle);
    const { name } = volume.metadata;
    const problem = capability && capabilityProblem(capability, { mode: volume.spec.mode, ...volume.spec.policy });
    if (problem) throw new AzekuraError('InvalidArgument', `volume ${name} cannot be used like that: ${problem}`);
    const nowBytes = volume.spec.sizeBytes;
    if (bounds.limitBytes > 0 && nowBytes > bounds.limitBytes)
      throw new AzekuraError('OutOfRange', `volume ${name} is larger than limit_bytes already`);
    const wantedBytes = Math.max(nowBytes, bounds.requiredBytes > 0 ? chooseSize(bounds, undefined) : nowBytes);
    const written =
      wantedBytes > nowBytes
        ? await context.deps.operations.as(call).expandVolume(name, wantedBytes).catch(refusedForGood)
        : volume;
    const grown = await context.volumes.until(name, call, {
      since: written,
      look: (object) => {
        if (!object) throw new AzekuraError('NotFound', `volume ${name} has been deleted`);
        if (object.status.sizeBytes >= wantedBytes) return object;
        const failure = finalFailure(object.status.causes);
        // "In use" keeps an engine without online growth from growing: another attempt may find it free.
        if (failure) throw failure;
        return undefined;
      },
      describe: (object) => stateSentence(`volume ${name}`, object),
    });
    return { capacityBytes: BigInt(grown.status.sizeBytes), nodeExpansionRequired: volume.spec.mode === 'filesystem' };
  });
}

/**
 * Nothing has been written yet, so nothing is going on. After RESOURCE_EXHAUSTED the resizer takes the growth for one that
 * may still be under way and asks for that size for ever; only after OUT_OF_RANGE may the claim ask for less (Kubernetes:
 * recovering from failure when expanding volumes).
 */
function refusedForGood(error: unknown): never {
  if (hasCode(error, 'ResourceExhausted') && error instanceof AzekuraError && error.blame)
    throw blamed('OutOfRange', error.blame, { details: error.details });
  throw error;
}

/**
 * ControllerModifyVolume: all or nothing. Keys that are absent stay as they are.
 *
 * @throws AzekuraError InvalidArgument, NotFound
 */
export async function modifyVolume(
  context: CsiContext,
  request: ControllerModifyVolumeRequest,
  call: Call,
): Promise<Record<string, never>> {
  const handle = required(request.volumeId, 'volume_id');
  return context.locks.run({ exclusive: [`volume/${handle}`] }, async () => {
    const volume = await context.needVolume(handle);
    const changes = parseMutable(request.mutableParameters);
    if (Object.keys(changes).length > 0)
      await context.deps.operations.as(call).modifyVolume(volume.metadata.name, changes);
    return {};
  });
}
