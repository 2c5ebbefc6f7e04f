import { NodeServiceCapability_RPC_Type as Capability, type Node } from '../../gen/csi/csi_pb.js';
import type { CsiContext } from '../common/context.ts';
import { topologyOf } from '../common/topology.ts';
import type { Handlers } from '../grpc/adapter.ts';
import { expandOnNode } from './expand.ts';
import { TargetPaths } from './paths.ts';
import { publishVolume, unpublishVolume } from './publish.ts';
import { stageVolume, unstageVolume } from './stage.ts';
import { nodeStorageHealth, nodeVolumeHealth, volumeStats } from './usage.ts';

const capabilities = [
  Capability.STAGE_UNSTAGE_VOLUME,
  Capability.GET_VOLUME_STATS,
  Capability.EXPAND_VOLUME,
  Capability.SINGLE_NODE_MULTI_WRITER,
  Capability.VOLUME_MOUNT_GROUP,
  Capability.GET_VOLUME_HEALTH,
  Capability.GET_STORAGE_HEALTH,
];

/** CSI's node service: writes what is wanted of this node's agent, and waits for it. */
export function node(context: CsiContext): Handlers<typeof Node> {
  const { deps } = context;
  const paths = new TargetPaths(deps.clock, deps.targetRoot);
  return {
    nodeGetCapabilities: async () => ({
      capabilities: capabilities.map((type) => ({ type: { case: 'rpc' as const, value: { type } } })),
    }),
    nodeGetInfo: async () => ({
      nodeId: deps.nodeName,
      maxVolumesPerNode: BigInt(deps.maxVolumesPerNode),
      accessibleTopology: topologyOf(deps.nodeName),
    }),
    nodeStageVolume: (request, call) => stageVolume(context, paths, request, call),
    nodeUnstageVolume: (request, call) => unstageVolume(context, request, call),
    nodePublishVolume: (request, call) => publishVolume(context, paths, request, call),
    nodeUnpublishVolume: (request, call) => unpublishVolume(context, paths, request, call),
    nodeExpandVolume: (request, call) => expandOnNode(context, request, call),
    nodeGetVolumeStats: (request) => volumeStats(context, request),
    nodeGetVolumeHealth: (request) => nodeVolumeHealth(context, request),
    nodeGetStorageHealth: () => nodeStorageHealth(context),
  };
}
