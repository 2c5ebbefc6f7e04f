import { EventEmitter } from 'node:events';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../lib/log.ts';
import { prepareDataDir } from './data-dir.ts';
import { parseAddress, readToken } from './listen.ts';
import { createLog } from './log.ts';
import { checkPrerequisites, programFolders } from './prerequisites.ts';
import { Shutdown } from './shutdown.ts';
import { trialPoolBytes } from './trial-pool.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'azekura-bin-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('trialPoolBytes()', () => {
  it('takes a bounded share, and always leaves a tenth of the disk', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 50 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (sizeBytes, free) => {
          const availableBytes = Math.floor(sizeBytes * free);
          const bytes = trialPoolBytes({ sizeBytes, availableBytes });
          if (bytes === undefined) return;
          expect(bytes).toBeLessThanOrEqual(20 * 2 ** 30);
          expect(bytes).toBeLessThanOrEqual(availableBytes * 0.2);
          expect(availableBytes - bytes).toBeGreaterThanOrEqual(sizeBytes / 10);
          expect(bytes).toBeGreaterThanOrEqual(512 * 2 ** 20);
        },
      ),
    );
  });

  it('makes what was asked for, or says why not', () => {
    const disk = { sizeBytes: 100 * 2 ** 30, availableBytes: 50 * 2 ** 30 };
    expect(trialPoolBytes(disk, 40 * 2 ** 30)).toBe(40 * 2 ** 30);
    expect(() => trialPoolBytes(disk, 41 * 2 ** 30)).toThrow(/less than a tenth/);
    expect(() => trialPoolBytes(disk, 2 ** 20)).toThrow(/too small/);
  });
});

describe('prepareDataDir()', () => {
  it('makes a folder for its owner only, with a note', async () => {
    const layout = await prepareDataDir(join(folder, 'a', 'b'));
    expect((await stat(layout.path)).mode & 0o777).toBe(0o700);
    expect((await stat(join(layout.path, 'README'))).isFile()).toBe(true);
  });

  it.each([
    ['the root folder', () => '/', /must not be \//],
    ['a path that is too long for a socket', () => `/${'x'.repeat(120)}`, /too long/],
    ['a path below a file', () => '/etc/passwd/x', /cannot be used: ENOTDIR/],
  ])('refuses %s', async (_name, path, message) => {
    await expect(prepareDataDir(path())).rejects.toMatchObject({
      code: 'InvalidArgument',
      message: expect.stringMatching(message),
    });
  });
});

describe('checkPrerequisites()', () => {
  it('refuses anybody but root', async () => {
    await expect(checkPrerequisites({ uid: 1000, folders: [] })).rejects.toMatchObject({
      code: 'PermissionDenied',
      next: expect.stringContaining('sudo'),
    });
  });
});

describe('checkPrerequisites() of programs', () => {
  it('lists everything that is missing, with the packages to install', async () => {
    await writeFile(join(folder, 'mkfs.xfs'), '', { mode: 0o755 });
    await writeFile(join(folder, 'xfs_repair'), '', { mode: 0o755 });
    await expect(checkPrerequisites({ uid: 0, folders: [folder] })).rejects.toMatchObject({
      code: 'FailedPrecondition',
      message: 'mkfs.ext4, e2fsck is not installed',
      next: expect.stringContaining('apt-get install e2fsprogs'),
      blame: { code: 'ToolMissing' },
    });
    expect(programFolders('/a::/usr/sbin')).toEqual([
      '/a',
      '/usr/sbin',
      '/usr/local/sbin',
      '/sbin',
      '/usr/bin',
      '/bin',
    ]);
  });
});

describe('the log', () => {
  it('is JSON, or a line for people; the newest lines are kept as JSON', () => {
    const printed: string[] = [];
    const human = createLog({ level: 'info', json: false, write: (text) => printed.push(text) });
    human.log.info({ volume: 'db', path: '/a b' }, 'call');
    human.log.debug({}, 'not shown');
    expect(printed.join('')).toMatch(/^\d\d:\d\d:\d\d info {2}call volume=db path="\/a b"\n$/);
    expect(JSON.parse(human.recent()[0] ?? '')).toMatchObject({ level: 'info', msg: 'call', volume: 'db' });
    for (let line = 0; line < 2_500; line++) human.log.info({ line }, 'x');
    expect(human.recent()).toHaveLength(1_000);
    expect(JSON.parse(human.recent().at(-1) ?? '')).toMatchObject({ line: 2_499 });
  });
});

describe('--listen', () => {
  it('takes an address and a port', () => {
    expect(parseAddress('127.0.0.1:7843')).toEqual({ host: '127.0.0.1', port: 7843 });
    expect(parseAddress('[::1]:0')).toEqual({ host: '::1', port: 0 });
    for (const wrong of ['7843', ':7843', 'host', 'host:70000', 'a b:1', '::1:80'])
      expect(() => parseAddress(wrong)).toThrow(/is not an address and port/);
  });

  it('is refused without a token that only the owner can read', async () => {
    const file = join(folder, 'token');
    await expect(readToken(undefined)).rejects.toMatchObject({ code: 'InvalidArgument' });
    await expect(readToken(file)).rejects.toMatchObject({ code: 'InvalidArgument' });
    await writeFile(file, 'short\n', { mode: 0o600 });
    await expect(readToken(file)).rejects.toThrow(/less than 16/);
    await writeFile(join(folder, 'open'), 'x'.repeat(32), { mode: 0o644 });
    await expect(readToken(join(folder, 'open'))).rejects.toThrow(/read by others/);
    await writeFile(join(folder, 'good'), `${'x'.repeat(32)}\n`, { mode: 0o600 });
    expect(await readToken(join(folder, 'good'))).toBe('x'.repeat(32));
  });
});

describe('Shutdown', () => {
  it('ends the newest first, goes on after a failure, and does not wait for ever', async () => {
    const ended: string[] = [];
    const shutdown = new Shutdown({ log: silentLogger, deadlineMs: 10 });
    shutdown.add('first', async () => ended.push('first'));
    shutdown.add('fails', () => Promise.reject(new Error('broken')));
    shutdown.add('hangs', () => new Promise(() => {}));
    shutdown.add('last', async () => ended.push('last'));
    await shutdown.run();
    expect(ended).toEqual(['last', 'first']);
  });

  it('asks for the end at the first signal, and ends at once at the second', async () => {
    const exits: number[] = [];
    const target = Object.assign(new EventEmitter(), { exit: (code: number) => exits.push(code) as never });
    const shutdown = new Shutdown({ log: silentLogger, deadlineMs: 10 });
    const signal = shutdown.watchSignals(target);
    target.emit('SIGTERM');
    await shutdown.requested;
    expect(signal.aborted).toBe(true);
    expect(exits).toEqual([]);
    target.emit('SIGINT');
    expect(exits).toEqual([1]);
  });
});
