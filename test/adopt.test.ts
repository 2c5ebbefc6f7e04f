import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Resource } from '../src/model/kinds.ts';
import { CliBench, execute, whyNot } from './cli-bench.ts';

const word = (text: string) => `a word that must come back: ${text}\n`;

/** Objects are lost and made again from what lies on the pool: nothing is copied, nothing is lost. */
describe.skipIf(whyNot)(`azekura pool adopt${whyNot ? ` (skipped: ${whyNot})` : ''}`, () => {
  let bench: CliBench;
  /** Ids before the uninstall. */
  const ids = new Map<string, string>();

  beforeAll(async () => {
    bench = new CliBench();
    await bench.up('--pool-size', '1Gi');
    for (const name of ['db', 'wal', 'binned'])
      await bench.ok('volume', 'create', name, '--size', '32Mi', '--class', 'local-ext4');
    await bench.ok('volume', 'create', 'raw', '--size', '8Mi', '--block', '--thick');
    for (const name of ['db', 'wal', 'binned']) {
      await bench.ok('volume', 'mount', name, bench.path('mnt', name));
      writeFileSync(bench.path('mnt', name, 'word'), word(name));
    }
    await bench.ok('snapshot', 'create', 'db', 'before');
    writeFileSync(bench.path('mnt', 'db', 'word'), word('db, later'));
    await bench.ok('snapshot', 'create', '--group', 'pair', 'db', 'wal');
    await bench.ok('volume', 'create', 'clone', '--from-snapshot', 'before', '--class', 'local-ext4');
    for (const name of ['db', 'wal', 'binned']) await bench.ok('volume', 'umount', name);
    await bench.ok('volume', 'delete', 'binned');
    for (const { metadata, status } of (await bench.json('volume', 'list')).items)
      ids.set(metadata.name, status.volumeId);
    for (const { metadata, spec } of (await bench.json('snapshot', 'list')).items)
      ids.set(metadata.name, spec.snapshotId);
  }, 120_000);
  afterAll(() => bench.close());

  const pool = async (): Promise<Resource<'Pool'>> => bench.json('pool', 'show', 'trial');
  const orphans = async () => (await pool()).status.orphans;

  it('the id of a request is in its answer, in the log and in the task', async () => {
    const log = await new Promise<string>((resolve, reject) => {
      const options = {
        socketPath: join(bench.dataDir, 'azekura.sock'),
        method: 'PATCH',
        path: '/apis/azekura.dev/v1/volumes/raw',
        headers: { 'x-request-id': 'grow.raw', 'content-type': 'application/merge-patch+json' },
      };
      const call = request(options, (answer) => resolve(String(answer.headers['x-request-id'])));
      call.on('error', reject);
      call.end(JSON.stringify({ spec: { sizeBytes: 12 * 2 ** 20 } }));
    });
    expect(log).toBe('grow.raw');
    await expect
      .poll(async () =>
        ((await bench.json('task', 'list')).items as Resource<'Task'>[])
          .filter(({ spec }) => spec.requestId === 'grow.raw')
          .map(({ spec }) => `${spec.verb} ${spec.subject.name}`),
      )
      .toEqual(['ExpandVolume raw']);
    expect(bench.log).toMatch(/grow\.raw/);
  });

  it('after uninstall and up, what is on the pool is counted, named, and no problem of anything else', async () => {
    await bench.down();
    await bench.ok('uninstall');
    expect(existsSync(join(bench.dataDir, 'state'))).toBe(false);
    await bench.up();
    await expect.poll(async () => (await orphans())?.volumeCount, { timeout: 20_000 }).toBe(5);
    expect((await orphans())?.snapshotCount).toBe(3);
    expect((await bench.json('volume', 'list')).items).toEqual([]);
    const shown = await bench.ok('pool', 'show', 'trial');
    for (const name of ['db', 'wal', 'binned', 'raw', 'clone', 'before', 'pair-db'])
      expect(shown).toMatch(new RegExp(`^ .*\\b${name}\\b`, 'm'));
    expect(await bench.ok('status')).toMatch(/PoolHasOrphans: pool trial holds 5 volumes and 3 snapshots/);
  });

  it('a dry run tells what would be, and changes nothing', async () => {
    const said = await bench.ok('pool', 'adopt', 'trial', '--all', '--dry-run');
    expect(said).toMatch(/would adopt volume\/db \(32Mi, id \w+\): with snapshot .*before/);
    expect(said).toMatch(/would adopt volume\/binned .* into the recycle bin/);
    expect((await bench.json('volume', 'list')).items).toEqual([]);
  });

  it('a name that is taken is named as a conflict, and --as goes around it', async () => {
    await bench.ok('volume', 'create', 'wal', '--size', '16Mi', '--class', 'local-ext4');
    const refused = await bench.run('pool', 'adopt', 'trial', 'wal');
    expect(refused.code).toBe(4);
    expect(refused.out).toMatch(/not adopted: wal \(id \w+\): a volume wal exists\n {2}next: .*--as NAME/);
    expect(await bench.ok('pool', 'adopt', 'trial', 'wal', '--as', 'wal-before')).toMatch(/adopted volume\/wal-before/);
    expect((await bench.run('pool', 'adopt', 'trial', 'nowhere')).code).toBe(3);
    expect((await bench.run('pool', 'adopt', 'trial')).code).toBe(2);
    expect((await bench.run('pool', 'adopt', 'trial', 'db', 'raw', '--as', 'x')).code).toBe(2);
  });

  it('all the rest comes back under its names, with its ids; again there is nothing to do', async () => {
    const said = await bench.ok('pool', 'adopt', 'trial', '--all');
    for (const name of ['db', 'raw', 'clone', 'binned']) expect(said).toContain(`adopted volume/${name} `);
    expect(await bench.ok('pool', 'adopt', 'trial', '--all')).toBe('pool/trial holds nothing without objects\n');
    const after = new Map<string, string>();
    for (const { metadata, status } of (await bench.json('volume', 'list')).items)
      after.set(metadata.name, status.volumeId);
    for (const { metadata, spec } of (await bench.json('snapshot', 'list')).items)
      after.set(metadata.name, spec.snapshotId);
    for (const name of ['db', 'raw', 'clone', 'before', 'pair-db', 'pair-wal'])
      expect(after.get(name)).toBe(ids.get(name));
    expect(after.get('wal-before')).toBe(ids.get('wal'));
    await expect.poll(async () => (await orphans())?.volumeCount ?? 0, { timeout: 20_000 }).toBe(0);
    await expect.poll(() => bench.ok('status'), { timeout: 20_000 }).not.toContain('PoolHasOrphans');
  });

  it('the data is there: volumes mount, grow, are restored, and come out of the bin', async () => {
    const read = async (name: string) => {
      await bench.ok('volume', 'mount', name, bench.path('mnt', name));
      const text = readFileSync(bench.path('mnt', name, 'word'), 'utf8');
      await bench.ok('volume', 'umount', name);
      return text;
    };
    expect(await read('db')).toBe(word('db, later'));
    expect(await read('wal-before')).toBe(word('wal'));
    expect(await read('clone')).toBe(word('db'));
    await bench.ok('volume', 'expand', 'db', '--size', '48Mi');
    await bench.ok('volume', 'restore', 'db', 'before');
    expect(await read('db')).toBe(word('db'));
    await bench.ok('volume', 'undelete', 'binned');
    expect(await read('binned')).toBe(word('binned'));
    expect((await bench.json('volume', 'show', 'raw')).spec).toMatchObject({
      mode: 'block',
      sizeBytes: 12 * 2 ** 20,
      policy: { provisioning: 'thick' },
    });
  });

  it('snapshots and their groups can be deleted as before', async () => {
    await bench.ok('snapshot', 'delete', '--group', 'pair');
    await bench.ok('snapshot', 'delete', 'before');
    expect((await bench.json('snapshot', 'list')).items).toEqual([]);
  });

  it('a pool from elsewhere is adopted too, one with a damaged identity by its id', async () => {
    await bench.down();
    const image = bench.path('other.img');
    copyFileSync(join(bench.dataDir, 'pools', 'trial.img'), image);
    await bench.up();
    for (const name of ['db', 'wal-before', 'wal', 'clone', 'raw', 'binned'])
      await bench.ok('volume', 'delete', name, '--skip-recycle-bin');
    await bench.down();
    await bench.ok('uninstall', '--delete-data', '--yes');
    await bench.up('--no-pool');
    const size = (await execute('stat', ['-c', '%s', image])).out.trim();
    await bench.ok('pool', 'add', 'other', image, '--size', size, '--accept-no-journal');
    await expect.poll(async () => (await bench.json('pool', 'show', 'other')).status.orphans?.volumeCount).toBe(6);
    const path = (await bench.json('pool', 'show', 'other')).status.path as string;
    expect(readdirSync(`${path}/volumes`)).toContain(ids.get('db'));
    writeFileSync(`${path}/volumes/${ids.get('db')}/identity.json`, 'nonsense');
    const all = await bench.run('pool', 'adopt', 'other', '--all');
    expect(all.code).toBe(4);
    expect(all.out).toMatch(/not adopted: \w+: its identity file is unusable/);
    await bench.ok('pool', 'adopt', 'other', ids.get('db') ?? '', '--as', 'found');
    await bench.ok('volume', 'mount', 'found', bench.path('mnt', 'found'));
    expect(readFileSync(bench.path('mnt', 'found', 'word'), 'utf8')).toBe(word('db'));
    await expect
      .poll(() => readFileSync(`${path}/volumes/${ids.get('db')}/identity.json`, 'utf8'))
      .toContain('"name": "found"');
    await bench.ok('volume', 'umount', 'found');
  });
});
