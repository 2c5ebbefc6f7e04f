import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from 'lmdb';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import { eventually, newSnapshot, newVolume, refusal } from '../contract-helpers.ts';
import { openLmdbStore } from './lmdb-store.ts';
import { formatVersion } from './migrations.ts';

let path: string;
beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'azekura-tables-'));
});
afterEach(() => rmSync(path, { recursive: true }));

const openStore = () => openLmdbStore({ path, clock: systemClock, writtenBy: 'test 1.2.3' });

/** The tables as raw text, with the means of LMDB alone. */
async function edit(
  change: (table: (name: string) => ReturnType<ReturnType<typeof open>['openDB']>) => void,
): Promise<void> {
  const root = open<string, string>({ path, noSubdir: false, encoding: 'string', maxDbs: 8, overlappingSync: false });
  change((name) => root.openDB({ name, encoding: 'string' }));
  await root.close();
}

describe('format of the state', () => {
  it('is recorded with the version of the writer', async () => {
    await (await openStore()).close();
    let record: unknown;
    await edit((table) => {
      record = table('meta').get('format');
    });
    expect(JSON.parse(String(record))).toEqual({ formatVersion, writtenBy: 'test 1.2.3' });
  });

  it('refuses a newer one with DataLoss and writes nothing', async () => {
    const store = await openStore();
    await store.create(newVolume('db'));
    await store.close();
    await edit((table) =>
      table('meta').putSync('format', JSON.stringify({ formatVersion: formatVersion + 1, writtenBy: 'future' })),
    );
    const before = readFileSync(join(path, 'data.mdb'));
    for (let attempt = 0; attempt < 2; attempt++) {
      const error = await refusal(openStore());
      expect(error).toMatchObject({ code: 'DataLoss', message: expect.stringContaining('newer version') });
    }
    expect(readFileSync(join(path, 'data.mdb')).equals(before)).toBe(true);
  });

  it('migrates a store of format 0: objects keep their versions, owners are known again', async () => {
    const meta = {
      generation: 1,
      creationTimestamp: '2026-01-01T00:00:00.000Z',
      finalizers: [],
      labels: {},
      annotations: {},
    };
    const object = (kind: string, name: string, resourceVersion: string, owners: object[], spec: object) =>
      JSON.stringify({
        apiVersion: 'azekura.dev/v1',
        kind,
        metadata: { name, uid: `uid-${name}`, resourceVersion, ...meta, ownerReferences: owners },
        spec,
        status: {},
      });
    const owner = (name: string) => ({ apiVersion: 'azekura.dev/v1', kind: 'Volume', name, uid: `uid-${name}` });
    await edit((table) => {
      const objects = table('objects');
      objects.putSync('Volume/db', object('Volume', 'db', '41', [], { sizeBytes: 4096 }));
      objects.putSync('Snapshot/owned', object('Snapshot', 'owned', '42', [owner('db')], { volumeName: 'db' }));
      objects.putSync('Snapshot/orphan', object('Snapshot', 'orphan', '17', [owner('gone')], { volumeName: 'gone' }));
    });
    const store = await openStore();
    expect((await store.get('Volume', 'db')).metadata.resourceVersion).toBe('41');
    expect((await store.list('Snapshot')).items.map(({ metadata }) => metadata.name)).toEqual(['owned']);
    const made = await store.create(newVolume('new'));
    expect(Number(made.metadata.resourceVersion)).toBeGreaterThan(42);
    expect((await refusal(store.watch('Volume', { from: '40' })[Symbol.asyncIterator]().next())).code).toBe('Expired');
    await store.delete('Volume', 'db');
    expect((await store.list('Snapshot')).items).toEqual([]);
    await store.close();
    await (await openStore()).close();
  });

  it('asks orphans to go when it opens, as after a crash between a write and its garbage collection', async () => {
    const store = await openStore();
    const volume = await store.create(newVolume('db'));
    await store.create(newSnapshot('child', [volume]));
    await store.close();
    await edit((table) => table('objects').removeSync('Volume/db'));
    const reopened = await openStore();
    await eventually(async () => expect(await reopened.find('Snapshot', 'child')).toBeUndefined());
    await reopened.close();
  });

  it.each([
    ['rubbish', Buffer.alloc(16_384, 7)],
    ['text', Buffer.from('this is not a database')],
  ])('answers DataLoss to a file of %s, and the folder can be opened again once it is gone', async (_, bytes) => {
    writeFileSync(join(path, 'data.mdb'), bytes);
    expect((await refusal(openStore())).code).toBe('DataLoss');
    rmSync(join(path, 'data.mdb'));
    await (await openStore()).close();
  });

  it.each([0, 4096, 8192])(
    'takes %i zero bytes, left by a creation that was cut short, for a new store',
    async (sizeBytes) => {
      writeFileSync(join(path, 'data.mdb'), Buffer.alloc(sizeBytes));
      const store = await openStore();
      await store.create(newVolume('db'));
      await store.close();
    },
  );

  it('grows far beyond its first size', async () => {
    const store = await openStore();
    const note = 'x'.repeat(4_000);
    const big = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`note${index}`, note]));
    await Promise.all(
      Array.from({ length: 60 }, (_, index) => store.create(newVolume(`v${index}`, { annotations: big }))),
    );
    expect((await store.list('Volume')).items).toHaveLength(60);
    await store.close();
  });

  it('refuses an object of more than a mebibyte', async () => {
    const store = await openStore();
    const note = 'x'.repeat(4_000);
    const huge = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`note${index}`, note]));
    expect((await refusal(store.create(newVolume('db', { annotations: huge })))).code).toBe('InvalidArgument');
    await store.close();
  });
});
