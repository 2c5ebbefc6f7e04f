import { unlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createAgent } from '../agent/index.ts';
import type { AgentOptions } from '../cli/context.ts';
import { createOperations, createView, startNodeControllers } from '../control/index.ts';
import { driverName, registerWithKubelet } from '../csi/index.ts';
import { engineDefinition } from '../engines/registry.ts';
import { createHost } from '../host/linux.ts';
import { createHealthServer } from '../http/health.ts';
import { createMetrics } from '../http/metrics.ts';
import { createHttpServer } from '../http/server.ts';
import { makeSupportBundle } from '../http/support-bundle.ts';
import { csiNodeType, type KubeCsiNode } from '../kube/types.ts';
import { systemClock } from '../lib/clock.ts';
import { openLmdbStore } from '../store/lmdb/lmdb-store.ts';
import { ClassCopies } from '../store/mirror/classes.ts';
import { type Mirror, startMirror } from '../store/mirror/mirror.ts';
import { connectCluster } from './cluster.ts';
import { serveCsi } from './csi.ts';
import { prepareDataDir } from './data-dir.ts';
import { collectAtRest } from './heap.ts';
import { listenOnSocket, parseAddress } from './listen.ts';
import { mirrorCauses, registerMirrorMetrics } from './mirror-metrics.ts';
import { takeOver } from './node-identity.ts';
import { forNodeOnly, lookingOnly } from './node-operations.ts';
import { checkPrerequisites, programFolders } from './prerequisites.ts';
import { runRole, startServer } from './process.ts';

/**
 * Runs the agent of a Kubernetes node until SIGTERM or SIGINT: the same agent and the same CSI node service as on one
 * machine, on the node's own store, which a mirror joins with the cluster's. Mounted volumes stay mounted when it ends.
 *
 * @returns the exit code
 * @throws AzekuraError when it cannot start; that the API server does not answer is no reason
 */
export async function runAgent(options: AgentOptions): Promise<number> {
  return runRole(options, async ({ output, log, shutdown, stopping, version, crashPoint }) => {
    await checkPrerequisites({ uid: process.getuid?.(), folders: programFolders(process.env.PATH ?? '') });
    const healthAddress = options.healthListen === undefined ? undefined : parseAddress(options.healthListen);
    const { nodeName } = options;
    const kubeletDir = resolve(options.kubeletDir);
    const dataDir = await prepareDataDir(options.dataDir);
    const clock = systemClock;
    const writtenBy = `azekura ${version.version}`;
    const store = await openLmdbStore({ path: dataDir.state, clock, log, writtenBy });
    shutdown.add('store', () => store.close());
    await takeOver(store, nodeName);
    const host = createHost({ clock, log });
    shutdown.add('host', () => host.close());
    const startedAtMs = Date.now();
    const hungCalls = () => host.hungCalls();
    const metrics = createMetrics({ store, hungCalls, version: version.version, startedAtMs });
    const { registry } = metrics;
    const { kubeconfig } = options;
    const cluster = await connectCluster({ kubeconfig, fieldManager: 'azekura-agent', registry, log });

    let mirror: Mirror | undefined;
    const parts = { store, clock, log, engines: engineDefinition };
    const view = createView({ store, log, clock });
    shutdown.add('view', () => view.close());
    const agent = createAgent({
      ...parts,
      informers: view,
      host,
      nodeName,
      dataDir: dataDir.path,
      version: version.version,
      crashPoint,
      moreCauses: () => (mirror ? mirrorCauses(mirror, nodeName, startedAtMs, clock.nowMs()) : []),
    });
    const operations = createOperations({ ...parts, view, nodeName, version: version.version, node: () => agent });

    let starting = true;
    const notReady = () => (stopping.aborted ? ['Azekura is stopping'] : starting ? ['Azekura is starting'] : []);
    const api = createHttpServer({
      store,
      operations: lookingOnly(operations),
      log,
      clock,
      metrics,
      version,
      notReady,
      supportBundle: () => makeSupportBundle({ store, operations, host, clock, version, recentLog: output.recent }),
      stop: stopping,
    });
    await startServer(api, shutdown, async (server) => {
      await listenOnSocket(server, dataDir.socket);
      shutdown.add('socket', () => unlink(dataDir.socket).catch(() => {}));
    });
    if (healthAddress)
      await startServer(createHealthServer({ notReady, metrics }), shutdown, (server) => server.listen(healthAddress));

    shutdown.add('agent', (deadlineMs) => agent.stop(deadlineMs));
    await agent.start();
    mirror = startMirror({ local: store, remote: cluster.store, nodeName, clock, log });
    shutdown.add('mirror', (deadlineMs) => mirror?.stop(deadlineMs) ?? Promise.resolve());
    registerMirrorMetrics(registry, mirror);
    const classes = new ClassCopies({ local: store, remote: cluster.store, clock, log });
    shutdown.add('classes', () => classes.stop());
    await view.synced;
    const controllers = startNodeControllers({ ...parts, view });
    shutdown.add('controllers', (deadlineMs) => controllers.stop(deadlineMs));

    const socketPath = join(kubeletDir, 'plugins', driverName, 'csi.sock');
    const csi = await serveCsi({
      ...parts,
      operations: forNodeOnly(operations, () => classes.refresh()),
      view,
      host,
      version: version.version,
      nodeName,
      keys: agent.keys,
      dataDir: dataDir.path,
      beginUse: (volumeId) => agent.beginUse(volumeId),
      maxVolumesPerNode: options.maxVolumesPerNode ?? 0,
      registry,
      ready: () => !starting,
      socketPath,
      parts: ['node'],
      targetRoot: kubeletDir,
    });
    shutdown.add('csi', (deadlineMs) => csi.close(Math.min(deadlineMs, 5_000)));
    starting = false;
    const letHeapGrow = collectAtRest(clock);
    shutdown.add('heap', async () => letHeapGrow());
    const registration = await registerWithKubelet({
      kubeletDir,
      driverName,
      endpoint: socketPath,
      isListed: async () => {
        const found = await cluster.client.find<KubeCsiNode>(csiNodeType, nodeName);
        return found?.spec?.drivers?.some(({ name }) => name === driverName) ?? false;
      },
      clock,
      log,
    });
    shutdown.add('registration', () => registration.close());
    log.info({ node: nodeName, dataDir: dataDir.path, version: version.version }, 'the agent is up');
  });
}
