import { constants } from 'node:os';
import koffi from 'koffi';
import { type IoctlName, ioctls } from './ioctl.ts';
import { raise } from './raise.ts';

// Only the helper process loads this module. null = the C library that Node itself is linked with.
const libc = koffi.load(null);
const native = {
  // ioctl(2) is variadic; with one integer or pointer the calling convention of x86-64, arm64 and riscv64 is the plain one.
  ioctlBuffer: libc.func('int ioctl(int fd, unsigned long request, void *argument)'),
  ioctlNumber: libc.func('int ioctl(int fd, unsigned long request, int64_t argument)'),
  posixFadvise: libc.func('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)'),
  mount: libc.func(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  ),
  umount2: libc.func('int umount2(const char *target, int flags)'),
  fallocate: libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)'),
  lseek: libc.func('int64_t lseek(int fd, int64_t offset, int whence)'),
  renameat2: libc.func('int renameat2(int fromFd, const char *from, int toFd, const char *to, unsigned int flags)'),
  statfs: libc.func('int statfs(const char *path, void *buffer)'),
  statx: libc.func('int statx(int fd, const char *path, int flags, unsigned int mask, void *buffer)'),
  mknod: libc.func('int mknod(const char *path, unsigned int mode, unsigned long device)'),
  fcntl: libc.func('int fcntl(int fd, int command, int64_t argument)'),
  prctl: libc.func('int prctl(int option, unsigned long value, unsigned long a, unsigned long b, unsigned long c)'),
};

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;

function check(result: number | bigint, call: string, subject: string): number {
  if (result < 0) raise({ call, subject, number: koffi.errno() });
  return Number(result);
}

/**
 * ioctl(2).
 *
 * @param argument a number, or the structure it points to (filled in place)
 * @param subject the path, for the error
 */
export function ioctl(fd: number, name: IoctlName, argument: number | Uint8Array, subject: string): number {
  const request = ioctls[name];
  const result =
    typeof argument === 'number'
      ? native.ioctlNumber(fd, request, argument)
      : native.ioctlBuffer(fd, request, argument);
  return check(result, name, subject);
}

/** mount(2). */
export function mount(source: string, target: string, type: string | null, flags: number, data: string | null): void {
  check(native.mount(source, target, type, flags, data), 'mount', `${source} on ${target}`);
}

/** umount2(2). */
export function unmount(target: string, flags: number): void {
  check(native.umount2(target, flags), 'umount', target);
}

/** fallocate(2). */
export function fallocate(fd: number, mode: number, offsetBytes: number, lengthBytes: number, path: string): void {
  check(native.fallocate(fd, mode, offsetBytes, lengthBytes), 'fallocate', path);
}

/** The largest page that Linux has on amd64 and arm64. */
const pageBytes = 65_536;

/**
 * Drops what is cached of a range, and reads nothing ahead from now on (posix_fadvise(2), POSIX_FADV_DONTNEED and
 * POSIX_FADV_RANDOM): for what others write past the page cache, and to ask the disk itself. Best effort. The kernel keeps
 * pages that the range covers only in part, so it is widened to whole ones.
 */
export function forgetCached(fd: number, offsetBytes: number, lengthBytes: number): void {
  const start = Math.floor(offsetBytes / pageBytes) * pageBytes;
  const end = Math.ceil((offsetBytes + lengthBytes) / pageBytes) * pageBytes;
  native.posixFadvise(fd, 0, 0, 1);
  native.posixFadvise(fd, start, end - start, 4);
}

/** lseek(2) with SEEK_DATA (3) or SEEK_HOLE (4). */
export function seek(fd: number, offsetBytes: number, whence: 3 | 4, path: string): number {
  return check(native.lseek(fd, offsetBytes, whence), 'lseek', path);
}

/** renameat2(2) with RENAME_NOREPLACE. */
export function renameNoReplace(from: string, to: string): void {
  check(native.renameat2(AT_FDCWD, from, AT_FDCWD, to, 1), 'rename', `${from} to ${to}`);
}

/** statfs(2): the 64-bit struct statfs, see include/uapi/asm-generic/statfs.h. */
export function statfs(path: string): DataView {
  const buffer = Buffer.alloc(256);
  check(native.statfs(path, buffer), 'statfs', path);
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
}

/** Whether something is mounted exactly here (statx(2), STATX_ATTR_MOUNT_ROOT, Linux 5.8). */
export function isMountPoint(path: string): boolean {
  const buffer = Buffer.alloc(256);
  check(native.statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, 0, buffer), 'statx', path);
  return (buffer.readUInt32LE(8) & 0x2000) !== 0;
}

/** mknod(2) of a block device, mode 0660. */
export function makeBlockNode(path: string, major: number, minor: number): void {
  const device = ((major & 0xfff) << 8) | (minor & 0xff) | ((minor & 0xfff00) << 12);
  check(native.mknod(path, 0o060660, device >>> 0), 'mknod', path);
}

/**
 * Whether nobody else in the machine has the file open, the kernel itself included: only then a write lease is granted
 * (fcntl(2), F_SETLEASE). The lease goes when the file is closed.
 *
 * @returns undefined when the file system has no leases
 */
export function isOpenHereOnly(fd: number): boolean | undefined {
  const F_SETSIG = 10;
  const F_SETLEASE = 1024;
  const F_WRLCK = 1;
  // Somebody who opens the file this very moment has a signal sent to us: one that is ignored, not the deadly SIGIO.
  native.fcntl(fd, F_SETSIG, constants.signals.SIGURG);
  if (native.fcntl(fd, F_SETLEASE, F_WRLCK) === 0) return true;
  return koffi.errno() === constants.errno.EAGAIN ? false : undefined;
}

/** prctl(2), PR_SET_PDEATHSIG: the signal that this process gets when the thread that started it ends. */
export function dieWithParent(signal: number): void {
  check(native.prctl(1, signal, 0, 0, 0), 'prctl', 'PR_SET_PDEATHSIG');
}
