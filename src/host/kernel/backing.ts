import {
  constants,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  futimesSync,
  readSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { errno } from './errno.ts';
import { fallocate, ioctl, seek } from './libc.ts';
import { syncParent, withFile } from './open.ts';
import { errnoOf, raise, unless } from './raise.ts';
import type { SyncKernel } from './sync.ts';

const { O_CREAT, O_EXCL, O_RDONLY, O_RDWR } = constants;
const FALLOC_FL_KEEP_SIZE = 0x01;
const FALLOC_FL_PUNCH_HOLE = 0x02;
const FALLOC_FL_UNSHARE_RANGE = 0x40;
const FS_XFLAG_EXTSIZE = 0x800;
const copyPieceBytes = 4 * 1024 * 1024;
/** Written bytes between two flushes of a copy, so that no single call has gigabytes to flush at its end. */
const copyFlushBytes = 64 * 1024 * 1024;

type Backing = Pick<
  SyncKernel,
  'createSparse' | 'allocate' | 'truncate' | 'clone' | 'cloneRange' | 'copyRange' | 'canClone'
>;

/** Backing files of volumes and snapshots, see Kernel. */
export function backingCalls(): Backing {
  return {
    createSparse(path, sizeBytes, options = {}) {
      withFile(path, O_CREAT | O_RDWR, (fd) => {
        const { size } = fstatSync(fd);
        if (size !== sizeBytes) {
          if (size !== 0)
            raise({
              call: 'createSparse',
              subject: path,
              number: errno.EEXIST,
              problem: `it is there with ${size} bytes`,
            });
          setExtentSize(fd, options.extentSizeBytes, path);
          ftruncateSync(fd, sizeBytes);
        }
        fsyncSync(fd);
      });
      syncParent(path);
    },

    allocate(path, sizeBytes, options = {}) {
      withFile(path, O_CREAT | O_RDWR, (fd) => {
        const { size } = fstatSync(fd);
        if (size > sizeBytes)
          raise({
            call: 'fallocate',
            subject: path,
            problem: `it has ${size} bytes, more than ${sizeBytes}`,
            code: 'OutOfRange',
          });
        try {
          if (options.unshare && size > 0) fallocate(fd, FALLOC_FL_UNSHARE_RANGE, 0, size, path);
          fallocate(fd, 0, 0, sizeBytes, path);
        } catch (error) {
          // What a failed allocation took beyond the old end goes back at once.
          ftruncateSync(fd, size);
          throw error;
        }
        fsyncSync(fd);
      });
      syncParent(path);
    },

    truncate(path, sizeBytes) {
      withFile(path, O_RDWR, (fd) => {
        ftruncateSync(fd, sizeBytes);
        fsyncSync(fd);
      });
    },

    clone(from, to, options = {}) {
      withFile(from, O_RDONLY, (source) =>
        withFile(to, O_CREAT | O_RDWR, (target) => {
          const { size } = fstatSync(target);
          if (size === 0) setExtentSize(target, options.extentSizeBytes, to);
          // FICLONE does not shorten a longer target.
          const wanted = fstatSync(source).size;
          if (size > wanted) ftruncateSync(target, wanted);
          ioctl(target, 'FICLONE', source, `${from} to ${to}`);
          if (options.touch) futimesSync(source, Date.now() / 1_000, Date.now() / 1_000);
          if (options.sync !== false) fsyncSync(target);
        }),
      );
      if (options.sync !== false) syncParent(to);
    },

    cloneRange(from, to, options) {
      const endMs = performance.now() + options.budgetMs;
      return withFile(from, O_RDONLY, (source) =>
        withFile(to, O_CREAT | O_RDWR, (target) => {
          const { size } = fstatSync(source);
          const range = Buffer.alloc(32);
          let offset = options.offsetBytes;
          while (offset < size) {
            const length = Math.min(options.pieceBytes, size - offset);
            // struct file_clone_range: src_fd, src_offset, src_length, dest_offset
            range.writeBigInt64LE(BigInt(source), 0);
            range.writeBigUInt64LE(BigInt(offset), 8);
            range.writeBigUInt64LE(BigInt(length), 16);
            range.writeBigUInt64LE(BigInt(offset), 24);
            ioctl(target, 'FICLONERANGE', range, `${from} to ${to}`);
            offset += length;
            if (performance.now() >= endMs) break;
          }
          return { nextOffsetBytes: offset, done: offset >= size };
        }),
      );
    },

    copyRange(from, to, options) {
      return withFile(from, O_RDONLY, (source) =>
        withFile(to, O_CREAT | O_RDWR, (target) => {
          const { size } = fstatSync(source);
          if (options.offsetBytes === 0 && !options.overwrite) ftruncateSync(target, 0);
          if (fstatSync(target).size !== size) ftruncateSync(target, size);
          const result = copyData(source, target, Math.min(size, options.endBytes ?? size), options, from);
          if (result.done && !options.overwrite) {
            fsyncSync(target);
            syncParent(to);
          }
          return result;
        }),
      );
    },

    canClone(directory) {
      const [from, to] = ['a', 'b'].map((letter) =>
        join(directory, `.azekura-clone-trial-${process.pid}-${letter}.tmp`),
      );
      if (!from || !to) return false;
      try {
        return withFile(from, O_CREAT | O_EXCL | O_RDWR, (source) =>
          withFile(to, O_CREAT | O_EXCL | O_RDWR, (target) => {
            writeSync(source, Buffer.alloc(4096, 1));
            return tryClone(source, target, directory);
          }),
        );
      } finally {
        for (const path of [from, to]) unless([errno.ENOENT, errno.ENOTDIR], () => unlinkSync(path));
      }
    },
  };
}

/** Sets the extent size hint (struct fsxattr of include/uapi/linux/fs.h); a file system without hints is left as it is. */
function setExtentSize(fd: number, extentSizeBytes: number | undefined, path: string): void {
  if (extentSizeBytes === undefined) return;
  const attributes = Buffer.alloc(28);
  unless([errno.ENOTTY, errno.EOPNOTSUPP], () => {
    ioctl(fd, 'FS_IOC_FSGETXATTR', attributes, path);
    attributes.writeUInt32LE((attributes.readUInt32LE(0) | FS_XFLAG_EXTSIZE) >>> 0, 0);
    attributes.writeUInt32LE(extentSizeBytes, 4);
    ioctl(fd, 'FS_IOC_FSSETXATTR', attributes, path);
  });
}

function tryClone(source: number, target: number, directory: string): boolean {
  try {
    ioctl(target, 'FICLONE', source, directory);
    return true;
  } catch (error) {
    const number = errnoOf(error);
    if (number === errno.EOPNOTSUPP || number === errno.ENOTTY || number === errno.EINVAL || number === errno.EXDEV)
      return false;
    throw error;
  }
}

/** Copies data between holes with read and write: copy_file_range(2) would share the blocks. */
function copyData(
  source: number,
  target: number,
  size: number,
  options: { readonly offsetBytes: number; readonly budgetMs: number; readonly overwrite?: boolean },
  path: string,
): { readonly nextOffsetBytes: number; readonly done: boolean; readonly copiedBytes: number } {
  const endMs = performance.now() + options.budgetMs;
  const buffer = Buffer.allocUnsafe(copyPieceBytes);
  let offset = options.offsetBytes;
  let copiedBytes = 0;
  let unflushedBytes = 0;
  while (offset < size) {
    // ENXIO: no data beyond the offset.
    const start = unless([errno.ENXIO], () => seek(source, offset, 3, path));
    if (options.overwrite) punch(target, offset, Math.min(start ?? size, size), path);
    if (start === undefined || start >= size) {
      offset = size;
      break;
    }
    const end = Math.min(seek(source, start, 4, path), size);
    offset = start;
    while (offset < end) {
      const read = readSync(source, buffer, 0, Math.min(buffer.length, end - offset), offset);
      if (read === 0) {
        // The file became shorter meanwhile.
        offset = size;
        break;
      }
      for (let done = 0; done < read; ) done += writeSync(target, buffer, done, read - done, offset + done);
      offset += read;
      copiedBytes += read;
      unflushedBytes += read;
      if (unflushedBytes >= copyFlushBytes) {
        fdatasyncSync(target);
        unflushedBytes = 0;
      }
      if (performance.now() >= endMs) {
        fdatasyncSync(target);
        return { nextOffsetBytes: offset, done: offset >= size, copiedBytes };
      }
    }
  }
  return { nextOffsetBytes: offset, done: true, copiedBytes };
}

/** Makes a range a hole again: it reads as zeroes, whatever was there. */
function punch(fd: number, fromBytes: number, toBytes: number, path: string): void {
  if (toBytes > fromBytes)
    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, fromBytes, toBytes - fromBytes, path);
}
