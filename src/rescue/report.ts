import type { SnapshotIdentity, VolumeIdentity } from '../engines/contract.ts';
import type { Host } from '../host/host.ts';
import type { Logger } from '../lib/log.ts';

/** What every rescue function needs. Nothing is read from a daemon, a store or a data dir. */
export interface RescueDeps {
  readonly host: Host;
  readonly log: Logger;
  /** Ends the work early; loops and mounts that were made are released before the promise rejects. */
  readonly signal?: AbortSignal;
  /** Folder for temporary mounts of pool images and disks; `/run/azekura-rescue` unless told. */
  readonly scratchDir?: string;
  /**
   * Consent to change the place: a pool image or disk is mounted read-write, so that the journal of its file system is
   * replayed. Without it nothing on the place is ever written.
   */
  readonly writable?: boolean;
}

export interface ScanOptions extends RescueDeps {
  /** Pool folders, data dirs or folders above them, pool images, disks, partitions. Absolute paths. */
  readonly paths: readonly string[];
}

export interface RescueReport {
  readonly pools: readonly RescuedPool[];
  /** Sorted by claim, name and age; all copies, with `newest` on the one to use. */
  readonly volumes: readonly RescuedVolume[];
  /** Sentences about what could not be read, or only in part. */
  readonly warnings: readonly string[];
}

/** A pool that was found. */
export interface RescuedPool {
  /** What to hand to mount and export: the folder, image or device. */
  readonly place: string;
  readonly kind: 'directory' | 'image' | 'device' | 'group';
  readonly poolId?: string;
  readonly name?: string;
  /** Why the pool's own identity file cannot be read; its volumes are listed all the same. */
  readonly problem?: string;
  /** The journal of the pool's file system holds changes that a read-only look does not see. */
  readonly journalDirty: boolean;
  readonly volumes: number;
}

/** A volume that was found. */
export interface RescuedVolume {
  readonly volumeId: string;
  readonly place: string;
  /** Path of its data below the pool's folder. */
  readonly file: string;
  readonly identity?: VolumeIdentity;
  /** Why the identity cannot be read; then the data is to be known by its id only. */
  readonly problem?: string;
  readonly sizeBytes: number;
  /** Blocks in use; blocks shared with snapshots count here too. Absent for thin logical volumes, which would have to be activated. */
  readonly allocatedBytes?: number;
  /** Of the data file: RFC 3339. */
  readonly modifiedAt: string;
  readonly recycled: boolean;
  /** Whether this is the copy to use of all copies of this volume. */
  readonly newest: boolean;
  /** How many copies of this volume were found in all. */
  readonly copies: number;
  /** Device that writes to it at this moment. */
  readonly inUseBy?: string;
  readonly snapshots: readonly RescuedSnapshot[];
}

export interface RescuedSnapshot {
  readonly snapshotId: string;
  readonly file: string;
  readonly identity?: SnapshotIdentity;
  readonly problem?: string;
  readonly sizeBytes: number;
  readonly allocatedBytes?: number;
}

/** Which volume of a place is meant. */
export interface VolumeChoice {
  /** Pool folder, data dir, image or disk. */
  readonly path: string;
  /** Name, volume id, uid, or `namespace/name` of the claim. */
  readonly volume: string;
  /** Name or id of one of its snapshots. */
  readonly snapshot?: string;
  /** File with the key of an encrypted volume. */
  readonly keyFile?: string;
}

export interface MountOptions extends RescueDeps, VolumeChoice {
  /** An empty folder; made when it is not there. */
  readonly target: string;
  /**
   * Replay the journal of the volume's file system on a reflink copy in the pool, which needs a writable pool; the
   * original stays as it is. Without it an unclean file system is shown as it lies on the disk.
   */
  readonly replay?: boolean;
}

export interface MountResult {
  readonly target: string;
  readonly device: string;
  readonly filesystem: string;
  readonly volume: RescuedVolume;
  readonly snapshot?: RescuedSnapshot;
  readonly warnings: readonly string[];
}

export interface UnmountOptions extends Pick<RescueDeps, 'host' | 'log' | 'scratchDir'> {
  readonly target: string;
}

export interface ExportOptions extends RescueDeps, VolumeChoice {
  /** The raw image file to write. */
  readonly to: string;
  /** Replace `to` when it is there. */
  readonly force?: boolean;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

export interface ExportResult {
  readonly to: string;
  readonly volume: RescuedVolume;
  readonly snapshot?: RescuedSnapshot;
  readonly sizeBytes: number;
  /** Bytes that were copied; the rest are holes. */
  readonly dataBytes: number;
  /** SHA-256 over offset, length and content of each stretch of data, equal for source and copy. */
  readonly checksum: string;
  readonly warnings: readonly string[];
}
