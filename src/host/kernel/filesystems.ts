import { constants, fsyncSync, lstatSync, readFileSync } from 'node:fs';
import { type LabelOptions, type LvmLabel, readLabel } from '../lvm/label.ts';
import { probe, setUuid } from '../superblock/index.ts';
import { errno } from './errno.ts';
import { deviceNumber } from './files.ts';
import { forgetCached, ioctl, statfs } from './libc.ts';
import { sleep, withFile } from './open.ts';
import { unless } from './raise.ts';
import type { SyncKernel } from './sync.ts';

const { O_DIRECTORY, O_EXCL, O_RDONLY, O_RDWR } = constants;

type Filesystems = Pick<
  SyncKernel,
  | 'freeze'
  | 'thaw'
  | 'trim'
  | 'growFilesystem'
  | 'freePreallocation'
  | 'setFilesystemUuid'
  | 'probeFilesystem'
  | 'readLvmLabel'
>;

/** Calls on file systems as a whole, see Kernel. */
export function filesystemCalls(): Filesystems {
  const onFolder = <T>(path: string, work: (fd: number) => T) => withFile(path, O_RDONLY | O_DIRECTORY, work);
  return {
    freeze(mountPoint) {
      onFolder(mountPoint, (fd) => ioctl(fd, 'FIFREEZE', 0, mountPoint));
    },

    thaw(mountPoint) {
      // EINVAL: it was not frozen.
      const thawed = onFolder(mountPoint, (fd) => unless([errno.EINVAL], () => ioctl(fd, 'FITHAW', 0, mountPoint)));
      return { wasFrozen: thawed !== undefined };
    },

    trim(mountPoint) {
      // struct fstrim_range: start, len, minlen; len comes back as the bytes that were discarded.
      const range = Buffer.alloc(24);
      range.writeBigUInt64LE(0xffff_ffff_ffff_ffffn, 8);
      onFolder(mountPoint, (fd) => ioctl(fd, 'FITRIM', range, mountPoint));
      return { trimmedBytes: Number(range.readBigUInt64LE(8)) };
    },

    growFilesystem(mountPoint, filesystem) {
      onFolder(mountPoint, (fd) => (filesystem === 'xfs' ? growXfs(fd, mountPoint) : growExt4(fd, mountPoint)));
    },

    freePreallocation(path) {
      // struct xfs_fs_eofblocks: version 1; flag 1 waits for writers' locks and so leaves nothing out
      const request = Buffer.alloc(128);
      request.writeUInt32LE(1, 0);
      request.writeUInt32LE(1, 4);
      withFile(path, O_RDONLY, (fd) => ioctl(fd, 'XFS_IOC_FREE_EOFBLOCKS', request, path));
    },

    setFilesystemUuid(path, filesystem, uuid, { sync = true } = {}) {
      // O_EXCL on a block device: refused while it is mounted.
      const exclusive = lstatSync(path).isBlockDevice() ? O_EXCL : 0;
      withFile(path, O_RDWR | exclusive, (fd) => {
        setUuid(fd, filesystem, uuid);
        if (sync) fsyncSync(fd);
      });
    },

    probeFilesystem: (path) => withFile(path, O_RDONLY, probe),

    readLvmLabel: (path, options) => withFile(path, O_RDONLY, (fd) => readLabelPatiently(fd, options)),
  };
}

const labelTries = 20;
const labelPauseMs = 25;

/**
 * LVM writes past the page cache, so nothing cached is believed. While a command is at work, a text may be half written:
 * it is whole again in a moment.
 */
function readLabelPatiently(fd: number, options: LabelOptions = {}): LvmLabel | undefined {
  for (let tries = 1; ; tries++) {
    const label = readLabel(fd, { ...options, fresh: forgetCached });
    const torn =
      label?.torn === true || (options.text === true && label?.group !== undefined && label.text === undefined);
    if (!torn || tries >= labelTries) return label;
    sleep(labelPauseMs);
  }
}

/** Bytes and path of the block device below a file system. */
function deviceBelow(mountPoint: string): { readonly sizeBytes: number; readonly path: string } {
  const folder = `/sys/dev/block/${deviceNumber(lstatSync(mountPoint).dev)}`;
  const name = /^DEVNAME=(.+)$/m.exec(readFileSync(`${folder}/uevent`, 'utf8'))?.[1] ?? '';
  return { sizeBytes: Number(readFileSync(`${folder}/size`, 'utf8')) * 512, path: `/dev/${name}` };
}

/** struct xfs_fsop_geom: blocksize at 0, imaxpct at 28, datablocks at 32; struct xfs_growfs_data: newblocks, imaxpct. */
function growXfs(fd: number, mountPoint: string): void {
  const geometry = Buffer.alloc(256);
  ioctl(fd, 'XFS_IOC_FSGEOMETRY', geometry, mountPoint);
  const newBlocks = Math.floor(deviceBelow(mountPoint).sizeBytes / geometry.readUInt32LE(0));
  if (newBlocks <= Number(geometry.readBigUInt64LE(32))) return;
  const request = Buffer.alloc(16);
  request.writeBigUInt64LE(BigInt(newBlocks), 0);
  request.writeUInt32LE(geometry.readUInt32LE(28), 8);
  ioctl(fd, 'XFS_IOC_FSGROWFSDATA', request, mountPoint);
}

function growExt4(fd: number, mountPoint: string): void {
  const blockBytes = Number(statfs(mountPoint).getBigUint64(8, true));
  const device = deviceBelow(mountPoint);
  const newBlocks = Math.floor(device.sizeBytes / blockBytes);
  // The ioctl needs CAP_SYS_RESOURCE even when there is nothing to do.
  const now = withFile(device.path, O_RDONLY, probe);
  if (now && now.sizeBytes >= newBlocks * blockBytes) return;
  const request = Buffer.alloc(8);
  request.writeBigUInt64LE(BigInt(newBlocks), 0);
  ioctl(fd, 'EXT4_IOC_RESIZE_FS', request, mountPoint);
}
