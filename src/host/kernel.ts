import type { LvmLabel } from './lvm/label.ts';

/**
 * Kernel and file-system calls of one domain. Each method is one round trip to a helper process; kernel/calls.ts has the
 * synchronous implementation that runs there. Calls are idempotent where the comment says so, so that a step can be
 * repeated after a crash.
 *
 * All throw AzekuraError: NotFound (ENOENT), AlreadyExists (EEXIST), ResourceExhausted (ENOSPC, EDQUOT, no loop device),
 * FailedPrecondition (EBUSY, EROFS, ENOTEMPTY), PermissionDenied (EPERM, EACCES), Unimplemented (EOPNOTSUPP, ENOTTY),
 * Unavailable with blame HungCall (deadline, or the domain already hangs), HostFailure (all other errno). The message
 * names the call, the path and the errno; details = { errno, call }.
 */
export interface Kernel {
  /**
   * Several calls in one round trip, one after the other: a round trip costs more than most calls. The first failure
   * ends it and is thrown; what came before it has happened. The deadline is that of all together.
   *
   * @returns the calls' results, in their order
   */
  batch<const Calls extends readonly BatchCall[]>(calls: Calls): Promise<BatchResults<Calls>>;

  // Files. Paths are absolute and never follow a symbolic link in their last part.
  /** Undefined when it is not there. Refuses files above 1 MiB. */
  readTextFile(path: string): Promise<string | undefined>;
  /**
   * Ends a batch unless a file holds a text: what follows is done only where it is meant to be.
   *
   * @throws FailedPrecondition when the file is not there or does not hold the text
   */
  requireText(path: string, text: string): Promise<void>;
  /** Replaces the file in one instant and durably: temporary file, fsync, rename, fsync of the folder. Idempotent. */
  writeTextFile(path: string, text: string, mode?: number, options?: SyncOption): Promise<void>;
  /** With all parents; not an error when it is there. Durable. */
  makeDirectory(path: string, mode?: number, options?: SyncOption): Promise<void>;
  /** Names in the folder, sorted; undefined when it is not there. */
  listDirectory(path: string): Promise<readonly string[] | undefined>;
  /** Removes a file or a whole tree of our own; does not cross mounts or follow links; not an error when it is not there. Durable. */
  removeTree(path: string): Promise<void>;
  /**
   * Renames and makes it durable in both folders; with `contents` first a folder itself and the files directly in it.
   *
   * @throws AlreadyExists when `to` is there, unless `replace`
   */
  rename(
    from: string,
    to: string,
    options?: { readonly replace?: boolean; readonly contents?: boolean },
  ): Promise<void>;
  /** Undefined when it is not there. Of a link, not of what it leads to. */
  stat(path: string): Promise<FileStat | undefined>;
  /** The same path without symbolic links; undefined when it, or what a link leads to, is not there. @throws ELOOP */
  resolve(path: string): Promise<string | undefined>;
  /** Of the file system that holds the path. */
  statfs(path: string): Promise<FilesystemStat>;
  /** fsync of a file or folder. */
  sync(path: string): Promise<void>;

  // Backing files
  /** Makes a sparse file; sets the XFS extent size hint while it is empty; fsync. Not an error when it is there with this size. */
  createSparse(path: string, sizeBytes: number, options?: { readonly extentSizeBytes?: number }): Promise<void>;
  /** Makes the file `sizeBytes` long and allocates all of it (fallocate mode 0); shared blocks are unshared first when asked. */
  allocate(path: string, sizeBytes: number, options?: { readonly unshare?: boolean }): Promise<void>;
  /** ftruncate + fsync. */
  truncate(path: string, sizeBytes: number): Promise<void>;
  /**
   * FICLONE of the whole file over `to` (made when absent); atomic. fsync of file and folder unless sync is false. With
   * `touch` the source's time of modification tells when it was cloned last; only its data is never changed.
   */
  clone(
    from: string,
    to: string,
    options?: { readonly sync?: boolean; readonly extentSizeBytes?: number; readonly touch?: boolean },
  ): Promise<void>;
  /** FICLONERANGE in pieces while the source is written: the first pass of a two-pass snapshot (XFS). Stops early after budgetMs and tells where. */
  cloneRange(
    from: string,
    to: string,
    options: { readonly offsetBytes: number; readonly pieceBytes: number; readonly budgetMs: number },
  ): Promise<{ readonly nextOffsetBytes: number; readonly done: boolean }>;
  /**
   * A real copy that keeps holes, never sharing blocks. In pieces, as cloneRange. Offset 0 begins with an empty target;
   * with `overwrite` the target keeps what it has outside the range, holes of the source become holes, and nothing is
   * synced.
   */
  copyRange(
    from: string,
    to: string,
    options: {
      readonly offsetBytes: number;
      readonly budgetMs: number;
      readonly endBytes?: number;
      readonly overwrite?: boolean;
    },
  ): Promise<{ readonly nextOffsetBytes: number; readonly done: boolean; readonly copiedBytes: number }>;
  /** Exclusive, shared and unwritten bytes and the number of extents, by FIEMAP. */
  extentUsage(path: string, options?: { readonly sync?: boolean }): Promise<ExtentUsage>;
  /** Ranges that hold data in a static file, ascending, from an offset, at most `limit`. */
  allocatedRanges(path: string, options: { readonly fromBytes: number; readonly limit: number }): Promise<RangePage>;
  /** Ranges that differ between two static files that share extents (holes = zeroes), ascending, at most `limit`. */
  changedRanges(
    base: string,
    target: string,
    options: { readonly fromBytes: number; readonly limit: number },
  ): Promise<RangePage>;
  /** Returns speculative CoW preallocation of the file system to the free space (XFS_IOC_FREE_EOFBLOCKS). */
  freePreallocation(path: string): Promise<void>;
  /** A fresh UUID for the clean, unmounted ext4 or XFS file system in a backing file or device; no external tool. */
  setFilesystemUuid(path: string, filesystem: 'xfs' | 'ext4', uuid: string, options?: SyncOption): Promise<void>;
  /** Type and UUID of the file system in a file or device, by its superblock; undefined for none. `clean` = no journal replay is due. */
  probeFilesystem(path: string): Promise<ProbedFilesystem | undefined>;
  /** Label of an LVM physical volume, with the text of its group when asked; undefined when it is none. See host/lvm. */
  readLvmLabel(path: string, options?: { readonly text?: boolean }): Promise<LvmLabel | undefined>;
  /** Whether the file's file system can share extents (FICLONE), tried for real with two temporary files in the folder. */
  canClone(directory: string): Promise<boolean>;

  // Loop devices
  /**
   * The loop device that stands on the file, if any; costs next to nothing when there is none, however many there are,
   * or when the hint is right.
   */
  findLoop(file: string, options?: LoopHint): Promise<LoopDevice | undefined>;
  /**
   * LOOP_CONFIGURE with 4096-byte blocks and direct I/O, then reads back what the kernel really set. With `reuse` first
   * looks for the device that stands on the file already, as it is.
   *
   * @throws ResourceExhausted with blame NoLoopDevices
   */
  attachLoop(
    file: string,
    options?: LoopHint & { readonly readOnly?: boolean; readonly directIo?: boolean; readonly reuse?: boolean },
  ): Promise<Omit<LoopDevice, 'backingDeleted' | 'sizeBytes'>>;
  /** Detaches and waits until the kernel has let go. Does nothing when the device no longer backs the file. @throws FailedPrecondition (still held) */
  detachLoop(device: string, file: string): Promise<void>;
  /** LOOP_SET_CAPACITY: the device takes over the size of its file. */
  resizeLoop(device: string): Promise<void>;
  /** LOOP_CHANGE_FD: swaps the file below a read-only loop device. */
  changeLoopFile(device: string, file: string): Promise<void>;

  // Mounts
  mount(options: {
    readonly source: string;
    readonly target: string;
    readonly filesystem: string;
    readonly options?: readonly string[];
  }): Promise<void>;
  /** Bind mount, then remounted read-only when asked. The target must exist. */
  bindMount(source: string, target: string, options?: { readonly readOnly?: boolean }): Promise<void>;
  /** Not an error when nothing is mounted there. @throws FailedPrecondition (busy) */
  unmount(target: string, options?: { readonly lazy?: boolean }): Promise<void>;
  /** Makes the mount point: a folder, or an empty file for block volumes. Not durable: a power cut takes the mount along. */
  makeMountPoint(path: string, kind: 'directory' | 'file'): Promise<void>;
  /** Removes an empty folder or empty file that is no mount point; not an error when absent or not empty. */
  removeMountPoint(path: string): Promise<void>;
  /** FIFREEZE. @throws FailedPrecondition when it is frozen already (EBUSY) */
  freeze(mountPoint: string): Promise<void>;
  /** FITHAW; tells whether it was frozen. */
  thaw(mountPoint: string): Promise<{ readonly wasFrozen: boolean }>;
  /** FITRIM. */
  trim(mountPoint: string): Promise<{ readonly trimmedBytes: number }>;
  /** Grows the mounted file system to its device. @throws PermissionDenied for ext4 without CAP_SYS_RESOURCE */
  growFilesystem(mountPoint: string, filesystem: 'xfs' | 'ext4'): Promise<void>;
  /**
   * Gives a mounted file system to a group, as the kubelet does it for fsGroup: everything gets the group and what its
   * members may do, folders also pass the group on (setgid). Does nothing when the root is like that already; the root
   * comes last, so that after a crash it begins again. In pieces: `after` of an answer that is not done begins the next.
   * What is immutable stays (`skipped`). Other file systems below are left alone.
   */
  giveToGroup(
    root: string,
    gid: number,
    options: { readonly budgetMs: number; readonly after?: readonly string[] },
  ): Promise<{
    readonly done: boolean;
    readonly after?: readonly string[];
    readonly changed: number;
    readonly skipped: number;
  }>;
}

/** Where the device is looked for first, for example /dev/loop7; createHost() fills it in. */
export interface LoopHint {
  readonly hint?: string;
}

export interface SyncOption {
  /** false: not durable yet; a later rename() with `contents` or a sync() makes it so. */
  readonly sync?: boolean;
}

/** What a superblock says. */
export interface ProbedFilesystem {
  readonly filesystem: string;
  readonly uuid: string;
  readonly clean: boolean;
  readonly sizeBytes: number;
}

export interface FileStat {
  readonly kind: 'file' | 'directory' | 'block' | 'symlink' | 'other';
  readonly sizeBytes: number;
  /** st_blocks × 512. On XFS counts shared blocks in every file: use extentUsage() for truth. */
  readonly allocatedBytes: number;
  readonly modifiedMs: number;
  /** Permission bits, such as 0o600. */
  readonly permissions: number;
  /** major:minor of a block device. */
  readonly deviceNumber?: string;
  readonly filesystemId: string;
  readonly inode: number;
}

export interface FilesystemStat {
  /** Name by magic number: xfs, ext4 (also ext2 and ext3), btrfs, tmpfs, overlay, fuse, or hex. */
  readonly type: string;
  readonly sizeBytes: number;
  readonly freeBytes: number;
  readonly availableBytes: number;
  readonly files: number;
  readonly filesFree: number;
  readonly readOnly: boolean;
}

export interface ExtentUsage {
  readonly exclusiveBytes: number;
  readonly sharedBytes: number;
  readonly unwrittenBytes: number;
  readonly extents: number;
}

export interface ByteRange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export interface RangePage {
  readonly ranges: readonly ByteRange[];
  /** Where the next page starts; undefined when this was the last. */
  readonly nextBytes?: number;
}

type Batchable = Exclude<keyof Kernel, 'batch'>;

/** One call of Kernel.batch(). */
export type BatchCall = {
  [Call in Batchable]: { readonly call: Call; readonly args: Readonly<Parameters<Kernel[Call]>> };
}[Batchable];

export type BatchResults<Calls extends readonly BatchCall[]> = {
  -readonly [Index in keyof Calls]: Calls[Index] extends { readonly call: infer Call extends Batchable }
    ? Awaited<ReturnType<Kernel[Call]>>
    : never;
};

export interface LoopDevice {
  /** For example /dev/loop7. */
  readonly device: string;
  /** major:minor, to be compared with MountEntry.device. */
  readonly deviceNumber: string;
  /** Without the kernel's " (deleted)" suffix. */
  readonly backingFile: string;
  readonly backingDeleted: boolean;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly directIo: boolean;
  readonly logicalBlockBytes: number;
}
