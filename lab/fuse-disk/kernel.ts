/** The system calls of the fuse disk that Node.js does not offer, by koffi. */
import { closeSync, openSync } from 'node:fs';
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');
const cMount = libc.func(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
);
const cUmount2 = libc.func('int umount2(const char *target, int flags)');
const cPoll = libc.func('int poll(void *fds, unsigned long count, int timeoutMs)');

const detach = 2;
const pollIn = 1;

function check(result: number, call: string): void {
  if (result < 0) throw new Error(`${call}: errno ${koffi.errno()}`);
}

/** Opens /dev/fuse and mounts a FUSE file system that this process serves through the returned descriptor. */
export function mountFuse(target: string): number {
  const fd = openSync('/dev/fuse', 'r+');
  try {
    check(
      cMount('azekura-lab', target, 'fuse.azekura-lab', 0, `fd=${fd},rootmode=40000,user_id=0,group_id=0,allow_other`),
      `mount ${target}`,
    );
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return fd;
}

/** Takes the mount out of the tree at once, whatever uses it. Not an error when nothing is mounted. */
export function unmountLazily(target: string): void {
  cUmount2(target, detach);
}

/**
 * Waits until one of the descriptors can be read (or has ended).
 *
 * @param timeoutMs -1 for ever
 * @returns for each descriptor whether it is ready
 */
export function waitReadable(fds: readonly number[], timeoutMs: number): readonly boolean[] {
  const table = Buffer.alloc(8 * fds.length);
  fds.forEach((fd, index) => {
    table.writeInt32LE(fd, index * 8);
    table.writeInt16LE(pollIn, index * 8 + 4);
  });
  cPoll(table, fds.length, timeoutMs);
  return fds.map((_, index) => table.readInt16LE(index * 8 + 6) !== 0);
}
