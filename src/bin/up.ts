import { existsSync } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { createAgent } from '../agent/index.ts';
import type { UpOptions } from '../cli/context.ts';
import { createControllers, createOperations } from '../control/index.ts';
import { engineDefinition } from '../engines/registry.ts';
import type { Host } from '../host/host.ts';
import { createHost } from '../host/linux.ts';
import type { HttpDeps } from '../http/deps.ts';
import { createMetrics } from '../http/metrics.ts';
import { createHttpServer } from '../http/server.ts';
import { makeSupportBundle } from '../http/support-bundle.ts';
import { systemClock } from '../lib/clock.ts';
import { makeCause } from '../model/cause.ts';
import { openLmdbStore } from '../store/lmdb/lmdb-store.ts';
import type { Store } from '../store/store.ts';
import { serveCsi } from './csi.ts';
import { prepareDataDir } from './data-dir.ts';
import { collectAtRest } from './heap.ts';
import { listenOnSocket, parseAddress, readToken } from './listen.ts';
import type { Log } from './log.ts';
import { checkPrerequisites, programFolders } from './prerequisites.ts';
import { runRole, startServer } from './process.ts';
import { tellServing } from './service-manager.ts';
import { makeTrialPool } from './trial-pool.ts';

/**
 * Runs Azekura on this machine until SIGTERM or SIGINT. Mounted volumes stay mounted when it ends.
 *
 * @returns the exit code
 * @throws AzekuraError when it cannot start
 */
export async function runUp(options: UpOptions): Promise<number> {
  return runRole(options, async ({ output, log, shutdown, stopping, version, crashPoint }) => {
    await checkPrerequisites({ uid: process.getuid?.(), folders: programFolders(process.env.PATH ?? '') });
    const address = options.listen === undefined ? undefined : parseAddress(options.listen);
    const token = address ? await readToken(options.tokenFile) : undefined;
    const dataDir = await prepareDataDir(options.dataDir);
    const store = await openLmdbStore({
      path: dataDir.state,
      clock: systemClock,
      log,
      writtenBy: `azekura ${version.version}`,
    });
    shutdown.add('store', () => store.close());
    const host = createHost({ clock: systemClock, log });
    shutdown.add('host', () => host.close());
    const nodeName = await chooseNodeName(store, host);
    const engines = engineDefinition;
    const controllers = createControllers({ store, clock: systemClock, log, engines });
    const agent = createAgent({
      store,
      informers: controllers.view,
      host,
      engines,
      nodeName,
      dataDir: dataDir.path,
      clock: systemClock,
      log,
      version: version.version,
      crashPoint,
    });
    const operations = createOperations({
      store,
      view: controllers.view,
      clock: systemClock,
      log,
      engines,
      nodeName,
      version: version.version,
      node: (name) => (name === nodeName ? agent : undefined),
    });

    let starting = true;
    const metrics = createMetrics({
      store,
      hungCalls: () => host.hungCalls(),
      version: version.version,
      startedAtMs: Date.now(),
    });
    const http: HttpDeps = {
      store,
      operations,
      log,
      clock: systemClock,
      metrics,
      version,
      notReady: () => (stopping.aborted ? ['Azekura is stopping'] : starting ? ['Azekura is starting'] : []),
      supportBundle: () =>
        makeSupportBundle({ store, operations, host, clock: systemClock, version, recentLog: output.recent }),
      stop: stopping,
    };
    await startServer(createHttpServer(http), shutdown, async (server) => {
      await listenOnSocket(server, dataDir.socket);
      shutdown.add('socket', () => unlink(dataDir.socket).catch(() => {}));
    });
    if (address && token !== undefined)
      await startServer(
        createHttpServer({ ...http, token }),
        shutdown,
        async (server) => void (await server.listen(address)),
      );

    shutdown.add('controllers', (deadlineMs) => controllers.stop(deadlineMs));
    await controllers.start();
    shutdown.add('agent', (deadlineMs) => agent.stop(deadlineMs));
    await agent.start();
    const csi = await serveCsi({
      store,
      operations,
      view: controllers.view,
      host,
      engines,
      clock: systemClock,
      log,
      version: version.version,
      nodeName,
      keys: agent.keys,
      dataDir: dataDir.path,
      beginUse: (volumeId) => agent.beginUse(volumeId),
      maxVolumesPerNode: options.maxVolumesPerNode ?? 0,
      registry: metrics.registry,
      ready: () => !starting,
    });
    shutdown.add('csi', (deadlineMs) => csi.close(Math.min(deadlineMs, 5_000)));
    starting = false;
    const letHeapGrow = collectAtRest(systemClock);
    shutdown.add('heap', async () => letHeapGrow());
    if (!existsSync('/dev/loop-control'))
      log.warn(
        { cause: makeCause('NoLoopDevices', { problem: '/dev/loop-control is not there' }) },
        'volumes of the file engine cannot be attached',
      );

    const made = options.pool
      ? await makeTrialPool({
          store,
          host,
          operations,
          dataDir,
          nodeName,
          ...(options.poolSizeBytes === undefined ? {} : { sizeBytes: options.poolSizeBytes }),
        })
      : [];
    await tellServing(host, log, process.env);
    if (!stopping.aborted)
      announce(options, output, [
        `Azekura ${version.version} is up on node ${nodeName}; everything of it lies in ${dataDir.path}.`,
        ...made,
        ...nextSteps(options),
      ]);
  });
}

/**
 * The name of this machine's Node. Once there is one it stays, whatever becomes of the host name: pools are tied to it.
 */
async function chooseNodeName(store: Store, host: Host): Promise<string> {
  const [present, ...others] = (await store.list('Node')).items;
  if (present && others.length === 0) return present.metadata.name;
  const { hostName } = await host.facts();
  const label = (hostName.split('.')[0] ?? '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .slice(0, 63)
    .replaceAll(/^-+|-+$/g, '');
  return label === '' ? 'node' : label;
}

function nextSteps(options: UpOptions): string[] {
  const at = options.dataDir === '/var/lib/azekura' ? '' : `AZEKURA_DATA_DIR=${options.dataDir} `;
  return [
    'Type next, in another terminal:',
    `  ${at}npx azekura volume create db --size 1Gi`,
    `  ${at}npx azekura volume mount db /mnt/db`,
    `  ${at}npx azekura status`,
  ];
}

/** To a person as text; to a log collector as log lines. */
function announce(options: UpOptions, { log }: Log, lines: readonly string[]): void {
  if (options.jsonLog) for (const line of lines) log.info({}, line.trim());
  else process.stdout.write(`\n${lines.join('\n')}\n\n`);
}
