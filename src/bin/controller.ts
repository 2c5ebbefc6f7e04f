import { mkdir, unlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Gauge } from 'prom-client';
import type { ControllerOptions } from '../cli/context.ts';
import {
  type Claims,
  type Controllers,
  createControllers,
  createKubernetesLooks,
  createOperations,
  createView,
  type LostClaims,
  type NodePools,
  type NodeSide,
  startClaimEvents,
  startClaims,
  startLostClaims,
  startNodePools,
  type View,
} from '../control/index.ts';
import { type ChangedBlocks, type NodeHost, startCsi } from '../csi/index.ts';
import { engineDefinition } from '../engines/registry.ts';
import { createExtenderServer } from '../http/extender.ts';
import { createHealthServer } from '../http/health.ts';
import { createMetrics } from '../http/metrics.ts';
import { createHttpServer } from '../http/server.ts';
import { makeSupportBundle } from '../http/support-bundle.ts';
import { EventRecorder } from '../kube/events.ts';
import { LeaderElection } from '../kube/leader.ts';
import { type KubeNode, nodeType } from '../kube/types.ts';
import { systemClock } from '../lib/clock.ts';
import { shortId } from '../lib/id.ts';
import { AzekuraError } from '../model/errors.ts';
import { startCapacity } from './capacity.ts';
import { connectCluster } from './cluster.ts';
import { listenOnSocket, parseAddress, readToken } from './listen.ts';
import { runRole, startServer } from './process.ts';

/** The Lease of the controllers. */
const leaseName = 'azekura-controller';

/**
 * Runs a controller of a Kubernetes cluster until SIGTERM or SIGINT. CSI and the API are served by every one of them; the
 * controllers proper run in the one that holds the Lease. It touches nothing of the machine but its own sockets.
 *
 * @returns the exit code
 * @throws AzekuraError when it cannot start
 */
export async function runController(options: ControllerOptions): Promise<number> {
  return runRole(options, async ({ output, log, shutdown, stopping, version }) => {
    const healthAddress = options.healthListen === undefined ? undefined : parseAddress(options.healthListen);
    const extenderAddress = options.extenderListen === undefined ? undefined : parseAddress(options.extenderListen);
    const address = options.listen === undefined ? undefined : parseAddress(options.listen);
    const token = address ? await readToken(options.tokenFile) : undefined;
    await mkdir(options.runDir, { recursive: true, mode: 0o700 });
    const clock = systemClock;
    const startedAtMs = Date.now();
    const engines = engineDefinition;
    let view: View | undefined;
    const metrics = createMetrics({
      store: { list: async (kind) => ({ items: view?.of(kind)?.list() ?? [], resourceVersion: '' }) },
      hungCalls: () => [],
      version: version.version,
      startedAtMs,
    });
    const { registry } = metrics;
    const { kubeconfig } = options;
    const { client, store } = await connectCluster({ kubeconfig, fieldManager: 'azekura-controller', registry, log });
    shutdown.add('store', () => store.close());
    const state = createView({ store, clock, log });
    view = state;
    shutdown.add('view', () => state.close());
    const looks = createKubernetesLooks(client);
    const operations = createOperations({
      store,
      view: state,
      clock,
      log,
      engines,
      nodeName: '',
      version: version.version,
      node: () => nodeElsewhere,
      looks,
    });

    let starting = true;
    const notReady = () =>
      stopping.aborted ? ['Azekura is stopping'] : starting ? ['the objects of the cluster are not read yet'] : [];
    const supportBundle = () => makeSupportBundle({ store, operations, clock, version, recentLog: output.recent });
    const http = { store, operations, log, clock, metrics, version, notReady, supportBundle, stop: stopping };
    if (healthAddress)
      await startServer(createHealthServer({ notReady, metrics }), shutdown, (server) => server.listen(healthAddress));
    await startServer(createHttpServer(http), shutdown, async (server) => {
      const socket = join(options.runDir, 'azekura.sock');
      await listenOnSocket(server, socket);
      shutdown.add('socket', () => unlink(socket).catch(() => {}));
    });
    if (address && token !== undefined)
      await startServer(createHttpServer({ ...http, token }), shutdown, (server) => server.listen(address));

    const namespace = options.namespace ?? client.access.namespace;
    const capacity = await startCapacity({
      client,
      view: state,
      clock,
      log,
      registry,
      namespace,
      podName: options.identity,
      enabled: options.reservations,
    });
    shutdown.add('capacity', () => capacity.close());
    if (extenderAddress)
      await startServer(createExtenderServer(capacity.reservations, registry), shutdown, (server) =>
        server.listen(extenderAddress),
      );
    const csi = await startCsi(
      {
        store,
        operations,
        view: state,
        changedBlocks: blocksElsewhere,
        claimRoom: capacity.reservations,
        clock,
        log,
        version: version.version,
        nodeName: '',
        nodeHost: noNode,
        maxVolumesPerNode: 0,
        ready: () => !starting,
      },
      { socketPath: join(options.runDir, 'csi', 'csi.sock'), registry, parts: ['controller'] },
    );
    shutdown.add('csi', (deadlineMs) => csi.close(Math.min(deadlineMs, 5_000)));
    starting = false;

    const deps = { store, clock, log, engines, view: state };
    let leading: Controllers | undefined;
    let pools: NodePools | undefined;
    let stopEvents = () => {};
    let claims: Claims | undefined;
    let lost: LostClaims | undefined;
    let copies: { close(): Promise<void> } | undefined;
    const labelsOf = async (name: string) => (await client.find<KubeNode>(nodeType, name))?.metadata.labels;
    let writing: Promise<() => Promise<void>> | undefined;
    const identity = `${options.identity ?? `${hostname()}-${process.pid}`}-${shortId()}`;
    const events = new EventRecorder({ client, controller: 'azekura.dev/controller', instance: identity, log });
    shutdown.add('events', () => events.close());
    const election = new LeaderElection({
      client,
      namespace,
      name: leaseName,
      identity,
      log,
      onElected: () => {
        const controllers = createControllers(deps);
        leading = controllers;
        if (options.pools.length > 0)
          pools = startNodePools({ store, view: state, operations, clock, log, rules: options.pools, labelsOf });
        copies = capacity.sendCopies();
        const tellCause: EventRecorder['tellCause'] = (...told) => events.tellCause(...told);
        const suspects = startLostClaims({ looks, view: state, tellCause, clock, log });
        lost = suspects;
        const onLost = ({ namespace, name }: { readonly namespace: string; readonly name: string }) =>
          suspects.suspect(namespace, name);
        claims = startClaims({ looks, store, view: state, clock, log, onLost });
        stopEvents = startClaimEvents({ view: state, why: operations.why, tellCause, log });
        writing = capacity.writeCapacities();
        writing.catch((err: unknown) => log.error({ err }, 'the room for volumes is not told to Kubernetes'));
        controllers.start().catch((err: unknown) => log.error({ err }, 'the controllers could not start'));
      },
      onLost: async () => {
        stopEvents();
        const quiet = writing?.then((stop) => stop()).catch(() => {});
        await Promise.all([leading?.stop(), pools?.stop(), claims?.stop(), lost?.stop(), copies?.close(), quiet]);
      },
    });
    shutdown.add('election', () => election.close());
    new Gauge({
      name: 'azekura_leader',
      help: 'Whether this one runs the controllers',
      registers: [registry],
      collect() {
        this.set(election.leading ? 1 : 0);
      },
    });
    log.info({ identity, version: version.version }, 'the controller is up');
  });
}

/** What only a node can say shows when its agent has tried: in the status of what was asked for. */
const nodeElsewhere: NodeSide = {
  inspectPool: async () => ({ plan: [], warnings: [], capacityBytes: 0, existing: false }),
  checkMountPoint: async () => {
    throw new AzekuraError('Unimplemented', 'volumes of a cluster are mounted by Kubernetes', {
      next: 'use the volume in a pod, by a PersistentVolumeClaim',
    });
  },
};

const blocksElsewhere: ChangedBlocks = {
  allocated: async () => {
    throw new AzekuraError('Unimplemented', 'changed blocks lie on the node of the snapshot, which is not asked yet');
  },
  changed: async () => {
    throw new AzekuraError('Unimplemented', 'changed blocks lie on the node of the snapshot, which is not asked yet');
  },
};

const noNode: NodeHost = {
  filesystemUsage: async () => {
    throw new AzekuraError('Unimplemented', 'a controller has no mounted volumes');
  },
  removeMountPoint: async () => {
    throw new AzekuraError('Unimplemented', 'a controller has no mounted volumes');
  },
};
