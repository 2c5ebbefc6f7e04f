import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../lib/clock.ts';
import { silentLogger } from '../lib/log.ts';
import { openLmdbStore } from '../store/lmdb/lmdb-store.ts';
import type { HttpDeps } from './deps.ts';
import { fakeOperations } from './fake-operations.ts';
import { createMetrics } from './metrics.ts';
import { createHttpServer } from './server.ts';

export const prefix = '/apis/azekura.dev/v1';

/** A real store in a folder of its own, and servers over it, for one test. */
export async function openBench() {
  const folder = await mkdtemp(join(tmpdir(), 'azekura-http-'));
  const store = await openLmdbStore({ path: join(folder, 'state'), clock: systemClock });
  const stop = new AbortController();
  return {
    folder,
    store,
    stop,
    serverWith(fake = fakeOperations(), more: Partial<HttpDeps> = {}) {
      return createHttpServer({
        store,
        operations: fake.operations,
        log: silentLogger,
        clock: systemClock,
        metrics: createMetrics({ store, hungCalls: () => [], version: '1', startedAtMs: 0 }),
        version: { version: '1', build: 'test' },
        notReady: () => [],
        supportBundle: async () => new Uint8Array([1, 2, 3]),
        stop: stop.signal,
        ...more,
      });
    },
    async storeVolumes(...names: string[]) {
      for (const name of names)
        await store.create({
          kind: 'Volume',
          metadata: { name, labels: { app: name[0] ?? '' } },
          spec: { sizeBytes: 4096 },
        });
    },
    async close() {
      stop.abort();
      await store.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
