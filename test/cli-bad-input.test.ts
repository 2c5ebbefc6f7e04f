import { chmodSync, copyFileSync, mkdirSync, readFileSync, realpathSync, truncateSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cleanup, run } from '../lab/workbench.ts';
import { CliBench, type Outcome, whyNot } from './cli-bench.ts';

/** One sentence on standard error, a documented exit code, nothing on standard output, no stack. */
function expectRefusal({ code, out, err }: Outcome, exit: number, sentence: RegExp): void {
  expect(err).toMatch(sentence);
  expect(err).toMatch(/^Error: [^\n]+[.!?:)]\n(Next: [^\n]+\n)?$/);
  expect(err).not.toMatch(/\n\s+at /);
  expect(out).toBe('');
  expect(code).toBe(exit);
}

describe.skipIf(whyNot)(`bad input on a real instance${whyNot ? ` (skipped: ${whyNot})` : ''}`, () => {
  let bench: CliBench;
  const cleanup = new Cleanup();
  /** What must be as it was at the end: a mounted volume with a file and a snapshot. */
  let before: unknown;
  const inventory = async () => {
    const lists = await Promise.all(
      ['pool', 'volume', 'snapshot', 'class'].map((kind) => bench.ok(kind, 'list', '-o', 'name')),
    );
    return { lists, file: readFileSync(bench.path('mnt', 'db', 'file'), 'utf8') };
  };

  beforeAll(async () => {
    bench = new CliBench();
    await bench.up('--pool-size', '600Mi');
    await bench.ok('volume', 'create', 'db', '--size', '32Mi', '--class', 'local-ext4');
    await bench.ok('volume', 'mount', 'db', bench.path('mnt', 'db'));
    writeFileSync(bench.path('mnt', 'db', 'file'), 'precious');
    await bench.ok('snapshot', 'create', 'db', 'kept');
    writeFileSync(bench.path('disk.img'), '');
    truncateSync(bench.path('disk.img'), 600 * 2 ** 20);
    before = await inventory();
  });
  afterAll(async () => {
    await cleanup.run();
    await bench.close();
  });

  it.each([
    ['volume create x --size 0', 2, /greater than zero/],
    ['volume create x --size -1', 2, /greater than zero/],
    ['volume create x --size 9223372036854775808', 2, /too large/],
    ['volume create x --size ten', 2, /is not a size/],
    ['volume create x --size 1Pi', 7, /room|no pool/i],
    ['volume create x --size 8Pi', 2, /too large|largest/],
    [`volume create ${'a'.repeat(64)} --size 32Mi`, 2, /at most 63/],
    [`volume create ${'a'.repeat(128)} --size 32Mi`, 2, /at most 63/],
    [`volume create ${'a'.repeat(129)} --size 32Mi`, 2, /at most 63/],
    ['volume create a/b --size 32Mi', 2, /must consist of/],
    ['volume create .. --size 32Mi', 2, /must consist of/],
    ['volume create 校倉 --size 32Mi', 2, /must consist of/],
    ['volume create $(reboot) --size 32Mi', 2, /must consist of/],
    ['volume create a;b --size 32Mi', 2, /must consist of/],
    ['volume create db --size 64Mi', 4, /exists/],
    ['volume create x --size 32Mi --class nowhere', 3, /nowhere/],
    ['volume create x --size 32Mi --filesystem btrfs', 2, /filesystem/],
    ['volume create x --size 32Mi --block --filesystem xfs', 2, /exclude each other/],
    ['volume create x --size 32Mi --parameter colour=red', 2, /colour/],
    ['volume create x --size 320Mi --pool nowhere', 3, /nowhere/],
    ['volume create x --from-snapshot nowhere', 3, /nowhere/],
    ['volume create x --from-volume nowhere', 3, /nowhere/],
    ['volume create x --from-volume db --size 16Mi', 2, /./],
    ['volume expand db --size 16Mi', 2, /./],
    ['volume expand nowhere --size 64Mi', 3, /nowhere/],
    ['volume delete db', 6, /in use/],
    ['volume delete nowhere', 3, /nowhere/],
    ['volume undelete nowhere', 3, /nowhere/],
    ['volume restore db kept', 6, /./],
    ['volume restore db nowhere', 3, /nowhere/],
    ['volume repair db', 6, /./],
    ['volume mount nowhere /mnt/azekura-nowhere', 3, /nowhere/],
    ['volume umount nowhere', 3, /nowhere/],
    ['volume label db =x', 2, /key=value/],
    ['snapshot create nowhere s', 3, /nowhere/],
    ['snapshot create db kept --no-freeze', 0, /./],
    ['snapshot create --group g db nowhere', 3, /nowhere/],
    ['snapshot delete nowhere', 3, /nowhere/],
    ['class create x --filesystem ntfs', 2, /filesystem/],
    ['class create x --replicas 3', 10, /./],
    ['class create x --engine nowhere', 2, /nowhere/],
    ['class create x --mount-option exec;rm', 2, /./],
    ['pool add x /nonexistent/place', 3, /\/nonexistent\/place/],
    ['pool add x /dev/azekura-nothing', 3, /\/dev\/azekura-nothing/],
    ['pool add x /proc --accept-no-journal', 2, /\/proc/],
    ['pool add x /dev/null', 6, /\/dev\/null/],
    ['pool add trial /srv/other', 4, /exists/],
    ['pool remove trial', 6, /./],
    ['pool remove nowhere', 3, /nowhere/],
    ['pool drain nowhere', 3, /nowhere/],
    ['node cordon nowhere', 3, /nowhere/],
    ['task show nowhere', 3, /nowhere/],
    ['why nowhere', 3, /nowhere/],
    ['rescue list /nonexistent/place', 3, /\/nonexistent\/place/],
    ['up', 6, /in use by another azekura process/],
    ['up --pool-size 1k', 6, /in use by another azekura process/],
    ['up --log-level loud', 2, /loud/],
    ['up --listen 0.0.0.0:80', 2, /token-file/],
    ['uninstall', 6, /in use by another azekura process/],
  ] as const)('azekura %s', async (line, exit, sentence) => {
    // Asking again for what is there is no error.
    const outcome = await bench.run(...line.split(' '), ...(exit === 0 ? ['--no-wait'] : []));
    if (exit === 0) expect(outcome.code).toBe(0);
    else expectRefusal(outcome, exit, sentence);
  });

  it('an empty name', async () => {
    expectRefusal(await bench.run('volume', 'create', '', '--size', '32Mi'), 2, /must not be empty/);
  });

  it('a device for a pool that is mounted, or holds something that is not confirmed', async () => {
    const [pool] = (await bench.json('pool', 'list')).items;
    const own = (
      await bench.json('node', 'show', (await bench.ok('node', 'list', '-o', 'name')).trim().replace('node/', ''))
    ).status.devices;
    expect(pool.status.phase).toBe('Ready');
    const mounted = own.find((device: { usedBy?: string }) => device.usedBy?.startsWith('mounted'))?.path;
    if (mounted) expectRefusal(await bench.run('pool', 'add', 'x', mounted), 6, new RegExp(mounted));
    const device = cleanup.loop(bench.path('disk.img'));
    const { execute } = await import('./cli-bench.ts');
    await execute('mkfs.ext4', ['-q', device]);
    expectRefusal(await bench.run('pool', 'add', 'x', device), 6, new RegExp(device));
    expectRefusal(await bench.run('pool', 'add', 'x', device, '--confirm', 'wrong'), 6, new RegExp(device));
    mkdirSync(bench.path('mnt', 'foreign'));
    await execute('mount', [device, bench.path('mnt', 'foreign')]);
    expectRefusal(await bench.run('pool', 'add', 'x', device, '--confirm', 'wrong'), 6, new RegExp(device));
    await execute('umount', [bench.path('mnt', 'foreign')]);
  });

  it('a mount point that cannot be made: the mount fails, and can be taken back', async () => {
    const outcome = await bench.run('volume', 'mount', 'db', '/proc/x');
    expect(outcome.err).toMatch(/^Error: [^\n]*\/proc\/x[^\n]*\n/);
    expect(outcome.code).toBeGreaterThan(1);
    await bench.ok('volume', 'umount', 'db', '/proc/x');
  });

  it('a pool image that is too small, or larger than the disk below it', async () => {
    expectRefusal(
      await bench.run('pool', 'add', 'x', bench.path('x.img'), '--size', '1Mi', '--accept-no-journal'),
      2,
      /./,
    );
    expectRefusal(
      await bench.run('pool', 'add', 'x', bench.path('x.img'), '--size', '4Pi', '--accept-no-journal'),
      7,
      /./,
    );
  });

  it('after all that nothing is lost, nothing is new, and the daemon is well', async () => {
    expect(await inventory()).toEqual(before);
    expect(await bench.ok('status')).toContain('trial');
  });

  it('somebody who is not root', async () => {
    const { execute } = await import('./cli-bench.ts');
    // The checkout may lie in a folder that is closed to others, as one of mktemp is: they see it here.
    const open = cleanup.directory('/dev/shm/azekura-open-');
    chmodSync(open, 0o755);
    copyFileSync(new URL('../package.json', import.meta.url), `${open}/package.json`);
    for (const folder of ['bin', 'dist', 'node_modules']) {
      mkdirSync(`${open}/${folder}`);
      run('mount', '-o', 'bind,ro', realpathSync(new URL(`../${folder}`, import.meta.url)), `${open}/${folder}`);
      cleanup.add(() => {
        run('umount', `${open}/${folder}`);
      });
    }
    const asNobody = (...args: string[]) =>
      execute('setpriv', [
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        process.execPath,
        `${open}/bin/azekura.mjs`,
        ...args,
        '--data-dir',
        bench.dataDir,
      ]);
    expectRefusal(await asNobody('up'), 9, /must run as root/);
    expectRefusal(await asNobody('volume', 'list'), 9, /may not open the socket/);
  });
});
