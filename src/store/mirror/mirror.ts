import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { type RunResult, WorkQueue } from '../../lib/work-queue.ts';
import { hasCode } from '../../model/errors.ts';
import type { Resource } from '../../model/kinds.ts';
import { createInformer, type Informer } from '../informer.ts';
import type { Fields, LocalStore, Store } from '../store.ts';
import { ByVolume, type Informers } from './by-volume.ts';
import { Carrier, mostRounds } from './carry.ts';
import { ContactStore } from './contact.ts';
import { isCopy, type MirrorKind, mirrorKinds } from './flows.ts';
import { Stragglers } from './stragglers.ts';
import { isReportable, reportTask } from './tasks.ts';
import { isMadeHere, volumeOnNode } from './volumes.ts';

const parallelism = 8;
const backoffCapMs = 15_000;
const againAfterMs = 1_000;

export interface MirrorOptions {
  /** The node's own store, which the agent works on. */
  readonly local: LocalStore;
  /** The cluster's. */
  readonly remote: Store;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** How the mirror is doing. */
export interface MirrorState {
  /** Whether the cluster answered last; undefined before the first answer. */
  readonly reachable: boolean | undefined;
  /** Milliseconds since the epoch. */
  readonly lastAnswerMs: number | undefined;
  /** When both sides last said the same of everything. */
  readonly lastSyncMs: number | undefined;
  /** How long the oldest change has waited to be carried over. */
  readonly lagMs: number;
  /** Objects with changes that are not carried over yet. */
  readonly pending: number;
  /** `Kind/name` of copies that the cluster does not know though nobody let them go: kept, to be adopted. */
  readonly kept: readonly string[];
  /** `Kind/name` of objects under whose name the cluster has something else. */
  readonly conflicts: readonly string[];
}

/** Joins the store of a node with the cluster's. */
export interface Mirror {
  /** Resolves when all that the cluster had at the start has been carried over; rejects when it is stopped before. */
  readonly synced: Promise<void>;
  state(): MirrorState;
  /** Called whenever the lists of kept or conflicting objects change. */
  onTrouble(listener: () => void): void;
  stop(deadlineMs?: number): Promise<void>;
}

/** Begins to mirror; it goes on by itself, also while the cluster does not answer. */
export function startMirror(options: MirrorOptions): Mirror {
  return new StoreMirror(options);
}

class StoreMirror implements Mirror {
  readonly synced: Promise<void>;
  readonly #local: LocalStore;
  readonly #remote: ContactStore;
  readonly #log: Logger;
  readonly #queue: WorkQueue;
  readonly #stragglers: Stragglers;
  readonly #carrier: Carrier;
  readonly #here: Informers;
  readonly #there: Informers;
  readonly #byVolume: ByVolume;
  readonly #tasks: Informer<'Task'>;
  /** Kinds of which the cluster has told all objects: only then does a missing one mean anything. */
  readonly #told = new Set<MirrorKind>();

  constructor({ local, remote, nodeName, clock, log }: MirrorOptions) {
    this.#local = local;
    this.#log = log.child({ part: 'mirror' });
    const parts = { log: this.#log, clock };
    this.#stragglers = new Stragglers(clock);
    this.#remote = new ContactStore(remote, clock, () => this.#onReturn());
    this.#here = informersOf((kind) => createInformer(local, kind, parts));
    this.#there = informersOf((kind) =>
      createInformer(this.#remote, kind, { ...parts, fields: fieldsOf(kind, nodeName) }),
    );
    this.#byVolume = new ByVolume(this.#here, this.#there);
    this.#tasks = createInformer(local, 'Task', parts);
    this.#carrier = new Carrier({
      local,
      remote: this.#remote,
      nodeName,
      there: this.#there,
      byVolume: this.#byVolume,
      onTrouble: (key, trouble) => this.#stragglers.trouble(key, trouble),
    });
    this.#queue = new WorkQueue({
      clock,
      parallelism,
      capMs: backoffCapMs,
      run: (key) => this.#run(key),
      onError: (key, err, failures, retryAfterMs) => this.#onError(key, err, failures, retryAfterMs),
    });
    this.synced = this.#start();
    this.synced.catch(() => {});
  }

  state(): MirrorState {
    return { reachable: this.#remote.reachable, lastAnswerMs: this.#remote.lastAnswerMs, ...this.#stragglers.state() };
  }

  onTrouble(listener: () => void): void {
    this.#stragglers.onTrouble(listener);
  }

  async stop(deadlineMs = 5_000): Promise<void> {
    await this.#queue.stop(deadlineMs);
    const informers = [...Object.values(this.#here), ...Object.values(this.#there), this.#tasks];
    await Promise.all(informers.map((each) => each.close()));
  }

  async #start(): Promise<void> {
    await Promise.all([...Object.values(this.#here), this.#tasks].map((each) => each.synced));
    for (const kind of mirrorKinds) this.#listen(kind);
    // A Replica may have gone and the process ended before its Volume: nobody will speak of that one again.
    for (const { metadata } of (await this.#local.list('Volume')).items) this.#trigger(`Volume/${metadata.name}`);
    this.#tasks.onChange(({ object, type }) => {
      if (type !== 'deleted' && isReportable(object)) this.#trigger(`Task/${object.metadata.name}`);
    });
    await Promise.all(mirrorKinds.map((kind) => this.#there[kind].synced.then(() => this.#onTold(kind))));
    await this.#queue.idle();
  }

  #onTold(kind: MirrorKind): void {
    this.#told.add(kind);
    for (const side of [this.#here, this.#there])
      for (const { metadata } of side[kind].list()) this.#trigger(`${kind}/${metadata.name}`);
  }

  #listen(kind: MirrorKind): void {
    this.#here[kind].onChange(({ object, type }) => {
      this.#trigger(`${kind}/${object.metadata.name}`);
      if (object.kind === 'Replica') this.#onReplica(object as Resource<'Replica'>, type === 'deleted');
      if (object.kind === 'Attachment') this.#onAttachment(object as Resource<'Attachment'>);
    });
    this.#there[kind].onChange(({ object }) => {
      const key = `${kind}/${object.metadata.name}`;
      this.#carrier.heard(key);
      this.#trigger(key);
    });
  }

  #onReplica({ spec }: Resource<'Replica'>, gone: boolean): void {
    this.#trigger(`Volume/${spec.volumeName}`);
    // The deletion of a pool waits until it is empty.
    if (gone) this.#trigger(`Pool/${spec.poolName}`);
    for (const { metadata } of this.#byVolume.snapshots(spec.volumeId)) this.#trigger(`Snapshot/${metadata.name}`);
  }

  #onAttachment({ spec }: Resource<'Attachment'>): void {
    this.#trigger(`Volume/${spec.volumeName}`);
    // The deletion of a copy waits until nobody uses it.
    for (const { metadata } of this.#byVolume.replicasThere(spec.volumeId))
      if (metadata.deletionTimestamp !== undefined) this.#trigger(`Replica/${metadata.name}`);
  }

  #trigger(key: string): void {
    this.#stragglers.begin(key);
    this.#queue.add(key);
  }

  /** What failed while the cluster was away need not wait for the end of its back-off. */
  #onReturn(): void {
    this.#log.info({ pending: this.#stragglers.keys().length }, 'the cluster answers again');
    for (const key of this.#stragglers.keys()) this.#queue.add(key);
  }

  #onError(key: string, err: unknown, failures: number, retryAfterMs: number): void {
    const level = this.#remote.reachable === false ? 'debug' : 'warn';
    this.#log[level]({ err, key, failures, retryAfterMs }, 'not carried over; it is tried again');
  }

  async #run(key: string): Promise<RunResult> {
    const [kind = '', name = ''] = key.split('/');
    const began = this.#stragglers.startOf(key);
    const done = await this.#carry(kind, name);
    if (done === 'later') return { againAfterMs };
    if (done === 'done') this.#stragglers.end(key, began);
    return undefined;
  }

  async #carry(kind: string, name: string): Promise<'done' | 'later' | 'unknown'> {
    if (kind === 'Volume') return (await this.#makeVolume(name)) ? 'done' : 'later';
    if (kind === 'Task') {
      await reportTask(this.#local, this.#remote, name);
      return 'done';
    }
    if (!this.#told.has(kind as MirrorKind)) return 'unknown';
    return (await this.#carrier.carry(kind as MirrorKind, name)) ? 'done' : 'later';
  }

  /** The node's Volume follows its Replicas. */
  async #makeVolume(name: string): Promise<boolean> {
    const replicas = this.#byVolume.replicasNamed(name).filter(isCopy);
    const ids = new Set(replicas.map(({ spec }) => spec.volumeId));
    const wanted = volumeOnNode(name, replicas, [...ids].flatMap(this.#byVolume.attachments));
    for (let round = 0; round < mostRounds; round++) {
      const present = await this.#local.find('Volume', name);
      try {
        if (wanted) {
          const other = present !== undefined && present.status.volumeId !== wanted.status.volumeId;
          const taken = other && !isMadeHere(present);
          this.#stragglers.trouble(`Volume/${name}`, taken ? 'conflict' : undefined);
          if (!taken) await this.#local.put(wanted, present?.metadata.resourceVersion);
        } else if (present && isMadeHere(present)) {
          await this.#local.delete('Volume', name, { uid: present.metadata.uid });
        }
        return true;
      } catch (error) {
        if (!hasCode(error, 'Conflict')) throw error;
      }
    }
    return false;
  }
}

/** What the cluster is asked for: with a thousand nodes, nobody can be told of everything. */
function fieldsOf(kind: MirrorKind, nodeName: string): Fields {
  return kind === 'Node' ? { 'metadata.name': nodeName } : { 'spec.nodeName': nodeName };
}

function informersOf(make: (kind: MirrorKind) => Informer<MirrorKind>): Informers {
  return Object.fromEntries(mirrorKinds.map((kind) => [kind, make(kind)])) as unknown as Informers;
}
