import type { BlockNode, BlockNodeOptions } from './block-sysfs.ts';
import type { Kernel, LoopDevice } from './kernel.ts';
import type { OwnFiles } from './own-files.ts';

export type { BlockNode, BlockNodeOptions, LoopDevice };

/**
 * The operating system, as the rest of Azekura sees it. Nothing outside host/ calls the kernel, reads /proc or starts a
 * process. host/fake.ts is the same for unit tests.
 */
export interface Host {
  /**
   * Kernel and file-system calls for one domain of containment: whatever hangs together (a pool, a volume). Calls run
   * in small helper processes, so a call that never returns blocks neither the event loop nor libuv's threads.
   * While a call of a domain hangs, further calls of that domain fail at once with HungCall and other domains go on.
   *
   * @param domain for example "pool/main" or "volume/3f9k…"; a domain contains those it is a path prefix of
   * @param deadlineMs after which a call is abandoned; 30 s unless told
   */
  kernel(domain: string, options?: { readonly deadlineMs?: number }): Kernel;

  /** Small files of the instance itself, without a helper process. */
  readonly ownFiles: OwnFiles;

  /**
   * Where the loop device of a file is, by the last call that attached, found or detached it, and a look at sysfs, which
   * touches no device: without a helper process. `loop` is undefined when it had none.
   *
   * @returns undefined when this process does not know; then kernel().findLoop() does
   */
  glanceAtLoop(file: string): { readonly loop: LoopDevice | undefined } | undefined;

  /** Runs a command: see ExecOptions. @throws ExecError (an AzekuraError HostFailure or DeadlineExceeded) */
  exec(argv: readonly [string, ...string[]], options?: ExecOptions): Promise<ExecResult>;

  /** Calls and commands that were abandoned and have not come back yet. */
  hungCalls(): readonly HungCall[];

  /** All mounts of this mount namespace, from /proc/self/mountinfo. */
  mounts(): Promise<readonly MountEntry[]>;

  /** All loop devices that are in use, from /sys/block. */
  loops(): Promise<readonly LoopDevice[]>;

  /** Whether a mounted ext3 or ext4 (by MountEntry.device) has a journal; undefined when its driver does not tell. */
  ext4HasJournal(deviceNumber: string): Promise<boolean | undefined>;

  /** Disks, partitions and what is stacked on them, with what lies on each disk and partition (lsblk, wipefs). */
  blockDevices(): Promise<readonly BlockDeviceInfo[]>;

  /** One device of whatever kind, looked at afresh; undefined when there is no such block device. */
  blockDevice(path: string): Promise<BlockDeviceInfo | undefined>;

  /** Disks, partitions, RAID and device-mapper devices as sysfs tells of them: cheap, and nothing waits for a device. */
  blockNodes(options?: BlockNodeOptions): Promise<readonly BlockNode[]>;

  /**
   * Why a disk says of itself that it is failing (SMART), in one clause; undefined when it does not, or cannot tell. Looked
   * at once in a quarter of an hour.
   */
  diskProblem(path: string): Promise<string | undefined>;

  /** Who holds a lock file (flock), by name and pid; undefined for nobody, or when it cannot be told. */
  lockHolder(path: string): Promise<string | undefined>;

  /**
   * A cheap look at the space of a mounted file system, without a helper process, for what is watched all the time.
   * Undefined when it cannot be had just now; then kernel().statfs() tells why.
   */
  glanceAtSpace(path: string): Promise<{ readonly sizeBytes: number; readonly freeBytes: number } | undefined>;

  /** Who keeps a device or mount busy: processes of other mount namespaces, open files. Best effort, for messages. */
  holders(target: { readonly device?: string; readonly path?: string }): Promise<readonly string[]>;

  /** Kernel release, boot id, effective capabilities, host name, whether we are root. */
  facts(): Promise<HostFacts>;

  /** Ends the helper processes. */
  close(): Promise<void>;
}

export interface ExecOptions {
  /** After which the process group is killed; 30 s unless told. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
  /** Written to standard input: the only way for secrets. Never logged. */
  readonly input?: string | Uint8Array;
  /** Exit codes that are not errors, beside 0. */
  readonly okExitCodes?: readonly number[];
  /** Domain of containment, as with kernel(). */
  readonly domain?: string;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface HungCall {
  readonly domain: string;
  readonly call: string;
  /** Milliseconds since the epoch. */
  readonly sinceMs: number;
  readonly pid: number;
}

export interface MountEntry {
  readonly mountId: number;
  readonly parentId: number;
  /** major:minor of the file system's device. */
  readonly device: string;
  /** The part of the file system that is mounted: "/" or the source of a bind. */
  readonly root: string;
  readonly target: string;
  readonly options: readonly string[];
  readonly filesystem: string;
  readonly source: string;
  readonly superOptions: readonly string[];
}

export interface BlockDeviceInfo {
  readonly path: string;
  readonly kind: 'disk' | 'partition' | 'other';
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly rotational: boolean;
  readonly serial?: string;
  readonly model?: string;
  /** File system, RAID or partition-table signature found on it. */
  readonly signature?: string;
  readonly mountedAt: readonly string[];
  /** Devices stacked on it: partitions, LVM, RAID. */
  readonly children: readonly string[];
}

export interface HostFacts {
  readonly kernelRelease: string;
  readonly hostName: string;
  readonly bootId: string;
  readonly isRoot: boolean;
  /** Names such as CAP_SYS_ADMIN. */
  readonly capabilities: readonly string[];
  readonly filesystems: readonly string[];
}
