import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { holdings } from '../lab/daemon.ts';
import { CliBench, execute, whyNot } from './cli-bench.ts';

/** What a user sees: one instance from its first start to its uninstallation, each step on what the one before left. */
describe.skipIf(whyNot)(`the command line on a real instance${whyNot ? ` (skipped: ${whyNot})` : ''}`, () => {
  let bench: CliBench;
  let mnt: string;
  beforeAll(() => {
    bench = new CliBench();
    mnt = bench.path('mnt', 'db');
  });
  afterAll(() => bench.close());

  it('azekura up makes a pool, says what it took, what is at risk, what to type next and how to give it back', async () => {
    const said = await bench.up('--pool-size', '1Gi');
    expect(said).toContain('Made pool');
    expect(said).toContain('It takes 1Gi of');
    expect(said).toContain('npx azekura volume create db --size 1Gi');
    expect(said).toContain('azekura pool remove trial --destroy');
    expect(statSync(bench.dataDir).mode & 0o777).toBe(0o700);
    expect(statSync(`${bench.dataDir}/azekura.sock`).mode & 0o777).toBe(0o600);
  });

  it('status shows the pool, and what is not well with its next step', async () => {
    const out = await bench.ok('status');
    expect(out).toMatch(/^trial +Ready/m);
    expect(out).toContain('PoolNoJournal');
    expect((await bench.json('status')).pools).toHaveLength(1);
  });

  it('a dry run tells where and why, and changes nothing', async () => {
    const out = await bench.ok('volume', 'create', 'db', '--size', '320Mi', '--dry-run');
    expect(out).toMatch(/Dry run: would make volume db \(320Mi\) in .*\/trial\. Nothing was changed\./);
    expect(out).toMatch(/trial +yes/);
    expect((await bench.json('volume', 'list')).items).toEqual([]);
  });

  it('a volume is made, mounted and written; objects have the Kubernetes shape', async () => {
    expect(await bench.ok('volume', 'create', 'db', '--size', '320Mi')).toBe('volume/db is ready in pool trial\n');
    await bench.ok('volume', 'mount', 'db', mnt);
    writeFileSync(`${mnt}/file`, 'first');
    expect(await bench.json('volume', 'show', 'db')).toMatchObject({
      apiVersion: 'azekura.dev/v1',
      kind: 'Volume',
      metadata: { name: 'db' },
      spec: { sizeBytes: 320 * 2 ** 20 },
      status: { phase: 'Ready' },
    });
    expect(await bench.ok('volume', 'show', 'db')).toContain(mnt);
    expect(await bench.ok('volume', 'list', '-o', 'name')).toBe('volume/db\n');
  });

  it('a mounted volume grows, and is not deleted', async () => {
    const before = (await execute('df', ['--output=size', mnt])).out;
    await bench.ok('volume', 'expand', 'db', '--size', '400Mi');
    expect((await execute('df', ['--output=size', mnt])).out).not.toBe(before);
    const refused = await bench.run('volume', 'delete', 'db');
    expect(refused.code).toBe(6);
    expect(refused.err).toContain(mnt);
  });

  it('a snapshot holds what was, a clone starts from it, and restore puts it back', async () => {
    await bench.ok('snapshot', 'create', 'db', 'before-upgrade');
    writeFileSync(`${mnt}/file`, 'second');
    await bench.ok('volume', 'create', 'db2', '--from-snapshot', 'before-upgrade');
    await bench.ok('volume', 'mount', 'db2', bench.path('mnt', 'db2'));
    expect(readFileSync(`${bench.path('mnt', 'db2')}/file`, 'utf8')).toBe('first');
    await bench.ok('volume', 'umount', 'db2');
    await bench.ok('volume', 'umount', 'db');
    await bench.ok('snapshot', 'restore', 'before-upgrade');
    await bench.ok('volume', 'mount', 'db', mnt);
    expect(readFileSync(`${mnt}/file`, 'utf8')).toBe('first');
  });

  it('a group cuts several volumes at one instant', async () => {
    await bench.ok('volume', 'create', 'wal', '--size', '32Mi', '--class', 'local-ext4');
    expect(await bench.ok('snapshot', 'create', '--group', 'nightly', 'db', 'wal')).toContain('nightly-db');
    const { items } = await bench.json('snapshot', 'list');
    const group = items.filter((each: { spec: { groupName?: string } }) => each.spec.groupName === 'nightly');
    expect(group).toHaveLength(2);
    expect(new Set(group.map((each: { status: { cutAt: string } }) => each.status.cutAt)).size).toBe(1);
    await bench.ok('snapshot', 'delete', '--group', 'nightly');
  });

  it('mounted volumes go on while Azekura is stopped, killed and started again', async () => {
    expect(await bench.down()).toBe(0);
    writeFileSync(`${mnt}/file`, 'written while nobody looked');
    const away = await bench.run('volume', 'list');
    expect(away.code).toBe(11);
    expect(away.err).toContain('azekura up');
    await bench.up();
    await bench.down('SIGKILL');
    expect(readFileSync(`${mnt}/file`, 'utf8')).toBe('written while nobody looked');
    expect(await bench.up()).not.toContain('Made pool');
    expect(await bench.ok('volume', 'show', 'db')).toContain(mnt);
  });

  it('a deleted volume comes back with its data, also under another name', async () => {
    await bench.ok('volume', 'umount', 'db');
    await bench.ok('volume', 'delete', 'db');
    expect((await bench.json('volume', 'list', '--recycled')).items).toHaveLength(1);
    await bench.ok('volume', 'undelete', 'db', '--as', 'db-back');
    await bench.ok('volume', 'mount', 'db-back', mnt);
    expect(readFileSync(`${mnt}/file`, 'utf8')).toBe('written while nobody looked');
    await bench.ok('volume', 'umount', 'db-back', mnt);
  });

  it('tasks are kept with their steps; why names one cause', async () => {
    const { items } = await bench.json('task', 'list');
    expect(
      items.some(
        (task: { spec: { verb: string }; status: { phase: string; steps: unknown[] } }) =>
          task.spec.verb === 'CreateVolume' && task.status.phase === 'Succeeded' && task.status.steps.length > 0,
      ),
    ).toBe(true);
    expect(await bench.ok('task', 'show', items[0].metadata.name)).toContain('steps:');
    expect(await bench.ok('task', 'watch', items[0].metadata.name)).toContain('Succeeded');
    expect(await bench.json('why', 'db-back')).toMatchObject({
      kind: 'Volume',
      name: 'db-back',
      cause: { code: 'PoolNoJournal' },
    });
  });

  it('classes, nodes and completion', async () => {
    await bench.ok('class', 'create', 'gold', '--thick', '--filesystem', 'ext4', '--recycle', '7d');
    await bench.ok('class', 'set-default', 'gold');
    expect((await bench.json('class', 'show', 'gold')).spec).toMatchObject({
      isDefault: true,
      provisioning: 'thick',
      recycleMs: 7 * 86_400_000,
    });
    await bench.ok('class', 'set-default', 'local-xfs');
    await bench.ok('class', 'delete', 'gold');
    const [node] = (await bench.ok('node', 'list', '-o', 'name')).trim().split('\n');
    await bench.ok('node', 'cordon', node?.replace('node/', '') ?? '');
    expect((await bench.run('volume', 'create', 'late', '--size', '320Mi', '--dry-run')).code).toBe(6);
    await bench.ok('node', 'uncordon', node?.replace('node/', '') ?? '');
    expect(await bench.ok('completion', 'words', '--', 'volume', 'show', 'db')).toBe('db-back\ndb2\n');
  });

  it('a second pool takes over what the first held', async () => {
    await bench.ok('pool', 'add', 'second', bench.path('second.img'), '--size', '1Gi', '--accept-no-journal');
    expect(await bench.ok('pool', 'drain', 'trial', '--dry-run')).toContain('move volume db-back to second');
    await bench.ok('pool', 'drain', 'trial');
    await bench.ok('pool', 'remove', 'trial', '--destroy');
    expect(existsSync(`${bench.dataDir}/pools/trial.img`)).toBe(false);
    await bench.ok('volume', 'mount', 'db-back', mnt);
    expect(readFileSync(`${mnt}/file`, 'utf8')).toBe('written while nobody looked');
    await bench.ok('volume', 'umount', 'db-back');
  });

  it('a support bundle is a tar.gz for its owner, with objects and log', async () => {
    const file = bench.path('bundle.tar.gz');
    await bench.ok('support-bundle', '-o', file);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const { out } = await execute('tar', ['-tzf', file]);
    expect(out).toContain('azekura-support/objects/volumes.json');
    expect(out).toContain('azekura-support/log.jsonl');
    expect((await bench.run('support-bundle', '-o', file)).code).toBe(4);
  });

  it('uninstall gives the machine back and keeps the data, which rescue reads', async () => {
    expect((await bench.run('uninstall')).code).toBe(6);
    expect(await bench.down()).toBe(0);
    await bench.ok('uninstall');
    await expect.poll(() => holdings(bench.folder), { timeout: 30_000 }).toEqual({ mounts: [], loops: [] });
    expect(existsSync(`${bench.dataDir}/state`)).toBe(false);
    expect(await bench.ok('rescue', 'list', bench.path('second.img'))).toMatch(/^db-back /m);
    await bench.ok('rescue', 'export', bench.path('second.img'), 'wal', bench.path('wal.img'));
    expect(statSync(bench.path('wal.img')).size).toBe(32 * 2 ** 20);
  });
});
