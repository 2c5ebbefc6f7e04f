import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { open } from 'lmdb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CliBench, execute, whyNot } from './cli-bench.ts';

/** States that a user comes into without a wrong word: each is named in one sentence, and nothing is lost. */
describe.skipIf(whyNot)(`what is not as it should be${whyNot ? ` (skipped: ${whyNot})` : ''}`, () => {
  let bench: CliBench;

  beforeAll(async () => {
    bench = new CliBench();
    await bench.up('--pool-size', '1Gi');
    await bench.ok('volume', 'create', 'db', '--size', '64Mi', '--class', 'local-ext4');
    await bench.ok('volume', 'mount', 'db', bench.path('mnt', 'db'));
    writeFileSync(bench.path('mnt', 'db', 'treasure'), 'kept');
  });
  afterAll(() => bench.close());

  const treasure = () => readFileSync(bench.path('mnt', 'db', 'treasure'), 'utf8');
  const cause = async (object: string) => (await bench.run('why', object, '-o', 'json')).out;

  async function eventually(check: () => Promise<void>): Promise<void> {
    await expect.poll(() => check().then(() => undefined, String), { timeout: 60_000, interval: 500 }).toBeUndefined();
  }

  it('a state that a newer version wrote is refused and left as it is', async () => {
    await bench.down();
    const put = async (formatVersion: number) => {
      const root = open({ path: join(bench.dataDir, 'state'), encoding: 'string' });
      await root
        .openDB({ name: 'meta', encoding: 'string' })
        .put('format', JSON.stringify({ formatVersion, writtenBy: 'azekura 99' }));
      await root.close();
    };
    await put(99);
    const refused = await bench.run('up', '--json');
    expect(refused.code).toBe(12);
    expect(refused.err).toMatch(/^Error: .*newer version/m);
    expect(refused.err).toMatch(/^Next: /m);
    expect(treasure()).toBe('kept');
    await put(1);
    await bench.up();
    expect(await bench.ok('volume', 'list', '-o', 'name')).toContain('volume/db');
  });

  it('an identity file that is damaged is named by rescue and written anew', async () => {
    const [pool = ''] = readdirSync(join(bench.dataDir, 'run', 'engine-file'));
    const volumes = join(bench.dataDir, 'run', 'engine-file', pool, 'volumes');
    const [id = ''] = readdirSync(volumes);
    const identity = join(volumes, id, 'identity.json');
    // A daemon that has just started may look at the volume in this moment, and mends it.
    await eventually(async () => {
      writeFileSync(identity, '{"name": "somebody el');
      const listed = await bench.run('rescue', 'list', join(bench.dataDir, 'run', 'engine-file', pool));
      expect(listed.out).toMatch(/unreadable|damaged|cannot be read/);
    });
    await bench.ok('volume', 'expand', 'db', '--size', '80Mi');
    await eventually(async () => expect(readFileSync(identity, 'utf8')).toMatch(/"name": "db"/));
    expect(treasure()).toBe('kept');
  });

  it('a pool with no room refuses, and what is there goes on', async () => {
    const refused = await bench.run('volume', 'create', 'big', '--size', '1100Mi', '--thick', '--class', 'local-ext4');
    expect(refused.code).toBe(7);
    expect(refused.err).toMatch(/^Error: .*room/m);
    writeFileSync(bench.path('mnt', 'db', 'more'), 'written');
    expect(await bench.ok('volume', 'list', '-o', 'name')).not.toContain('big');
  });

  it('a pool whose place is gone is named, and is well again when it is back', async () => {
    await bench.ok('volume', 'umount', 'db');
    await bench.down();
    const [pool = ''] = readdirSync(join(bench.dataDir, 'run', 'engine-file'));
    await execute('umount', [join(bench.dataDir, 'run', 'engine-file', pool)]);
    const image = join(bench.dataDir, 'pools', 'trial.img');
    const used = (await execute('losetup', ['-n', '-O', 'NAME', '-j', image])).out.trim();
    if (used) await execute('losetup', ['-d', used]);
    renameSync(image, `${image}.away`);
    await bench.up();
    await eventually(async () => expect(await cause('pool/trial')).toContain('PoolMissing'));
    await eventually(async () => expect(await cause('db')).toContain('PoolMissing'));
    renameSync(`${image}.away`, image);
    await eventually(async () => expect((await bench.json('pool', 'show', 'trial')).status.phase).toBe('Ready'));
    await bench.ok('volume', 'mount', 'db', bench.path('mnt', 'db'));
    expect(treasure()).toBe('kept');
  });

  it('SIGTERM in the middle of many operations: all are done after the next start', async () => {
    const names = Array.from({ length: 8 }, (_, n) => `burst-${n}`);
    const commands = names.map((name) =>
      bench.run('volume', 'create', name, '--size', '16Mi', '--class', 'local-ext4', '--no-wait'),
    );
    const snapshot = bench.run('snapshot', 'create', 'db', 'burst', '--no-wait');
    const accepted = await Promise.any(
      commands.map((command) =>
        command.then((outcome) => (outcome.code === 0 ? outcome : Promise.reject(new Error(outcome.err)))),
      ),
    );
    expect(accepted.code).toBe(0);
    expect(await bench.down('SIGTERM')).toBe(0);
    const outcomes = await Promise.all(commands);
    const taken = await snapshot;
    await bench.up();
    for (const [n, outcome] of outcomes.entries()) {
      if (outcome.code === 0)
        await eventually(async () =>
          expect((await bench.json('volume', 'show', `burst-${n}`)).status.phase).toBe('Ready'),
        );
      else expect(outcome.err).toMatch(/^Error: .+\nNext: .+/m);
    }
    if (taken.code === 0)
      await eventually(async () =>
        expect((await bench.json('snapshot', 'show', 'burst')).status.readyToUse).toBe(true),
      );
    expect(treasure()).toBe('kept');
  });
});
