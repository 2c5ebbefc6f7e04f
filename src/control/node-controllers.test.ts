import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { engineDefinition } from '../engines/registry.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLogger } from '../lib/log.ts';
import { annotations, finalizers } from '../model/names.ts';
import { openLmdbStore } from '../store/lmdb/lmdb-store.ts';
import type { Store } from '../store/store.ts';
import { type NodeControllers, startNodeControllers } from './node-controllers.ts';
import { createView, type View } from './view.ts';

const gibibyte = 2 ** 30;
let path: string;
let store: Store;
let view: View;
let controllers: NodeControllers;
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'azekura-node-controllers-'));
  const deps = { clock: systemClock, log: silentLogger };
  store = await openLmdbStore({ path, ...deps });
  await store.create({ kind: 'Node', metadata: { name: 'here' }, spec: {}, status: { phase: 'Ready' } });
  await store.create({
    kind: 'Pool',
    metadata: { name: 'main' },
    spec: { nodeName: 'here', source: { kind: 'directory', path: '/pools/main' } },
    status: { phase: 'Ready', poolId: 'main', capacityBytes: 10 * gibibyte, freeBytes: 10 * gibibyte },
  });
  view = createView({ store, ...deps });
  await view.synced;
  controllers = startNodeControllers({ store, view, engines: engineDefinition, keptTasks: 2, ...deps });
});
afterEach(async () => {
  await controllers.stop();
  await view.close();
  await store.close();
  await rm(path, { recursive: true });
});

async function volume(name: string, noted: Record<string, string> = {}): Promise<void> {
  await store.create({
    kind: 'Volume',
    metadata: { name, finalizers: [finalizers.volume], annotations: noted },
    spec: { sizeBytes: gibibyte, recycleMs: 0 },
  });
}

describe('what a node decides by itself', () => {
  it("are the volumes of a pod's specification, from begin to end, and no others", async () => {
    await volume('theirs');
    await volume('ours', { [annotations.nodeOnly]: 'true' });
    await expect.poll(async () => (await store.list('Replica')).items.length).toBe(1);
    const [replica] = (await store.list('Replica')).items;
    expect(replica).toMatchObject({
      metadata: { annotations: { [annotations.nodeOnly]: 'true' } },
      spec: { volumeName: 'ours', poolName: 'main' },
    });
    expect((await store.get('Volume', 'theirs')).status.volumeId).toBeUndefined();
    await store.delete('Volume', 'ours');
    await expect.poll(async () => (await store.list('Replica')).items[0]?.metadata.deletionTimestamp).toBeDefined();
  });

  it('is how much of its history is kept', async () => {
    for (const name of ['a', 'b', 'c', 'd'])
      await store.create({
        kind: 'Task',
        metadata: { name },
        spec: { verb: 'CreateVolume', subject: { kind: 'Volume', name }, nodeName: 'here' },
        status: { phase: 'Succeeded', endedAt: `2026-01-01T00:00:0${name.charCodeAt(0) - 97}.000Z` },
      });
    const names = async () => (await store.list('Task')).items.map(({ metadata }) => metadata.name);
    await expect.poll(names, { timeout: 15_000 }).toEqual(['c', 'd']);
  });
});
