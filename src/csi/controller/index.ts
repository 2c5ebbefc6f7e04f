import { ControllerServiceCapability_RPC_Type as Capability, type Controller } from '../../gen/csi/csi_pb.js';
import type { CsiContext } from '../common/context.ts';
import type { Handlers } from '../grpc/adapter.ts';
import { getCapacity } from './capacity.ts';
import { expandVolume, modifyVolume } from './change-volume.ts';
import { createVolume } from './create-volume.ts';
import { deleteVolume } from './delete-volume.ts';
import { getVolumeHealth, listVolumeHealth } from './health.ts';
import { controllerPublish, controllerUnpublish } from './publish.ts';
import { createSnapshot, deleteSnapshot, getSnapshot, listSnapshots } from './snapshots.ts';
import { getVolume, listVolumes, validateCapabilities } from './volumes.ts';

const capabilities = [
  Capability.CREATE_DELETE_VOLUME,
  Capability.PUBLISH_UNPUBLISH_VOLUME,
  Capability.LIST_VOLUMES,
  Capability.GET_CAPACITY,
  Capability.CREATE_DELETE_SNAPSHOT,
  Capability.LIST_SNAPSHOTS,
  Capability.CLONE_VOLUME,
  Capability.PUBLISH_READONLY,
  Capability.EXPAND_VOLUME,
  Capability.LIST_VOLUMES_PUBLISHED_NODES,
  Capability.GET_VOLUME,
  // Without it an orchestrator cannot tell ReadWriteOnce from ReadWriteOncePod.
  Capability.SINGLE_NODE_MULTI_WRITER,
  Capability.MODIFY_VOLUME,
  Capability.GET_SNAPSHOT,
  Capability.GET_VOLUME_HEALTH,
  Capability.LIST_VOLUME_HEALTH,
];

/** CSI's controller service. */
export function controller(context: CsiContext): Handlers<typeof Controller> {
  return {
    controllerGetCapabilities: async () => ({
      capabilities: capabilities.map((type) => ({ type: { case: 'rpc' as const, value: { type } } })),
    }),
    createVolume: (request, call) => createVolume(context, request, call),
    deleteVolume: (request, call) => deleteVolume(context, request, call),
    controllerPublishVolume: (request, call) => controllerPublish(context, request, call),
    controllerUnpublishVolume: (request, call) => controllerUnpublish(context, request, call),
    validateVolumeCapabilities: (request) => validateCapabilities(context, request),
    listVolumes: (request) => listVolumes(context, request),
    getCapacity: (request) => getCapacity(context, request),
    controllerExpandVolume: (request, call) => expandVolume(context, request, call),
    controllerModifyVolume: (request, call) => modifyVolume(context, request, call),
    controllerGetVolume: (request) => getVolume(context, request),
    controllerListVolumeHealth: (request) => listVolumeHealth(context, request),
    controllerGetVolumeHealth: (request) => getVolumeHealth(context, request),
    createSnapshot: (request, call) => createSnapshot(context, request, call),
    deleteSnapshot: (request, call) => deleteSnapshot(context, request, call),
    listSnapshots: (request) => listSnapshots(context, request),
    getSnapshot: (request) => getSnapshot(context, request),
  };
}
