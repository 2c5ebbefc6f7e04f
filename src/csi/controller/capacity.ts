import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GetCapacityRequest, GetCapacityResponseSchema } from '../../gen/csi/csi_pb.js';
import { AzekuraError } from '../../model/errors.ts';
import { capacityFor } from '../../placement/index.ts';
import { isMultiNode, parseCapability } from '../common/capability.ts';
import { requestOfClass } from '../common/class-request.ts';
import type { CsiContext } from '../common/context.ts';
import { parseParameters } from '../common/parameters.ts';
import { nodeOf } from '../common/topology.ts';

/**
 * GetCapacity: what is free for volumes of a class on a node, or on all nodes. `maximum_volume_size` is what one new
 * volume may have: with thin volumes more than is free, and always that of the best pool, never a sum. What cannot be
 * provided at all has the capacity 0; that is no error.
 */
export async function getCapacity(
  context: CsiContext,
  request: GetCapacityRequest,
): Promise<MessageInitShape<typeof GetCapacityResponseSchema>> {
  const { view } = context.deps;
  const wanted = requestOfClass(view, parseParameters(request.parameters, {}));
  const access = accessOf(request);
  const nodeName = request.accessibleTopology && (nodeOf(request.accessibleTopology) ?? '');
  const { availableBytes, maximumBytes } =
    wanted && access
      ? capacityFor({ ...wanted, access }, nodeName, view.stock)
      : { availableBytes: 0, maximumBytes: 0 };
  return { availableCapacity: BigInt(availableBytes), maximumVolumeSize: BigInt(maximumBytes) };
}

/** Undefined when no volume can be used like this. */
function accessOf(request: GetCapacityRequest): 'oneNode' | 'manyNodes' | undefined {
  try {
    const modes = request.volumeCapabilities.map((capability) => parseCapability(capability).accessMode);
    return modes.some((mode) => isMultiNode(mode)) ? 'manyNodes' : 'oneNode';
  } catch (error) {
    if (error instanceof AzekuraError && error.code === 'InvalidArgument') return undefined;
    throw error;
  }
}
