import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type CsiClient, connectCsi } from '../../../lab/csi/client.ts';
import { createView } from '../../control/view.ts';
import { systemClock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { openLmdbStore } from '../../store/lmdb/lmdb-store.ts';
import type { Store } from '../../store/store.ts';
import type { CsiDeps } from '../deps.ts';
import { type Csi, type CsiPart, startCsi } from '../index.ts';
import { FakeAgent } from './agent.ts';
import { FakeOperations } from './operations.ts';

/** The real driver on a real socket and a real store, with fake operations and a fake agent behind it. */
export interface Driver {
  readonly client: CsiClient;
  readonly csi: Csi;
  readonly store: Store;
  readonly operations: FakeOperations;
  readonly agent: FakeAgent;
  /** Every line that was logged, as JSON. */
  readonly lines: string[];
  /** A folder for target paths. */
  readonly folder: string;
  readonly nodeName: string;
  /** Nodes that were not heard of for so many milliseconds. */
  readonly silent: Map<string, number>;
  /** Paths that the driver asked the host to remove. */
  readonly removed: string[];
  close(): Promise<void>;
}

export const fakeNodeName = 'node-a';

/** Starts one. @param overrides of the driver's dependencies @param options.parts both unless told */
export async function startDriver(
  overrides: Partial<CsiDeps> = {},
  options: { readonly parts?: readonly CsiPart[] } = {},
): Promise<Driver> {
  const folder = await mkdtemp(path.join(tmpdir(), 'azekura-csi-'));
  const lines: string[] = [];
  const log = recordingLog(lines);
  const store = await openLmdbStore({ path: path.join(folder, 'state'), clock: systemClock });
  await store.create({
    kind: 'Node',
    metadata: { name: fakeNodeName },
    spec: {},
    status: { phase: 'Ready' },
  });
  await store.create({ kind: 'Class', metadata: { name: 'local-xfs' }, spec: { isDefault: true } });
  await store.create({
    kind: 'Pool',
    metadata: { name: 'main' },
    spec: { nodeName: fakeNodeName, source: { kind: 'directory', path: '/pool' } },
    status: {
      phase: 'Ready',
      capacityBytes: 100 * 2 ** 30,
      freeBytes: 60 * 2 ** 30,
      reserveBytes: 5 * 2 ** 30,
      maximumVolumeBytes: 150 * 2 ** 30,
    },
  });
  const silent = new Map<string, number>();
  const seen = createView({ store, log, clock: systemClock });
  const view = { ...seen, silentMs: (name: string) => silent.get(name) ?? 0 };
  const operations = new FakeOperations({ store, view, nodeName: fakeNodeName });
  const agent = new FakeAgent({ store, view, nodeName: fakeNodeName });
  const removed: string[] = [];
  const csi = await startCsi(
    {
      store,
      operations: operations.asOperations(),
      view,
      changedBlocks: { allocated: async () => ({ ranges: [] }), changed: async () => ({ ranges: [] }) },
      clock: systemClock,
      log,
      version: '0.0.0',
      nodeName: fakeNodeName,
      nodeHost: {
        filesystemUsage: async () => ({
          sizeBytes: 1000,
          availableBytes: 600,
          usedBytes: 400,
          files: 50,
          filesFree: 40,
        }),
        removeMountPoint: async (target) => void removed.push(target),
      },
      maxVolumesPerNode: 0,
      ready: () => true,
      ...overrides,
    },
    { socketPath: path.join(folder, 'csi', 'csi.sock'), ...options },
  );
  const client = connectCsi(csi.socketPath);
  return {
    client,
    csi,
    store,
    operations,
    agent,
    lines,
    folder,
    nodeName: fakeNodeName,
    removed,
    silent,
    close: async () => {
      client.close();
      await csi.close(1_000);
      await agent.stop();
      await view.close();
      await store.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function recordingLog(lines: string[], bound: object = {}): Logger {
  const write = (level: string) => (fields: object, message: string) => {
    lines.push(JSON.stringify({ level, ...bound, ...fields, message }));
  };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (fields) => recordingLog(lines, { ...bound, ...fields }),
  };
}
