import {
  PluginCapability_VolumeExpansion_Type as Expansion,
  type Identity,
  PluginCapability_Service_Type as Service,
} from '../gen/csi/csi_pb.js';
import { type CsiDeps, driverName } from './deps.ts';
import type { Handlers } from './grpc/adapter.ts';

const services = [
  Service.CONTROLLER_SERVICE,
  Service.VOLUME_ACCESSIBILITY_CONSTRAINTS,
  Service.GROUP_CONTROLLER_SERVICE,
  Service.SNAPSHOT_METADATA_SERVICE,
  Service.SNAPSHOT_ACCESSIBILITY_CONSTRAINTS,
];

/** CSI's identity service. */
export function identity(deps: CsiDeps): Handlers<typeof Identity> {
  return {
    getPluginInfo: async () => ({ name: driverName, vendorVersion: deps.version }),
    getPluginCapabilities: async () => ({
      capabilities: [
        ...services.map((type) => ({ type: { case: 'service' as const, value: { type } } })),
        { type: { case: 'volumeExpansion', value: { type: Expansion.ONLINE } } },
      ],
    }),
    // Not ready is no error: an error makes the orchestrator restart us.
    probe: async () => ({ ready: deps.ready() }),
  };
}
