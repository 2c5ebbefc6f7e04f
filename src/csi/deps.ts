import type { KeyOffers } from '../agent/index.ts';
import type { Operations } from '../control/operations.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { ClaimRef } from '../model/claim.ts';
import type { Attachment, Replica, Snapshot, Volume } from '../model/kinds.ts';
import type { ClaimRequest, Stock } from '../placement/index.ts';
import type { Informer } from '../store/informer.ts';
import type { Store } from '../store/store.ts';

/** The state in memory that the services read and wait on; control's View is one. */
export interface CsiView {
  readonly nodes: Informer<'Node'>;
  readonly pools: Informer<'Pool'>;
  readonly classes: Informer<'Class'>;
  readonly volumes: Informer<'Volume'>;
  readonly attachments: Informer<'Attachment'>;
  readonly snapshots: Informer<'Snapshot'>;
  readonly groups: Informer<'SnapshotGroup'>;
  /** The pools with what is left of them. */
  readonly stock: Stock;
  volumeOf(volumeId: string): Volume | undefined;
  replicasOf(volumeId: string): readonly Replica[];
  attachmentsOf(volumeId: string): readonly Attachment[];
  snapshotsOf(volumeId: string): readonly Snapshot[];
  readonly synced: Promise<void>;
}

/** Room that is kept for the claims of pods. */
export interface ClaimRoom {
  /**
   * Finds room for a claim together with the other claims of its pod, and keeps it.
   *
   * @returns what is kept, until it is released; undefined when there is nothing to keep
   * @throws AzekuraError ResourceExhausted when no admitted node holds all of them: nothing is kept then
   */
  reserve(ref: ClaimRef, wanted: ClaimRequest, nodeNames: readonly string[] | undefined): KeptRoom | undefined;
}

/** Room that is kept for a claim while its volume is made. */
export interface KeptRoom {
  /** Of the reservation, which the volume takes over. */
  readonly key: string;
  /** To be called once, when the call has ended: the view knows the volume then, or there is none. */
  release(): void;
}

/** A range of bytes of a snapshot. */
export interface BlockRange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** Part of a list of ranges; `nextBytes` is where to go on, undefined at the end. */
export interface BlockRangePage {
  readonly ranges: readonly BlockRange[];
  readonly nextBytes?: number;
}

/** Where a page begins and how many ranges it may have. */
export interface BlockPage {
  readonly fromBytes: number;
  readonly limit: number;
}

/**
 * Which blocks a snapshot holds, and which differ between two. The wiring asks the engine of the node that holds them.
 * Ranges are ascending, do not overlap, and are not cut at `fromBytes` unless they begin before it.
 */
export interface ChangedBlocks {
  allocated(snapshot: Snapshot, page: BlockPage): Promise<BlockRangePage>;
  /** @throws AzekuraError FailedPrecondition when the engine cannot compare these two */
  changed(base: Snapshot, target: Snapshot, page: BlockPage): Promise<BlockRangePage>;
}

/** What the node service asks of its machine. Every call has a deadline of its own and is contained to the volume. */
export interface NodeHost {
  /** Size and use of the file system that is mounted at the path. */
  filesystemUsage(
    volumeId: string,
    path: string,
  ): Promise<{
    readonly sizeBytes: number;
    readonly availableBytes: number;
    readonly usedBytes: number;
    readonly files: number;
    readonly filesFree: number;
  }>;
  /** Removes an empty folder or empty file that is no mount point; leaves anything else. */
  removeMountPoint(path: string): Promise<void>;
}

/** The agent at work for a call that has written what it wants: it need not wait to be told by the watch. */
export interface DirectUse {
  /** Tells how the attachment is afterwards; undefined when the watch will tell. */
  converge(written: Attachment): Promise<{ readonly attachment: Attachment | undefined } | undefined>;
  /** To be called at the end, whatever happened. */
  end(): void;
}

/** The driver's name: the provisioner of StorageClasses. It begins and ends with a letter, as csi-sanity demands. */
export const driverName = 'csi.azekura.dev';

/** What the services need of the world. */
export interface CsiDeps {
  readonly store: Store;
  readonly operations: Operations;
  readonly view: CsiView;
  readonly changedBlocks: ChangedBlocks;
  /** Room for the claims of pods, in a cluster. */
  readonly claimRoom?: ClaimRoom;
  readonly clock: Clock;
  readonly log: Logger;
  readonly version: string;
  /** The machine of the node service. */
  readonly nodeName: string;
  readonly nodeHost: NodeHost;
  /** Begins the direct use of a volume of this machine's agent; absent where the agent lives elsewhere. */
  readonly beginUse?: (volumeId: string) => DirectUse | undefined;
  /** The only folder in which the orchestrator may name staging and target paths; any when absent. */
  readonly targetRoot?: string;
  /** Takes the keys that requests bring for encrypted volumes; absent where no volume is staged. */
  readonly keys?: KeyOffers;
  /** Volumes that may be attached to a node; 0 leaves it to the orchestrator. */
  readonly maxVolumesPerNode: number;
  /** Whether the process can serve at all: its state is read, its node is registered. */
  readonly ready: () => boolean;
}
