import { closeSync, constants, fsyncSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { errno } from './errno.ts';
import { unless } from './raise.ts';

const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
const leaseTries = 5_000;

/**
 * Opens a path, does the work and closes it. The last part of the path is never followed when it is a symbolic link;
 * a FIFO does not block.
 *
 * @param flags of open(2)
 * @param mode for files that are made
 */
export function withFile<T>(path: string, flags: number, work: (fd: number) => T, mode = 0o600): T {
  const fd = openPatiently(path, flags | O_NOFOLLOW | O_NONBLOCK, mode);
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
}

/** EAGAIN: another helper holds a lease on the file for a few microseconds, to see whether it is alone (LoopFinder). */
function openPatiently(path: string, flags: number, mode: number): number {
  for (let tries = 0; ; tries += 1) {
    const fd = unless(tries < leaseTries ? [errno.EAGAIN] : [], () => openSync(path, flags, mode));
    if (fd !== undefined) return fd;
    sleep(1);
  }
}

/** Blocks this thread: only helper processes may. */
export function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Makes the names in a folder durable. */
export function syncFolder(path: string): void {
  withFile(path, O_RDONLY | O_DIRECTORY, fsyncSync);
}

/** Makes the name of a path durable: fsync of the folder it lies in. */
export function syncParent(path: string): void {
  syncFolder(dirname(path));
}
