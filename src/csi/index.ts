import path from 'node:path';
import type { Registry } from 'prom-client';
import { Controller, GroupController, Identity, Node, SnapshotMetadata } from '../gen/csi/csi_pb.js';
import { createContext } from './common/context.ts';
import { controller } from './controller/index.ts';
import type { CsiDeps } from './deps.ts';
import { groupController } from './group.ts';
import { adapt } from './grpc/adapter.ts';
import { createCallMetrics } from './grpc/metrics.ts';
import { createRunner } from './grpc/runner.ts';
import { serve } from './grpc/server.ts';
import { identity } from './identity.ts';
import { node } from './node/index.ts';
import { snapshotMetadata } from './snapshot-metadata.ts';

export { topologyKey } from './common/topology.ts';
export type { BlockPage, BlockRangePage, ChangedBlocks, CsiDeps, CsiView, NodeHost } from './deps.ts';
export { driverName } from './deps.ts';
export { type Registration, registerWithKubelet } from './registration/registration.ts';

/** The running driver. */
export interface Csi {
  readonly socketPath: string;
  /** The driver's metrics, to be rendered beside the others. */
  readonly registry: Registry;
  /**
   * Takes no new calls and lets running ones finish; those that still wait after the deadline answer UNAVAILABLE.
   *
   * @param deadlineMs 5 s unless told
   */
  close(deadlineMs?: number): Promise<void>;
}

/** The socket of the driver below an instance's data folder: in a folder of its own, beside which nothing is put. */
export function csiSocketPath(dataDir: string): string {
  return path.join(dataDir, 'csi', 'csi.sock');
}

/** The parts of the driver: in a cluster the controller's services run once, the node's on every node. */
export type CsiPart = 'controller' | 'node';

/**
 * Serves CSI's services on a unix socket; the identity is always among them.
 *
 * @throws AzekuraError FailedPrecondition when another process serves on the socket; InvalidArgument (path too long)
 */
export async function startCsi(
  deps: CsiDeps,
  options: {
    readonly socketPath: string;
    readonly registry?: Registry;
    /** Both unless told. */
    readonly parts?: readonly CsiPart[];
  },
): Promise<Csi> {
  const log = deps.log.child({ part: 'csi' });
  await deps.view.synced;
  const context = createContext({ ...deps, log });
  const metrics = createCallMetrics(options.registry);
  const runner = createRunner({ clock: deps.clock, log, metrics });
  const parts = options.parts ?? ['controller', 'node'];
  const controllerServices = () => [
    adapt(Controller, controller(context), runner),
    adapt(GroupController, groupController(context), runner),
    adapt(SnapshotMetadata, snapshotMetadata(context), runner),
  ];
  const server = await serve({
    socketPath: options.socketPath,
    services: [
      adapt(Identity, identity(deps), runner),
      ...(parts.includes('controller') ? controllerServices() : []),
      ...(parts.includes('node') ? [adapt(Node, node(context), runner)] : []),
    ],
    runner,
    clock: deps.clock,
    log,
  });
  return {
    socketPath: options.socketPath,
    registry: metrics.registry,
    close: async (deadlineMs = 5_000) => {
      await server.close(deadlineMs);
      context.close();
    },
  };
}
