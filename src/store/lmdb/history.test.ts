import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Kind } from '../../model/kinds.ts';
import { newSnapshot, newVolume } from '../contract-helpers.ts';
import { newResource } from '../validate.ts';
import { CommitQueue } from './commit-queue.ts';
import { type History, makeHistory } from './history.ts';
import type { Tables } from './layout.ts';
import { Objects } from './objects.ts';
import { openTables } from './tables.ts';

const creationTimestamp = '2026-01-01T00:00:00.000Z';
let folder: string;
let tables: Tables;
let history: History;
let objects: Objects;
let commits: CommitQueue;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'azekura-history-'));
  tables = openTables({ path: folder, writtenBy: 'test' });
  history = makeHistory(tables, 1_000);
  objects = new Objects(tables, history, () => creationTimestamp);
  commits = new CommitQueue(tables.root, folder, {
    committed: () => history.committed(),
    failed: () => history.abandoned(),
  });
});

afterEach(async () => {
  await tables.root.close();
  await rm(folder, { recursive: true });
});

const volume = (name: string) => newResource(newVolume(name), { uid: `uid-${name}`, creationTimestamp });
const snapshot = (name: string) => newResource(newSnapshot(name, []), { uid: `uid-${name}`, creationTimestamp });

describe('the newest changes in memory', () => {
  it('are those on the disk, from wherever one reads', async () => {
    for (let index = 0; index < 90; index++) {
      await commits.submit(() => objects.create(volume(`v-${index}`)));
      if (index % 3 === 0) await commits.submit(() => objects.create(snapshot(`s-${index}`)));
      if (index % 5 === 0) await commits.submit(() => objects.delete('Volume', `v-${index}`, {}, {}));
    }
    const head = Number(tables.meta.get('revision'));
    // One that has just been opened knows nothing yet, and reads the disk.
    const fresh = makeHistory(tables, 1_000);
    for (const kind of ['Volume', 'Snapshot'] as const)
      for (let after = 0; after <= head; after++)
        for (const fields of [undefined, { 'metadata.name': 'v-85' }])
          expect(history.read(kind, after, 7, fields)).toEqual(fresh.read(kind, after, 7, fields));
    expect(history.read('Pool', 0, 7)).toEqual([]);
    expect(() => history.read('Volume', head + 1, 7)).toThrow('no longer known');
  });

  it('have nothing of a transaction that failed', async () => {
    const broken = commits.submit(() => {
      objects.create(volume('broken'));
      throw new Error('in the middle');
    });
    await expect(broken).rejects.toThrow('in the middle');
    expect(history.read('Volume', 0, 7)).toEqual([]);
    await commits.submit(() => objects.create(volume('whole')));
    expect(history.read('Volume', 0, 7).map(({ event }) => event)).toMatchObject([
      { type: 'added', object: { metadata: { name: 'whole' } } },
    ]);
  });

  it('give way to the log when a commit that was called failed has happened after all', async () => {
    await commits.submit(() => objects.create(volume('before')));
    expect(history.committed()).toEqual(new Set());
    // As when the flush that ends a commit fails: all is written, and the queue is told otherwise.
    tables.root.transactionSync(() => objects.create(volume('unsure')));
    history.abandoned();
    await tables.root.transaction(() => objects.create(snapshot('after')));
    expect([...history.committed()].sort()).toEqual(['Snapshot', 'Volume']);
    await commits.submit(() => objects.create(volume('later')));
    const names = (kind: Kind, after: number) =>
      history.read(kind, after, 7).map(({ event }) => event && 'object' in event && event.object.metadata.name);
    expect(names('Volume', 0)).toEqual(['before', 'unsure', 'later']);
    expect(names('Volume', 1)).toEqual(['unsure', 'later']);
    expect(names('Volume', 2)).toEqual(['later']);
    expect(names('Snapshot', 1)).toEqual(['after']);
  });

  it('are not told before they are durable', async () => {
    let seen: unknown;
    await commits.submit(() => {
      objects.create(volume('db'));
      seen = history.read('Volume', 0, 7);
    });
    expect(seen).toEqual([]);
    expect(history.read('Volume', 0, 7)).toHaveLength(1);
  });
});
