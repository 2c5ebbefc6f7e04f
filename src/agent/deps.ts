import type { EngineDefinition, PoolInspection } from '../engines/contract.ts';
import type { Host } from '../host/host.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { CrashPoint } from '../lib/steps.ts';
import type { Cause } from '../model/cause.ts';
import type { Attachment } from '../model/kinds.ts';
import type { PoolSpec } from '../model/pool.ts';
import type { InformerSource } from '../store/informer.ts';
import type { Store } from '../store/store.ts';
import type { KeyRing } from './encryption/key-ring.ts';

/** What an agent needs of the world. */
export interface AgentDeps {
  readonly store: Store;
  /** Informers that the process has already; whoever made them closes them. */
  readonly informers?: InformerSource;
  readonly host: Host;
  /** engines/registry.ts' engineDefinition(), or a test's own. */
  readonly engines: (kind: string) => EngineDefinition;
  /** A DNS label: the name of this machine's Node object. */
  readonly nodeName: string;
  /** Everything of the instance lies below it: mounts/, run/. Absolute, without a trailing slash. */
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Azekura's own version, shown on the Node. */
  readonly version: string;
  /** Tests kill the process here. */
  readonly crashPoint?: CrashPoint;
  readonly topology?: Readonly<Record<string, string>>;
  /** What else is not well on this node, to be shown on its Node object. */
  readonly moreCauses?: () => readonly Cause[];
}

/** Keys of encrypted volumes that come with requests: kept in memory while the request lasts. */
export type KeyOffers = Pick<KeyRing, 'offer'>;

/** The agent of one node: converges its pools, replicas, attachments and snapshots to their specs. */
export interface Agent {
  readonly keys: KeyOffers;
  /** Registers the node, thaws leaked freezes, opens the pools, and begins to converge. Resolves when the node is Ready. */
  start(): Promise<void>;
  /** Ends quietly: running steps finish within the deadline, mounted volumes stay mounted. */
  stop(deadlineMs?: number): Promise<void>;
  /** Begins the direct use of a volume by somebody who writes its Attachment and waits; undefined while it cannot be. */
  beginUse(volumeId: string): DirectUse | undefined;
  /** Looks at a place on this machine as a pool, without changing anything. @throws AzekuraError as Engine.pools.inspect */
  inspectPool(name: string, spec: PoolSpec): Promise<PoolInspection>;
  /**
   * Checks whether a volume can be shown at a path of this machine.
   *
   * @throws AzekuraError FailedPrecondition with blame MountPointBusy; InvalidArgument for a path inside the data folder
   */
  checkMountPoint(path: string, mode: 'filesystem' | 'block', volumeId: string): Promise<void>;
}

/** How an attachment is stored after it was converged; undefined once it is gone. */
export interface Converged {
  readonly attachment: Attachment | undefined;
}

/** The use of a volume by somebody who writes what is wanted and waits for it. */
export interface DirectUse {
  /**
   * Converges the attachment that was just written.
   *
   * @returns undefined when it takes the way over the watch and the queue: its end is seen in the store
   */
  converge(written: Attachment): Promise<Converged | undefined>;
  /** To be called at the end, whatever happened. */
  end(): void;
}
