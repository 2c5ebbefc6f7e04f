import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GetCapacityRequest, GetCapacityResponseSchema } from '../../gen/csi/csi_pb.js';
import { AzekuraError } from '../../model/errors.ts';
import type { Class, Pool } from '../../model/kinds.ts';
import { isMultiNode, parseCapability } from '../common/capability.ts';
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
  const parameters = parseParameters(request.parameters, {});
  const used = view.classes
    .list()
    .find(({ metadata, spec }) =>
      parameters.className === undefined ? spec.isDefault : metadata.name === parameters.className,
    );
  const pools = isPossible(request, used)
    ? view.pools.list().filter((pool) => admits(context, pool, used, request, parameters.poolName))
    : [];
  const thick = (parameters.provisioning ?? used?.spec.provisioning) === 'thick';
  const free = pools.map((pool) =>
    Math.max(0, pool.status.freeBytes - pool.status.reserveBytes - pool.status.reservedBytes),
  );
  const largest = pools.map((pool, index) => (thick ? (free[index] ?? 0) : pool.status.maximumVolumeBytes));
  return {
    availableCapacity: BigInt(free.reduce((sum, bytes) => sum + bytes, 0)),
    maximumVolumeSize: BigInt(Math.max(0, ...largest)),
  };
}

function isPossible(request: GetCapacityRequest, used: Class | undefined): boolean {
  try {
    return request.volumeCapabilities.every((capability) => {
      const { accessMode } = parseCapability(capability);
      return !isMultiNode(accessMode) || used?.spec.shared === true;
    });
  } catch (error) {
    if (error instanceof AzekuraError && error.code === 'InvalidArgument') return false;
    throw error;
  }
}

function admits(
  context: CsiContext,
  pool: Pool,
  used: Class | undefined,
  request: GetCapacityRequest,
  poolName: string | undefined,
): boolean {
  const { spec, status, metadata } = pool;
  if (status.phase !== 'Ready' || spec.cordoned || spec.draining) return false;
  if (poolName !== undefined && metadata.name !== poolName) return false;
  if (context.deps.view.nodes.get(spec.nodeName)?.spec.cordoned) return false;
  if (request.accessibleTopology && nodeOf(request.accessibleTopology) !== spec.nodeName) return false;
  if (!used) return true;
  const { names, labels } = used.spec.poolSelector;
  if (spec.engine !== used.spec.engine) return false;
  if (names && !names.includes(metadata.name)) return false;
  return Object.entries(labels ?? {}).every(([key, value]) => metadata.labels[key] === value);
}
