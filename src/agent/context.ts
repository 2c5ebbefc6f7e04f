import type { Engine, EngineDefinition, PoolRef, VolumeRef } from '../engines/contract.ts';
import { encrypted } from '../engines/encrypted/index.ts';
import type { Kernel } from '../host/kernel.ts';
import { timestamp } from '../lib/clock.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import type { Steps } from '../lib/steps.ts';
import { makeCause, worstCause } from '../model/cause.ts';
import { causeCatalogue } from '../model/causes.ts';
import { blamed } from '../model/errors.ts';
import type { Attachment, Pool, Replica } from '../model/kinds.ts';
import { attachmentName } from '../model/names.ts';
import { placeOf } from '../model/pool.ts';
import type { AgentDeps } from './deps.ts';
import { KeyRing } from './encryption/key-ring.ts';
import { keysOf } from './encryption/keys.ts';
import type { AgentState } from './state.ts';
import type { TaskBook } from './tasks.ts';

/** Keys of the agent's queue. */
export const keys = {
  node: 'node',
  pool: (name: string) => `pool/${name}`,
  volume: (volumeId: string) => `volume/${volumeId}`,
  group: (name: string) => `group/${name}`,
  orphans: (poolName: string) => `orphans/${poolName}`,
  trim: (volumeId: string) => `trim/${volumeId}`,
  sweep: 'sweep',
} as const;

/** What the watch has told of a volume's attachments while somebody converges them: by uid, what is wanted. */
export interface ExpectedUse {
  count: number;
  readonly missed: Map<string, string>;
}

/** What every part of the agent works with. Made once by agent.ts. */
export class AgentContext {
  readonly deps: AgentDeps;
  readonly state: AgentState;
  readonly tasks: TaskBook;
  /** Triggers a key of the queue, now or later. */
  readonly trigger: (key: string, afterMs?: number) => void;
  /** Whoever works on a volume holds its id: its reconciler, or a snapshot group over several. */
  readonly volumeLocks = new KeyedLock();
  /** Volumes whose file system is being frozen by a running operation: the sweep leaves them alone. */
  readonly activeFreezes = new Set<string>();
  /**
   * Pools that this process has looked at and swept. Before that nothing is done on them: the sweep would take the work
   * folders of what has just begun for leftovers.
   */
  readonly servedPools = new Set<string>();
  /** What is wanted of attachments and has been seen to, by uid: no news when the watch tells of it. See wantedOf(). */
  readonly seenTo = new Map<string, string>();
  /** Volumes that somebody uses directly just now, see volume/use.ts; and the passes of that. */
  readonly expected = new Map<string, ExpectedUse>();
  readonly inUse = new Set<Promise<void>>();
  /** Generations of copies that a pass of this process has found, or made, as they should be, by uid. */
  readonly settled = new Map<string, number>();
  /** Pools whose volumes have been compared with the objects since they were opened last. */
  readonly scannedPools = new Set<string>();
  /** One trim at a time on a pool. */
  readonly trimLocks = new KeyedLock();
  /** Keys that came with requests. */
  readonly keyRing: KeyRing;
  readonly #engineLocks = new KeyedLock();

  constructor(
    deps: AgentDeps,
    state: AgentState,
    tasks: TaskBook,
    trigger: (key: string, afterMs?: number) => void,
    keyRing = new KeyRing(),
  ) {
    this.deps = deps;
    this.state = state;
    this.tasks = tasks;
    this.trigger = trigger;
    this.keyRing = keyRing;
  }

  get now(): string {
    return timestamp(this.deps.clock);
  }

  /** Folder of staging mounts. */
  get mountsDir(): string {
    return `${this.deps.dataDir}/mounts`;
  }

  /** Folder of what must be known after a crash: freezes and mount points that we made. */
  get runDir(): string {
    return `${this.deps.dataDir}/run`;
  }

  /** Calls on the instance's own files. */
  get ownKernel(): Kernel {
    return this.deps.host.kernel('agent');
  }

  /** Calls on what lies above a volume's device: contained to that volume. */
  volumeKernel(volumeId: string): Kernel {
    return this.deps.host.kernel(`volume/${volumeId}`);
  }

  /** The attachment of a volume on this node as it is stored: also what was written a moment ago. */
  attachmentNow(volumeId: string): Promise<Attachment | undefined> {
    return this.deps.store.find('Attachment', attachmentName(volumeId, this.deps.nodeName));
  }

  definition(kind: string): EngineDefinition {
    return this.deps.engines(kind);
  }

  /** The engine of a replica's policy, with the layers above it that the policy asks for. */
  definitionOf(replica: Pick<Replica, 'spec' | 'status'>): EngineDefinition {
    const { engine, encryption, encryptionDiscard } = replica.spec.policy;
    if (encryption === 'none') return this.definition(engine);
    return encrypted(this.definition(engine), {
      keysOf: () => keysOf({ keyRing: this.keyRing, ...this.deps }, replica),
      discards: encryptionDiscard ?? true,
    });
  }

  /** What holds a replica, for one operation: reporting to its steps; without steps for looking only. */
  engineOf(replica: Pick<Replica, 'spec' | 'status'>, steps: Steps = this.tasks.quietSteps): Engine {
    return this.#create(this.definitionOf(replica), replica.spec.policy.engine, steps);
  }

  /** An engine for one operation on its pools. */
  engine(kind: string, steps: Steps = this.tasks.quietSteps): Engine {
    return this.#create(this.definition(kind), kind, steps);
  }

  #create(definition: EngineDefinition, kind: string, steps: Steps): Engine {
    const { host, clock, log, nodeName } = this.deps;
    return definition.create({
      host,
      clock,
      log,
      steps,
      locks: this.#engineLocks,
      nodeName,
      runtimeDir: `${this.runDir}/engine-${kind}`,
    });
  }

  /** The pool of this node, when it is open. @throws AzekuraError FailedPrecondition with the pool's own cause as blame */
  openPool(name: string): Pool {
    const pool = this.state.pools.get(name);
    if (pool && pool.spec.nodeName === this.deps.nodeName && pool.status.poolId !== undefined && isUsable(pool))
      return pool;
    const blocking = pool?.status.causes.filter((cause) => causeCatalogue[cause.code].severity === 'blocking') ?? [];
    const place = pool?.status.path ?? (pool ? placeOf(pool.spec.source) : 'there is no such pool');
    throw blamed('FailedPrecondition', worstCause(blocking) ?? makeCause('PoolMissing', { pool: name, place }));
  }

  /** Whether the volume's pools have been looked at by this process, as far as they exist. */
  isServed(volumeId: string): boolean {
    const names = this.state.replicasOf(volumeId).map((replica) => replica.spec.poolName);
    return names.every((name) => this.servedPools.has(name) || this.state.pools.get(name) === undefined);
  }

  /** The volume as the engine names it. @throws AzekuraError as openPool */
  volumeRef(replica: Replica): VolumeRef {
    return { pool: poolRef(this.openPool(replica.spec.poolName)), volumeId: replica.spec.volumeId };
  }
}

/** A pool that is to be removed serves until its last volume is gone. */
function isUsable({ status }: Pool): boolean {
  return status.phase === 'Ready' || status.phase === 'Draining' || status.phase === 'Removing';
}

/** A Pool object as the engine needs it. */
export function poolRef(pool: Pick<Pool, 'metadata' | 'spec' | 'status'>): PoolRef {
  const { source, reservePercent, acceptNoJournal, trial, leavingDisks } = pool.spec;
  return {
    name: pool.metadata.name,
    source,
    reservePercent,
    acceptNoJournal,
    trial,
    leavingDisks,
    ...(pool.status.poolId === undefined ? {} : { poolId: pool.status.poolId }),
  };
}
