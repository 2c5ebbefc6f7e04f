import { execFileSync, spawn } from 'node:child_process';
import { closeSync, fsyncSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FuseDisk } from '../lab/fuse-disk/client.ts';
import { LogReader } from '../lab/write-log.ts';

const sizeBytes = 16 * 2 ** 20;
let directory: string;
let disk: FuseDisk;

beforeEach(async () => {
  directory = mkdtempSync('/dev/shm/azekura-fuse-');
  disk = await FuseDisk.start({ directory, sizeBytes, logPath: `${directory}/log` });
});
afterEach(async () => {
  await disk.stop();
  rmSync(directory, { recursive: true });
});

const isMounted = () => readFileSync('/proc/self/mountinfo', 'utf8').includes(directory);

/** In a process of its own: a write that hangs must not hang the test. */
function writeElsewhere(): { readonly exited: () => boolean; readonly done: Promise<number | null> } {
  const code = `const fs = require('fs'); const fd = fs.openSync('${disk.path}', 'r+'); fs.writeSync(fd, Buffer.alloc(4096, 9), 0, 4096, 8192); fs.fsyncSync(fd);`;
  const child = spawn(process.execPath, ['-e', code], { stdio: 'ignore' });
  let exited = false;
  const done = new Promise<number | null>((resolve) =>
    child.once('exit', (status) => {
      exited = true;
      resolve(status);
    }),
  );
  return { exited: () => exited, done };
}

function tryWrite(): string {
  const fd = openSync(disk.path, 'r+');
  try {
    writeSync(fd, Buffer.alloc(4096, 1), 0, 4096, 0);
    fsyncSync(fd);
    return 'ok';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? '';
  } finally {
    closeSync(fd);
  }
}

describe('fuse disk', () => {
  it('holds what is written, and logs it', () => {
    const fd = openSync(disk.path, 'r+');
    const data = Buffer.alloc(2 ** 20, 'azekura');
    writeSync(fd, data, 0, data.length, 12_288);
    fsyncSync(fd);
    const back = Buffer.alloc(data.length);
    expect(readSync(fd, back, 0, back.length, 12_288)).toBe(data.length);
    closeSync(fd);
    expect(back.equals(data)).toBe(true);
    const logged = Buffer.alloc(data.length);
    const kinds: string[] = [];
    const log = new LogReader(`${directory}/log`);
    for (let record = log.next(); record; record = log.next()) {
      kinds.push(record.kind);
      if (record.kind === 'write') record.data.copy(logged, record.offsetBytes - 12_288);
    }
    log.close();
    expect(logged.equals(data)).toBe(true);
    expect(kinds.at(-1)).toBe('flush');
  });

  it('has the size of a disk and lists one file', () => {
    expect(execFileSync('stat', ['--format=%s', disk.path], { encoding: 'utf8' }).trim()).toBe(String(sizeBytes));
    expect(execFileSync('ls', [`${directory}/fuse`], { encoding: 'utf8' })).toBe('disk\n');
  });

  it('fails and fills on command', async () => {
    await disk.fail();
    expect(tryWrite()).toBe('EIO');
    await disk.fill();
    expect(tryWrite()).toBe('ENOSPC');
    await disk.resume();
    expect(tryWrite()).toBe('ok');
  });

  it('answers nothing while it hangs, and everything afterwards', async () => {
    await disk.hang();
    const writer = writeElsewhere();
    while ((await disk.status()).held === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(writer.exited()).toBe(false);
    await disk.resume();
    expect(await writer.done).toBe(0);
    expect(
      readFileSync(`${directory}/base`)
        .subarray(8192, 12_288)
        .every((byte) => byte === 9),
    ).toBe(true);
  });

  it('leaves no mount, also when it was killed', async () => {
    expect(isMounted()).toBe(true);
    if (disk.pid) process.kill(disk.pid, 'SIGKILL');
    await disk.stop();
    expect(isMounted()).toBe(false);
  });
});
