import type { AccessMode } from '../model/attachment.ts';
import type { Cause } from '../model/cause.ts';
import type { ClaimRef } from '../model/claim.ts';
import type { ClassSpec } from '../model/class.ts';
import type { Attachment, Class, Node, Pool, RecycledVolume, Snapshot, SnapshotGroup, Volume } from '../model/kinds.ts';
import type { PoolSpec } from '../model/pool.ts';
import type { VolumeSource } from '../model/volume.ts';

/**
 * What a user can ask for, behind HTTP, CLI and CSI alike: checks the request against the present state, writes objects,
 * and returns at once; the controllers and agents do the work. Reading, listing and watching objects is the Store's.
 *
 * Every method answers bad input and impossible requests with an AzekuraError before anything is written, and is
 * idempotent: asking again for what is there, with the same particulars, is no error.
 */
export interface Operations {
  /** The same on behalf of a request: what is written names it (annotation), and so do the Tasks that come of it. */
  as(request: { readonly requestId: string }): Operations;
  /** dryRun writes nothing and tells where the volume would go. */
  createVolume(request: CreateVolumeRequest): Promise<{ readonly volume: Volume; readonly placement: PlacementAnswer }>;
  /** @throws OutOfRange below the current size */
  expandVolume(name: string, sizeBytes: number, options?: { readonly dryRun?: boolean }): Promise<Volume>;
  /** Into the recycle bin, or for good with skipRecycleBin. @throws FailedPrecondition with blame InUse */
  deleteVolume(name: string, options?: { readonly skipRecycleBin?: boolean; readonly dryRun?: boolean }): Promise<void>;
  /** Takes the newest recycled volume of that name (or the RecycledVolume of that name) out of the bin. */
  undeleteVolume(name: string, options?: { readonly as?: string; readonly dryRun?: boolean }): Promise<Volume>;
  /** Removes a recycled volume for good before its time. */
  purgeVolume(recycledName: string): Promise<RecycledVolume>;
  mountVolume(
    name: string,
    options: { readonly path: string; readonly readOnly?: boolean; readonly mountOptions?: readonly string[] },
  ): Promise<Volume>;
  /** One path, or all. Not an error when it is not mounted. */
  unmountVolume(name: string, options?: { readonly path?: string }): Promise<Volume>;
  /** @throws FailedPrecondition while attached */
  restoreVolume(name: string, snapshotName: string, options?: { readonly dryRun?: boolean }): Promise<Volume>;
  /** Checks and repairs the file system. @throws FailedPrecondition while attached, or while the pool is short of space */
  repairVolume(name: string): Promise<Volume>;
  /** Has the mounted file system give back what it does not use. @throws FailedPrecondition unless it is mounted and thin */
  trimVolume(name: string): Promise<Volume>;
  /**
   * Brings an encrypted volume, in use or not, to another key. Files are named, on the node that holds the volume: no key
   * passes through here.
   *
   * @param request.keyFile holds the new key; the file that the volume names already, with other contents, when absent
   * @param request.previousKeyFile holds the key before; the file that the volume names when absent
   */
  changeVolumeKey(
    name: string,
    request: { readonly keyFile?: string; readonly previousKeyFile?: string },
  ): Promise<Volume>;
  labelVolume(name: string, labels: Readonly<Record<string, string | null>>): Promise<Volume>;
  /** Changes what may change in a volume's life: only what is named, all or nothing. @throws InvalidArgument, NotFound */
  modifyVolume(name: string, changes: { readonly recycleMs?: number }): Promise<Volume>;

  /**
   * The use of a volume on a node step by step, as CSI asks for it. There is one Attachment for each volume and node;
   * every call only writes its spec, the node's agent does the work, and the caller waits for its status:
   * - attachVolume: origin `publish`, staged false: the device, nothing mounted yet. What was staged before stays staged.
   * - stageVolume: staged true with the path; makes the Attachment (origin `stage`) when nobody attached before.
   * - unstageVolume: staged false; deletes the Attachment when its origin is `stage`.
   * - detachVolume: deletes the Attachment, on all nodes when none is named.
   * attach, stage and publish put the given `observeRequestId` into the spec, so that also a repeated call makes the agent
   * look at what really is mounted. All end with the state that was asked for when it is there already.
   */
  /**
   * @throws NotFound for the volume or node; FailedPrecondition while it is attached to another node and the policy is
   *   not shared (the message names that node); AlreadyExists when it is attached here with another access, accessMode
   *   or readOnly; ResourceExhausted when the node has `maxPerNode` attachments already
   */
  attachVolume(name: string, request: AttachRequest): Promise<Attachment>;
  /** @throws as attachVolume; AlreadyExists when staged elsewhere or with other mount options */
  stageVolume(name: string, request: AttachRequest & { readonly stagingPath?: string }): Promise<Attachment>;
  /**
   * @throws FailedPrecondition when it is not staged, or when `exclusive` and another path is published;
   *   AlreadyExists when the path is published with another readOnly
   */
  publishPath(
    name: string,
    request: {
      readonly nodeName: string;
      readonly path: string;
      readonly readOnly: boolean;
      readonly exclusive: boolean;
      /** The group that the file system is given to; not for raw block volumes. */
      readonly mountGroup?: number;
      readonly observeRequestId: string;
    },
  ): Promise<Attachment>;
  /** Undefined when there is no Attachment on the node. */
  unpublishPath(
    name: string,
    request: { readonly nodeName: string; readonly path: string },
  ): Promise<Attachment | undefined>;
  /** Undefined when there is no Attachment on the node. @throws FailedPrecondition while a path is published */
  unstageVolume(name: string, request: { readonly nodeName: string }): Promise<Attachment | undefined>;
  /**
   * A node that is gone, or whose agent has not reported for minutes, is not asked whether it uses the volume: its agent
   * takes down what is left when it comes back.
   *
   * @throws FailedPrecondition while it is staged or a path is published on a node that is there
   */
  detachVolume(
    name: string,
    request: {
      readonly nodeName?: string;
      /** Goes by this alone: there may be no Volume of that name any more. */
      readonly volumeId?: string;
    },
  ): Promise<DetachResult>;

  createSnapshot(request: {
    readonly name: string;
    readonly volumeName: string;
    readonly freeze?: boolean;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly dryRun?: boolean;
  }): Promise<Snapshot>;
  /** @throws FailedPrecondition for a member of a group */
  deleteSnapshot(name: string, options?: { readonly dryRun?: boolean }): Promise<void>;
  createSnapshotGroup(request: {
    readonly name: string;
    readonly volumeNames: readonly string[];
    readonly freeze?: boolean;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly dryRun?: boolean;
  }): Promise<SnapshotGroup>;
  /** With all its members. */
  deleteSnapshotGroup(name: string): Promise<void>;

  /** dryRun tells the steps, without touching anything. */
  createPool(request: {
    readonly name: string;
    readonly spec: Partial<PoolSpec> & Pick<PoolSpec, 'source'>;
    readonly labels?: Readonly<Record<string, string>>;
    readonly dryRun?: boolean;
  }): Promise<{ readonly pool: Pool; readonly plan: readonly string[]; readonly warnings: readonly Cause[] }>;
  updatePool(
    name: string,
    spec: Partial<Pick<PoolSpec, 'reservePercent' | 'overcommitRatio' | 'warnPercent' | 'cordoned' | 'deviceClass'>>,
  ): Promise<Pool>;
  /** Moves every volume to other pools of the machine; `cannot` names what stays and why. */
  drainPool(
    name: string,
    options?: { readonly cancel?: boolean; readonly dryRun?: boolean },
  ): Promise<{
    readonly pool: Pool;
    readonly moves: readonly { readonly volume: string; readonly to: string }[];
    readonly cannot: readonly { readonly volume: string; readonly why: Cause }[];
  }>;
  /**
   * Adds disks to a pool, or takes some out once they are empty; `plan` tells the steps. Disks to take out are named by
   * path, serial number or id.
   */
  changeDisks(
    name: string,
    request: {
      readonly add?: readonly string[];
      readonly confirmedIds?: readonly string[];
      readonly remove?: readonly string[];
      readonly dryRun?: boolean;
    },
  ): Promise<{ readonly pool: Pool; readonly plan: readonly string[]; readonly warnings: readonly Cause[] }>;
  /** Forgets an empty pool; with destroy its own files go too. @throws FailedPrecondition while it holds volumes */
  removePool(name: string, options?: { readonly destroy?: boolean; readonly dryRun?: boolean }): Promise<void>;

  /**
   * Makes objects again of volumes and snapshots that lie on a pool without any, as the node's agent finds them: under
   * their names, with their ids. dryRun tells what would become of each.
   *
   * @throws NotFound for a volume that is not there; Unavailable when the node does not look in time
   */
  adoptPool(name: string, request: AdoptRequest): Promise<AdoptAnswer>;

  createClass(name: string, spec: Partial<ClassSpec>): Promise<Class>;
  updateClass(name: string, spec: Partial<ClassSpec>): Promise<Class>;
  deleteClass(name: string): Promise<void>;
  cordonNode(name: string, cordoned: boolean): Promise<Node>;

  /** The one cause that keeps an object from being as it should be; undefined when all is well. */
  why(kind: string, name: string): Promise<WhyAnswer>;
  /** Everything that is not as it should be, each root cause once, with what it affects. */
  status(): Promise<InstanceStatus>;
}

export interface CreateVolumeRequest {
  readonly name: string;
  /** Optional with a source: then the source's size. */
  readonly sizeBytes?: number;
  readonly className?: string;
  /** Instead of the class's engine. */
  readonly engine?: string;
  /** Instead of the class's: only pools on disks of this kind. */
  readonly deviceClass?: string;
  readonly mode?: 'filesystem' | 'block';
  readonly provisioning?: 'thin' | 'thick';
  readonly filesystem?: 'xfs' | 'ext4';
  readonly encryption?: 'none' | 'luks2';
  readonly encryptionKeyFile?: string;
  readonly encryptionDiscard?: boolean;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly source?: VolumeSource;
  readonly poolName?: string;
  /** Only on these nodes, the first ones preferred (CSI topology); kept in spec.nodeNames. */
  readonly nodeNames?: readonly string[];
  /** Instead of the class's time in the recycle bin. */
  readonly recycleMs?: number;
  readonly claim?: ClaimRef;
  /** A reservation of the view that the volume takes over. */
  readonly reservation?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly dryRun?: boolean;
}

export interface AdoptRequest {
  /** Names or ids; or all. */
  readonly volumes?: readonly string[];
  readonly all?: boolean;
  /** Another name, for one volume. */
  readonly as?: string;
  /** Where the key of the encrypted ones lies on the node now; what stands beside the data unless told. */
  readonly keyFile?: string;
  readonly dryRun?: boolean;
}

export interface Adopted {
  readonly volume: string;
  readonly volumeId: string;
  /** Zero when only snapshots of a volume that has its objects were adopted. */
  readonly sizeBytes: number;
  readonly recycled: boolean;
  readonly snapshots: readonly string[];
}

/** Why a volume stays without objects. */
export interface NotAdopted {
  readonly volume: string;
  readonly volumeId: string;
  readonly problem: string;
  readonly next: string;
}

export interface AdoptAnswer {
  readonly pool: string;
  readonly adopted: readonly Adopted[];
  readonly conflicts: readonly NotAdopted[];
  /** Volumes and snapshots beyond what a Pool object lists: asking again comes to them. */
  readonly unlisted: number;
}

/** What has come of a detachment. */
export interface DetachResult {
  /** Attachments that nobody is there to take down: who waits for them would wait for ever. */
  readonly unattended: readonly string[];
}

/** How a volume is to be used on a node. */
export interface AttachRequest {
  readonly nodeName: string;
  readonly access: 'filesystem' | 'block';
  readonly accessMode?: AccessMode;
  readonly readOnly: boolean;
  /** Beside those of the policy; checked against the list of possible ones. */
  readonly mountOptions: readonly string[];
  /** Attachments that the node may have; unlimited when absent. */
  readonly maxPerNode?: number;
  readonly observeRequestId: string;
}

/** Where a volume goes, or why not, for each pool that was looked at. */
export interface PlacementAnswer {
  readonly chosen: readonly { readonly nodeName: string; readonly poolName: string }[];
  readonly considered: readonly {
    readonly nodeName: string;
    readonly poolName: string;
    readonly fits: boolean;
    readonly reason: string;
    readonly score?: number;
  }[];
}

export interface WhyAnswer {
  readonly kind: string;
  readonly name: string;
  readonly healthy: boolean;
  readonly phase: string;
  /** The root, never a symptom of another. */
  readonly cause?: Cause;
  /** From the object that was asked about down to the one that has the cause. */
  readonly path: readonly { readonly kind: string; readonly name: string }[];
}

export interface InstanceStatus {
  readonly node: string;
  readonly version: string;
  readonly pools: readonly Pool[];
  readonly volumes: {
    readonly total: number;
    readonly attached: number;
    readonly byPhase: Readonly<Record<string, number>>;
  };
  readonly snapshots: number;
  readonly recycled: { readonly count: number; readonly bytes: number };
  readonly runningTasks: readonly {
    readonly name: string;
    readonly verb: string;
    readonly subject: string;
    readonly step?: string;
  }[];
  readonly problems: readonly { readonly cause: Cause; readonly affects: readonly string[] }[];
}
