import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  type Stats,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { FileStat, SyncOption } from '../kernel.ts';
import { errno } from './errno.ts';
import { isMountPoint, renameNoReplace, statfs } from './libc.ts';
import { syncParent, withFile } from './open.ts';
import { errnoOf, raise, unless } from './raise.ts';
import type { SyncKernel } from './sync.ts';

const { O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } = constants;
const textLimitBytes = 1024 * 1024;

type Files = Pick<
  SyncKernel,
  | 'readTextFile'
  | 'requireText'
  | 'writeTextFile'
  | 'makeDirectory'
  | 'listDirectory'
  | 'removeTree'
  | 'rename'
  | 'stat'
  | 'resolve'
  | 'statfs'
  | 'sync'
>;

/** Files and folders, see Kernel. A crash in writeTextFile leaves a file named ".<name>.<pid>-<n>.tmp" beside it. */
export function fileCalls(): Files {
  let temporaries = 0;
  return {
    readTextFile,

    requireText(path, text) {
      if (readTextFile(path)?.includes(text)) return;
      raise({
        call: 'requireText',
        subject: path,
        problem: `it does not hold ${text}`,
        code: 'FailedPrecondition',
      });
    },

    writeTextFile(path, text, mode = 0o644, { sync = true } = {}) {
      temporaries += 1;
      const temporary = join(dirname(path), `.${basename(path)}.${process.pid}-${temporaries}.tmp`);
      const fd = openSync(temporary, O_CREAT | O_EXCL | O_WRONLY, mode);
      try {
        try {
          const bytes = Buffer.from(text);
          for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
          if (sync) fsyncSync(fd);
        } finally {
          closeSync(fd);
        }
        renameSync(temporary, path);
      } catch (error) {
        unless([errno.ENOENT], () => unlinkSync(temporary));
        throw error;
      }
      if (sync) syncParent(path);
    },

    makeDirectory,

    listDirectory(path) {
      return unless([errno.ENOENT], () => {
        requireDirectory(path);
        return readdirSync(path).sort();
      });
    },

    removeTree(path) {
      const stat = lstatOf(path);
      if (!stat) return;
      removeNode(path, stat, stat.dev);
      syncParent(path);
    },

    rename(from, to, options = {}) {
      if (options.contents) syncContents(from);
      if (options.replace) renameSync(from, to);
      else renameWithoutReplacing(from, to);
      syncParent(to);
      if (dirname(from) !== dirname(to)) syncParent(from);
    },

    stat(path) {
      const stat = lstatOf(path);
      return stat && describeStat(stat);
    },

    resolve(path) {
      return unless([errno.ENOENT, errno.ENOTDIR], () => realpathSync(path));
    },

    statfs(path) {
      const view = statfs(path);
      const number = (index: number) => Number(view.getBigUint64(index * 8, true));
      // struct statfs: type, bsize, blocks, bfree, bavail, files, ffree, fsid, namelen, frsize, flags
      const blockBytes = number(9) || number(1);
      return {
        type: filesystemName(number(0)),
        sizeBytes: number(2) * blockBytes,
        freeBytes: number(3) * blockBytes,
        availableBytes: number(4) * blockBytes,
        files: number(5),
        filesFree: number(6),
        readOnly: (number(10) & 1) !== 0,
      };
    },

    sync(path) {
      withFile(path, O_RDONLY, fsyncSync);
    },
  };
}

function readTextFile(path: string): string | undefined {
  return unless([errno.ENOENT, errno.ENOTDIR], () =>
    withFile(path, O_RDONLY, (fd) => {
      const stat = fstatSync(fd);
      if (!stat.isFile())
        raise({ call: 'read', subject: path, number: errno.EINVAL, problem: 'it is not a regular file' });
      if (stat.size > textLimitBytes)
        raise({
          call: 'read',
          subject: path,
          number: errno.EFBIG,
          problem: 'it is larger than the 1 MiB that a text file may have',
        });
      return readFileSync(fd, 'utf8');
    }),
  );
}

/** mkdir -p, each new folder made durable in its parent. */
export function makeDirectory(path: string, mode = 0o755, { sync = true }: SyncOption = {}): void {
  try {
    mkdirSync(path, mode);
  } catch (error) {
    const number = errnoOf(error);
    if (number === errno.EEXIST) {
      const stat = lstatSync(path);
      if (!stat.isDirectory())
        raise({ call: 'mkdir', subject: path, number, problem: 'it is there already and is no folder' });
      return;
    }
    // /proc says ENOENT for what it does not let be made, and its parent is there all the same.
    if (number !== errno.ENOENT || lstatOf(dirname(path))) throw error;
    makeDirectory(dirname(path), mode, { sync });
    makeDirectory(path, mode, { sync });
    return;
  }
  if (sync) syncParent(path);
}

/** Makes a folder and the files directly in it durable; a file alone when it is one. */
function syncContents(path: string): void {
  withFile(path, O_RDONLY, (fd) => {
    if (fstatSync(fd).isDirectory()) {
      for (const entry of readdirSync(path, { withFileTypes: true })) {
        if (entry.isFile()) withFile(join(path, entry.name), O_RDONLY, fsyncSync);
      }
    }
    fsyncSync(fd);
  });
}

/** lstat(2), undefined when it is not there. */
export function lstatOf(path: string): Stats | undefined {
  return unless([errno.ENOENT, errno.ENOTDIR], () => lstatSync(path));
}

/** "major:minor" of a dev_t as stat(2) gives it (encoding: include/linux/kdev_t.h, new_encode_dev). */
export function deviceNumber(device: number): string {
  const wide = BigInt(device);
  const major = ((wide >> 8n) & 0xfffn) | ((wide >> 32n) & 0xfffff000n);
  const minor = (wide & 0xffn) | ((wide >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

function requireDirectory(path: string): void {
  const stat = lstatSync(path);
  if (stat.isSymbolicLink()) raise({ call: 'scandir', subject: path, number: errno.ELOOP });
  if (!stat.isDirectory()) raise({ call: 'scandir', subject: path, number: errno.ENOTDIR });
}

function removeNode(path: string, stat: Stats, device: number): void {
  if (!stat.isDirectory()) {
    unlinkSync(path);
    return;
  }
  // A bind mount of the same file system has the same device, so the device alone does not tell.
  if (stat.dev !== device || isMountPoint(path))
    raise({ call: 'removeTree', subject: path, number: errno.EBUSY, problem: 'something is mounted there' });
  for (const name of readdirSync(path)) {
    const child = join(path, name);
    const below = lstatOf(child);
    if (below) removeNode(child, below, device);
  }
  rmdirSync(path);
}

function renameWithoutReplacing(from: string, to: string): void {
  try {
    renameNoReplace(from, to);
  } catch (error) {
    // Some file systems (older FUSE, NFS) lack the flag.
    if (errnoOf(error) !== errno.EINVAL) throw error;
    if (lstatOf(to)) raise({ call: 'rename', subject: `${from} to ${to}`, number: errno.EEXIST });
    renameSync(from, to);
  }
}

function describeStat(stat: Stats): FileStat {
  const kind = stat.isFile()
    ? 'file'
    : stat.isDirectory()
      ? 'directory'
      : stat.isBlockDevice()
        ? 'block'
        : stat.isSymbolicLink()
          ? 'symlink'
          : 'other';
  return {
    kind,
    sizeBytes: stat.size,
    allocatedBytes: stat.blocks * 512,
    modifiedMs: Math.floor(stat.mtimeMs),
    permissions: stat.mode & 0o7777,
    ...(kind === 'block' ? { deviceNumber: deviceNumber(stat.rdev) } : {}),
    filesystemId: deviceNumber(stat.dev),
    inode: stat.ino,
  };
}

/** include/uapi/linux/magic.h */
const magicNumbers: Readonly<Record<number, string>> = {
  1481003842: 'xfs',
  61267: 'ext4',
  2435016766: 'btrfs',
  16914836: 'tmpfs',
  2035054128: 'overlay',
  1702057286: 'fuse',
  26985: 'nfs',
  12805120: 'ceph',
  801189825: 'zfs',
  4076150800: 'f2fs',
};

function filesystemName(magic: number): string {
  return magicNumbers[magic] ?? `0x${magic.toString(16)}`;
}
