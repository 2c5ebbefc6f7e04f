import type { z } from 'zod';
import type { Host } from '../host/host.ts';
import type { ByteRange, ProbedFilesystem, RangePage } from '../host/kernel.ts';
import type { Clock } from '../lib/clock.ts';
import type { KeyedLock } from '../lib/keyed-lock.ts';
import type { Logger } from '../lib/log.ts';
import type { Steps } from '../lib/steps.ts';
import type { Cause } from '../model/cause.ts';
import type { ClaimRef } from '../model/claim.ts';
import type { Layer } from '../model/layer.ts';
import type { PoolDisk, PoolSource } from '../model/pool.ts';

/**
 * The contract of an engine: data, not inheritance. A part that is absent is a feature that the engine does not have;
 * `capabilities` follows from it and switches the feature off in CLI, API, CSI and console alike.
 *
 * Rules for every method, checked by engines/contract-suite.ts:
 * - Idempotent: repeating it with the same arguments, also after a crash at any step, ends in the same state.
 *   Creating what is there and deleting what is not are no errors.
 * - Observed, never remembered: it reads what is there before it acts. An engine keeps no state in memory that matters.
 * - Made of named steps (Steps.run): between two of them a test may kill the process.
 * - When it resolves, what it did is durable.
 * - It never freezes a file system and never touches one: layers above the device are the agent's.
 * - Names of users never become names of files or devices: `volumeId` and `snapshotId` do.
 */
export interface EngineDefinition {
  /** "file", "lvm", …; the value of Policy.engine and PoolSpec.engine. */
  readonly kind: string;
  readonly title: string;
  readonly capabilities: EngineCapabilities;
  /** Checks Policy.parameters: the engine's own class parameters. Unknown ones are refused. */
  readonly parameters: z.ZodType;
  /** Kinds of PoolSource it can make a pool from. */
  readonly poolSources: readonly PoolSource['kind'][];
  create(deps: EngineDeps): Engine;
}

export interface EngineCapabilities {
  readonly access: readonly ('filesystem' | 'block')[];
  readonly provisioning: readonly ('thin' | 'thick')[];
  readonly filesystems: readonly ('xfs' | 'ext4')[];
  readonly replicas: readonly number[];
  readonly shared: boolean;
  /**
   * Whether a pool is a file system of its own, so that its statfs shows that nothing has changed. Other pools are
   * observed whole as often.
   */
  readonly poolIsFilesystem: boolean;
  /**
   * Devices come in multiples of it: a size is rounded up to the next, and observe() tells the size of the device. A pool
   * may have coarser steps of its own.
   */
  readonly sizeStepBytes: number;
  readonly snapshots: boolean;
  /** The kinds of volumes that can have snapshots, and be restored from them. */
  readonly snapshotProvisioning: readonly ('thin' | 'thick')[];
  /**
   * Whether a cut brings a mounted file system to rest by itself, and `suspend` does so until it is let go: then the agent
   * does not freeze the file system, which some kernels take for an obstacle. Among several, without `suspend`, it freezes
   * them where the kernel is none of those.
   */
  readonly cutHoldsMounted: boolean;
  /**
   * Whether snapshots of several attached raw block volumes can be cut at one instant (needs Engine.suspend); with
   * cutHoldsMounted also of several mounted ones on any kernel.
   */
  readonly groupBlock: boolean;
  readonly clones: boolean;
  readonly restoreInPlace: boolean;
  readonly changedBlocks: boolean;
  /** Whether what was never written, or was discarded, reads as zeroes. */
  readonly unwrittenIsZero: boolean;
  readonly onlineExpansion: boolean;
  /**
   * Which volumes it can move to another pool of the machine. readOnlyBlock: also a raw block volume that is attached
   * read-only (needs takeOver).
   */
  readonly move: 'no' | 'detached' | 'readOnlyBlock' | 'attached';
  readonly recycle: boolean;
  readonly rescue: boolean;
}

export interface EngineDeps {
  readonly host: Host;
  readonly clock: Clock;
  readonly log: Logger;
  /** Names and reports the steps of the one operation that this Engine was made for: making an Engine costs nothing. */
  readonly steps: Steps;
  /** Shared by all Engines of the process: serialises what must not overlap on this node (templates of a pool, a volume group). */
  readonly locks: KeyedLock;
  readonly nodeName: string;
  /** A folder of the instance for the engine's own mounts and scratch files, on the machine's disk. */
  readonly runtimeDir: string;
}

export interface Engine {
  readonly pools: EnginePools;
  readonly volumes: EngineVolumes;
  readonly snapshots?: EngineSnapshots;
  readonly diff?: EngineDiff;
  /** Holds back writes of an attached raw block volume and lets them go: only engines that can. */
  readonly suspend?: (volume: VolumeRef, deadlineMs: number) => Promise<{ resume(): Promise<void> }>;
}

/** A pool as the engine needs it: resolved from the Pool object. */
export interface PoolRef {
  readonly name: string;
  /** Undefined until prepare() has made or found it. */
  readonly poolId?: string;
  readonly source: PoolSource;
  readonly reservePercent: number;
  readonly acceptNoJournal: boolean;
  readonly trial: boolean;
  /** Ids of disks (PoolObservation.disks) that are to be emptied and taken out. */
  readonly leavingDisks?: readonly string[];
}

export interface EnginePools {
  /**
   * Looks at a place without changing it: whether it can be a pool, what it holds, what would be done.
   * Problems are errors (FailedPrecondition with a clear sentence), not a result.
   */
  inspect(pool: PoolRef): Promise<PoolInspection>;
  /** Makes the pool, or opens an existing one (mounts it when needed). Returns its id and folder. */
  open(pool: PoolRef): Promise<{ readonly poolId: string; readonly path: string }>;
  /** Observes: space, health. Cheap enough for every 30 s. Never throws for a bad pool: it answers with causes. */
  observe(pool: PoolRef): Promise<PoolObservation>;
  /** Undoes open(): unmounts. Data stays. @throws FailedPrecondition while a volume is attached */
  close(pool: PoolRef): Promise<void>;
  /** Removes the pool's own files for good, when it holds no volume. A directory that the user gave stays. */
  destroy(pool: PoolRef): Promise<void>;
  /** All volumes and snapshots on the pool with their identities, the recycled ones too: for rescue and adoption. */
  list(pool: PoolRef): Promise<readonly VolumeOnDisk[]>;
  /**
   * Removes leftovers of interrupted operations; returns what was removed. `idle` says that no operation is under way on
   * the pool, as when an agent starts: then nothing unfinished is spared. Otherwise what may be at work stays for later.
   *
   * @param options.movingVolumeIds volumes whose move from or to this pool will go on: what it has done so far stays
   */
  sweep(
    pool: PoolRef,
    options?: { readonly idle?: boolean; readonly movingVolumeIds?: readonly string[] },
  ): Promise<readonly string[]>;
  /**
   * What an open pool needs done from time to time: grows what grows by itself, takes disks that were added to its source,
   * empties those that are to leave, goes on with what was interrupted. Called after observe(), and again at once when it
   * did something: it returns one sentence for each thing, after half a minute at most.
   */
  maintain?(pool: PoolRef): Promise<readonly string[]>;
}

export interface PoolInspection {
  readonly plan: readonly string[];
  readonly capacityBytes: number;
  readonly existing: boolean;
  readonly warnings: readonly Cause[];
}

export interface PoolObservation {
  readonly present: boolean;
  readonly path?: string;
  readonly filesystem?: string;
  /** ssd, hdd or nvme, as far as the disks tell. */
  readonly deviceClass?: string;
  /** The disks that the pool is made of, where it is made of disks. */
  readonly disks?: readonly PoolDisk[];
  readonly capacityBytes: number;
  readonly freeBytes: number;
  /** What of it thick volumes can have; absent when that is all of it. */
  readonly thickFreeBytes?: number;
  readonly causes: readonly Cause[];
}

export interface VolumeRef {
  readonly pool: PoolRef;
  readonly volumeId: string;
}

export interface SnapshotRef extends VolumeRef {
  readonly snapshotId: string;
}

/** Identity beside the data: everything rescue needs. Formats: docs/formats.md. */
export interface VolumeIdentity {
  readonly name: string;
  readonly uid: string;
  readonly volumeId: string;
  readonly sizeBytes: number;
  readonly className: string;
  readonly mode: 'filesystem' | 'block';
  readonly filesystem?: 'xfs' | 'ext4';
  readonly provisioning: 'thin' | 'thick';
  readonly createdAt: string;
  readonly generation: number;
  readonly claim?: ClaimRef;
  /** "snapshot <volumeId>/<snapshotId>" or "volume <volumeId>" that it was made from. */
  readonly parent?: string;
  readonly encryption?: VolumeEncryption;
  readonly recycled?: { readonly deletedAt: string; readonly expiresAt: string };
}

/**
 * A volume whose bytes on the pool are encrypted. An engine keeps it with the identity and knows one thing of it: such a
 * volume comes up neither formatted nor with a fresh UUID, since what it would write to are not the file system's bytes.
 */
export interface VolumeEncryption {
  readonly kind: 'luks2';
  /** File on the node that holds the key; without it the key comes with each request to stage. */
  readonly keyFile?: string;
  /** What the layer itself has noted; who stands above the layer does not see it. */
  readonly layer?: EncryptionLayer;
}

export interface EncryptionLayer {
  /** Bytes of the device before the volume's own; part of sizeBytes on the disk. */
  readonly headerBytes: number;
  /** blank: nothing was written yet. header: it has keys, no file system. ready: it was formatted, or is for raw use. */
  readonly state: 'blank' | 'header' | 'ready';
}

export interface SnapshotIdentity {
  readonly name: string;
  readonly uid: string;
  readonly snapshotId: string;
  readonly volumeId: string;
  readonly sizeBytes: number;
  readonly cutAt: string;
  readonly consistency: 'crash' | 'filesystem';
  readonly group?: string;
  /** As the volume's was at the instant of the cut. */
  readonly encryption?: EncryptionLayer;
}

export interface VolumeOnDisk {
  readonly volumeId: string;
  /** Undefined when the identity file is missing or damaged; `problem` says how. */
  readonly identity?: VolumeIdentity;
  readonly problem?: string;
  readonly dataPath: string;
  readonly sizeBytes: number;
  readonly recycled: boolean;
  readonly snapshots: readonly {
    readonly snapshotId: string;
    readonly identity?: SnapshotIdentity;
    readonly problem?: string;
    readonly dataPath: string;
    readonly sizeBytes: number;
  }[];
}

export interface CreateVolume {
  readonly volume: VolumeRef;
  readonly identity: VolumeIdentity;
  /** For thin and thick see Policy. The device comes up formatted when the engine can, else as `blank`: then the agent formats it. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly source?:
    | { readonly kind: 'snapshot'; readonly snapshot: SnapshotRef }
    | { readonly kind: 'volume'; readonly volume: VolumeRef }
    | { readonly kind: 'move'; readonly volume: VolumeRef };
}

export interface EngineVolumes {
  /**
   * Makes the volume: afterwards observe() tells `present`. A bigger size than the source's is honoured here; the file
   * system grows when it is mounted. @throws ResourceExhausted with blame PoolFull
   */
  create(request: CreateVolume): Promise<void>;
  observe(volume: VolumeRef): Promise<VolumeObservation>;
  /** Exclusive and shared bytes: exact but not free (reads the extent map). */
  usage(
    volume: VolumeRef,
  ): Promise<{ readonly exclusiveBytes: number; readonly sharedBytes: number; readonly extents?: number }>;
  /** Writes the identity anew when it differs. */
  setIdentity(volume: VolumeRef, identity: VolumeIdentity): Promise<void>;
  /** Grows the device, attached or not; never shrinks. */
  expand(volume: VolumeRef, sizeBytes: number): Promise<void>;
  /** Brings a volume to new engine parameters, for example other peers. Absent where nothing can change. */
  configure?(volume: VolumeRef, parameters: Readonly<Record<string, string>>): Promise<void>;
  /**
   * Gives the node a block device, or what to mount (AttachedDevice.mount). Repeating it answers the same.
   *
   * @param options.probe the file system on it will be looked at next: may be done here when it saves a round trip
   */
  attach(volume: VolumeRef, options: { readonly readOnly: boolean; readonly probe?: boolean }): Promise<AttachedDevice>;
  /**
   * The volume's device, by a cheap look at the kernel that takes no helper process; `device` is undefined when the volume
   * is not attached. Undefined when that look does not tell: then observe() does. Absent where there is no such look.
   */
  glance?(volume: VolumeRef): { readonly device: AttachedDevice | undefined } | undefined;
  /**
   * Notes durably that the volume is no longer blank; called after it was formatted and before it is mounted for the first
   * time. Engines whose volumes come up formatted do not have it.
   */
  markFormatted?(volume: VolumeRef): Promise<void>;
  /** @throws FailedPrecondition with blame InUse and the holder's name while something holds the device */
  detach(volume: VolumeRef): Promise<void>;
  /**
   * Puts `to`, a copy of `from` on another pool, below the device of `from`, which is attached read-only and stays in use:
   * afterwards it is the device of `to`. Does nothing when `from` is not attached.
   *
   * @throws FailedPrecondition when `from` is attached for writing or mounted, or their sizes differ
   */
  takeOver?(from: VolumeRef, to: VolumeRef): Promise<void>;
  /**
   * A folder in which layers above keep small files of the volume; it goes where the volume goes, into the recycle bin, and
   * for good with it. Made when it is not there. Absent where there is no such place.
   */
  companionFolder?(volume: VolumeRef): Promise<string>;
  /**
   * Brings an encrypted volume, attached or not, to its present key: afterwards that one opens it and the one before does
   * not. Only the layer of encryption has it.
   *
   * @returns one sentence on what was done
   * @throws AzekuraError FailedPrecondition with blame EncryptionKeyMissing or EncryptionKeyWrong
   */
  changeKey?(volume: VolumeRef): Promise<string>;
  /** For good, with its snapshots. @throws FailedPrecondition while attached */
  delete(volume: VolumeRef): Promise<void>;
  /** Into the recycle bin of the pool and back; the data stays as it is. @throws FailedPrecondition while attached */
  recycle?(volume: VolumeRef, until: { readonly deletedAt: string; readonly expiresAt: string }): Promise<void>;
  restoreRecycled?(volume: VolumeRef, identity: VolumeIdentity): Promise<void>;
}

export interface VolumeObservation {
  readonly present: boolean;
  readonly recycled: boolean;
  readonly sizeBytes: number;
  readonly identity?: VolumeIdentity;
  /** Device of this volume on this node, when attached. */
  readonly attached?: AttachedDevice;
  readonly snapshotIds: readonly string[];
  readonly causes: readonly Cause[];
}

export interface AttachedDevice {
  /** A block device; with `mount` what is mounted, for messages and comparison only. */
  readonly device: string;
  /** major:minor of the device, where the engine has read it; the agent asks for it otherwise. */
  readonly deviceNumber?: string;
  /**
   * Set by engines that give a file system instead of a device (nfs, cephfs): the agent mounts it so, and does not probe,
   * format, check, freeze or grow it. The options hold no secret; `secretFile` is a file of mode 0600 with it.
   */
  readonly mount?: {
    readonly filesystem: string;
    readonly source: string;
    readonly options: readonly string[];
    readonly secretFile?: string;
  };
  readonly readOnly: boolean;
  /**
   * Set for a volume of mode filesystem that was made and never marked as formatted: nobody has ever mounted it, so the
   * agent may format it, whatever an interrupted attempt has left on it.
   */
  readonly blank?: true;
  /** What was found on it, when it was probed on attaching. */
  readonly found?: ProbedFilesystem | undefined;
  /** Only a lower part of the stack is up: attach() completes it, detach() takes it down; nobody may use the device. */
  readonly partial?: true;
  readonly layers: readonly Layer[];
  readonly causes: readonly Cause[];
}

export interface EngineSnapshots {
  /** Everything that can be done before writes are held back (the first pass of a two-pass clone). Optional to call. */
  prepare(snapshot: SnapshotRef): Promise<void>;
  /** The instant itself: short, atomic, without waiting for anything else. Nothing durable yet. */
  cut(snapshot: SnapshotRef): Promise<void>;
  /** Makes a cut snapshot durable and visible with its identity. Until then a crash leaves nothing that counts. */
  commit(snapshot: SnapshotRef, identity: SnapshotIdentity): Promise<void>;
  /** Undoes prepare and cut of a snapshot that is not committed. */
  abandon(snapshot: SnapshotRef): Promise<void>;
  observe(snapshot: SnapshotRef): Promise<{
    readonly present: boolean;
    readonly sizeBytes: number;
    readonly identity?: SnapshotIdentity;
    readonly causes: readonly Cause[];
  }>;
  usage(snapshot: SnapshotRef): Promise<{ readonly exclusiveBytes: number; readonly sharedBytes: number }>;
  delete(snapshot: SnapshotRef): Promise<void>;
  /** Puts the snapshot's bytes in place of the volume's in one instant. @throws FailedPrecondition while attached */
  restore?(snapshot: SnapshotRef): Promise<void>;
}

export interface EngineDiff {
  /** Ranges that hold data in a snapshot. */
  allocated(snapshot: SnapshotRef, page: { readonly fromBytes: number; readonly limit: number }): Promise<RangePage>;
  /** Ranges of `target` that differ from `base`; both are kept snapshots of one volume. */
  changed(
    base: SnapshotRef,
    target: SnapshotRef,
    page: { readonly fromBytes: number; readonly limit: number },
  ): Promise<RangePage>;
}

export type { ByteRange, RangePage };
