import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { launcher } from '../lab/daemon.ts';
import { Cleanup, eventually, run } from '../lab/workbench.ts';
import { CliBench, execute, type Outcome, whyNot } from './cli-bench.ts';

/** One sentence, its next step, a documented exit code, no stack. */
function expectRefusal({ code, err }: Outcome, exit: number, sentence: RegExp): void {
  expect(err).toMatch(sentence);
  expect(err).toMatch(/^Error: [^\n]+\nNext: [^\n]+\n$/);
  expect(code).toBe(exit);
}

/** Machines that lack something: each says what in one sentence, and nothing is lost. */
describe.skipIf(whyNot)(`a machine that lacks something${whyNot ? ` (skipped: ${whyNot})` : ''}`, () => {
  let bench: CliBench;
  const cleanup = new Cleanup();
  beforeEach(() => {
    bench = new CliBench();
  });
  afterEach(async () => {
    await bench.close();
    await cleanup.run();
  });

  /** A command in a mount namespace of its own, after other commands have made it what it is to be. */
  const inNamespace = (prepare: string, command: string): string[] => [
    '--mount',
    '--propagation=private',
    'sh',
    '-ec',
    `${prepare}; exec ${command}`,
  ];
  const up = (...args: string[]) =>
    `'${process.execPath}' '${launcher}' up --data-dir '${bench.dataDir}' ${args.join(' ')}`;

  it('no xfsprogs: it does not start, and names the package', async () => {
    const hide = 'mount --bind /dev/null "$(command -v mkfs.xfs)"';
    expectRefusal(await execute('unshare', inNamespace(hide, up())), 6, /mkfs\.xfs is not installed/);
  });

  it('no loop devices: it starts, volumes are made, and what needs one says so', async () => {
    const disk = `${cleanup.directory('/dev/shm/azekura-noloop-')}/disk`;
    writeFileSync(disk, '');
    truncateSync(disk, 700 * 2 ** 20);
    run('mkfs.xfs', '-q', '-K', '-m', 'reflink=1', '-s', 'size=4096', disk);
    const mounted = `${disk}-mounted`;
    mkdirSync(mounted);
    const device = cleanup.loop(disk);
    const withoutLoops = [
      `mount ${device} ${mounted}; mkdir ${mounted}/pool`,
      'mkdir -p "$D"; mount -t tmpfs dev "$D"',
      'for n in null zero full random urandom; do touch "$D/$n"; mount --bind "/dev/$n" "$D/$n"; done',
      'mkdir "$D/shm"; mount --rbind /dev/shm "$D/shm"; mount --move "$D" /dev',
    ].join('; ');
    const child = spawn('unshare', inNamespace(`D='${bench.path('dev')}'; ${withoutLoops}`, up('--no-pool')), {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    try {
      await eventually(() => bench.ok('pool', 'add', 'main', `${mounted}/pool`), 60_000);
      await bench.ok('volume', 'create', 'db', '--size', '32Mi', '--class', 'local-ext4');
      expectRefusal(
        await bench.run('volume', 'mount', 'db', bench.path('mnt', 'db')),
        7,
        /the kernel gives no free loop device: /,
      );
      expect((await bench.run('why', 'db')).out).toContain('NoLoopDevices');
      await bench.ok('snapshot', 'create', 'db', 'still');
      await bench.ok('volume', 'umount', 'db');
    } finally {
      const ended = new Promise((resolve) => child.once('close', resolve));
      child.kill();
      await ended;
    }
  });

  it('a read-only device is no pool', async () => {
    await bench.up('--no-pool');
    const disk = bench.path('disk');
    writeFileSync(disk, '');
    truncateSync(disk, 700 * 2 ** 20);
    const device = run('losetup', '--find', '--show', '--read-only', disk).trim();
    cleanup.add(() => void run('losetup', '-d', device));
    expectRefusal(await bench.run('pool', 'add', 'x', device), 6, new RegExp(`${device}.*read-only|read-only`));
    expect((await bench.json('pool', 'list')).items).toEqual([]);
  });

  it('a full disk below the data dir: what cannot be stored is refused, what is there goes on', async () => {
    const disk = bench.path('disk');
    writeFileSync(disk, '');
    truncateSync(disk, 900 * 2 ** 20);
    run('mkfs.ext4', '-q', disk);
    cleanup.mount(cleanup.loop(disk), bench.dataDir);
    await bench.up('--pool-size', '512Mi');
    await bench.ok('volume', 'create', 'db', '--size', '32Mi', '--class', 'local-ext4');
    await bench.ok('volume', 'mount', 'db', bench.path('mnt', 'db'));
    const filler = `${bench.dataDir}/filler`;
    await execute('dd', ['if=/dev/zero', `of=${filler}`, 'bs=64k', 'status=none']);
    await execute('dd', ['if=/dev/zero', `of=${filler}2`, 'bs=512', 'status=none']);
    writeFileSync(bench.path('mnt', 'db', 'word'), 'the pool has its own room', { flush: true });
    // The state takes what fits into the room that it has; beyond that it says so.
    let refused: Outcome | undefined;
    for (let n = 0; n < 400 && !refused; n++) {
      const outcome = await bench.run('volume', 'label', 'db', `key-${n}=${'x'.repeat(60)}`);
      if (outcome.code !== 0) refused = outcome;
      else if (n === 40) break;
    }
    if (refused) expectRefusal(refused, 7, /file system of .* is full/);
    rmSync(filler);
    rmSync(`${filler}2`);
    await bench.ok('volume', 'label', 'db', 'after=all');
    expect(readFileSync(bench.path('mnt', 'db', 'word'), 'utf8')).toBe('the pool has its own room');
    await bench.ok('volume', 'umount', 'db');
    await bench.down();
    await bench.ok('uninstall', '--delete-data', '--yes');
    // What the user has mounted there is not taken away with it.
    expect((await execute('findmnt', ['-no', 'TARGET', bench.dataDir])).out.trim()).toBe(bench.dataDir);
    await cleanup.run();
  });

  it('SIGTERM in the middle of each operation: it ends well, and the next start finishes what was accepted', async () => {
    await bench.up('--pool-size', '700Mi');
    await bench.ok('pool', 'add', 'other', bench.path('other.img'), '--size', '700Mi', '--accept-no-journal');
    const ext4 = ['--size', '32Mi', '--class', 'local-ext4'];
    for (const name of ['db', 'gone']) await bench.ok('volume', 'create', name, ...ext4, '--pool', 'trial');
    const path = bench.path('mnt', 'db');
    const status = async (name: string) => (await bench.json('volume', 'show', name)).status;
    const attached = async (count: number) => expect((await status('db')).attachedTo).toHaveLength(count);
    const names = async () => bench.ok('volume', 'list', '-o', 'name');
    const operations: readonly (readonly [string, () => Promise<unknown>])[] = [
      [`volume create new ${ext4.join(' ')}`, async () => expect((await status('new')).phase).toBe('Ready')],
      [`volume mount db ${path}`, () => attached(1)],
      ['volume expand db --size 48Mi', async () => expect((await status('db')).sizeBytes).toBe(48 * 2 ** 20)],
      ['volume trim db', async () => expect((await status('db')).trim).toBeDefined()],
      [
        'snapshot create db s',
        async () => expect((await bench.json('snapshot', 'show', 's')).status.readyToUse).toBe(true),
      ],
      [
        'snapshot create --group g db new',
        async () => expect((await bench.json('snapshot', 'show', 'g-db')).status.readyToUse).toBe(true),
      ],
      [
        'volume create clone --from-snapshot s --class local-ext4',
        async () => expect((await status('clone')).phase).toBe('Ready'),
      ],
      ['volume umount db', () => attached(0)],
      ['volume restore db s', async () => expect((await status('db')).restore).toBeDefined()],
      ['volume repair db', async () => expect((await status('db')).repair?.outcome).toContain('clean')],
      ['volume delete gone', async () => expect(await names()).not.toContain('gone')],
      ['volume undelete gone', async () => expect((await status('gone')).phase).toBe('Ready')],
      ['snapshot delete --group g', async () => expect(await bench.ok('snapshot', 'list')).not.toContain('g-db')],
      ['volume delete clone --skip-recycle-bin', async () => expect(await names()).not.toContain('clone')],
      ['pool drain trial', async () => expect((await bench.json('pool', 'show', 'trial')).status.volumes).toBe(0)],
      ['pool remove trial --destroy', async () => expect(await bench.ok('pool', 'list')).not.toContain('trial')],
    ];
    for (const [line, done] of operations) {
      const command = bench.run(...line.split(' '), '--no-wait');
      // In the middle: it has been accepted, and is to be worked on or is just being.
      const outcome = await command;
      expect({ line, code: outcome.code, err: outcome.err }).toEqual({ line, code: 0, err: '' });
      expect(await bench.down('SIGTERM')).toBe(0);
      await bench.up('--no-pool');
      await eventually(done, 60_000, 200);
    }
    await bench.ok('volume', 'mount', 'db', path);
    await bench.ok('volume', 'umount', 'db');
    expect(await bench.ok('task', 'list')).not.toContain('Running');
  }, 400_000);
});
