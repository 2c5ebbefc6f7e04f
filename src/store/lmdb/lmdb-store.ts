import { type Clock, timestamp } from '../../lib/clock.ts';
import { newUid } from '../../lib/id.ts';
import { type Logger, silentLogger } from '../../lib/log.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { Kind, NewResource, Resource } from '../../model/kinds.ts';
import { found } from '../found.ts';
import { deepFreeze } from '../frozen.ts';
import type { ListOptions, LocalStore, Preconditions, ResourceList, WatchEvent, WatchOptions } from '../store.ts';
import { checkStatus, checkUpdate, checkWhole, knownKind, newResource } from '../validate.ts';
import { CommitQueue } from './commit-queue.ts';
import { type History, makeHistory } from './history.ts';
import { acquireInstanceLock, type InstanceLock } from './instance-lock.ts';
import type { Tables } from './layout.ts';
import { Objects } from './objects.ts';
import { readList } from './paging.ts';
import { openTables } from './tables.ts';
import { Changes, followHistory } from './watch.ts';

export interface LmdbStoreOptions {
  /** The folder of the state; made when it is missing. */
  readonly path: string;
  readonly clock: Clock;
  readonly log?: Logger;
  /** Events of each kind that are kept for watches that resume and lists that go on; 1,000 unless told. */
  readonly historyLimit?: number;
  /** Name and version of the program, for the format record. */
  readonly writtenBy?: string;
}

/**
 * Opens the store of one machine. Only one process at a time may hold it.
 *
 * @throws AzekuraError FailedPrecondition when another process holds it, DataLoss when it cannot be read or is newer
 */
export async function openLmdbStore(options: LmdbStoreOptions): Promise<LocalStore> {
  const { path, clock, log = silentLogger, historyLimit = 1_000, writtenBy = 'azekura' } = options;
  const lock = await acquireInstanceLock(path);
  try {
    const tables = openTables({ path, writtenBy });
    const history = makeHistory(tables, historyLimit);
    const objects = new Objects(tables, history, () => timestamp(clock));
    const store = new LmdbStore({ path, tables, history, objects, lock, clock, log });
    await store.sweep();
    return store;
  } catch (error) {
    await lock.release();
    throw error;
  }
}

interface Parts {
  readonly path: string;
  readonly tables: Tables;
  readonly history: History;
  readonly objects: Objects;
  readonly lock: InstanceLock;
  readonly clock: Clock;
  readonly log: Logger;
}

class LmdbStore implements LocalStore {
  readonly #tables: Tables;
  readonly #history: History;
  readonly #objects: Objects;
  readonly #lock: InstanceLock;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #changes = new Changes();
  readonly #commits: CommitQueue;
  #closed: Promise<void> | undefined;

  constructor({ path, tables, history, objects, lock, clock, log }: Parts) {
    this.#tables = tables;
    this.#history = history;
    this.#objects = objects;
    this.#lock = lock;
    this.#clock = clock;
    this.#log = log;
    this.#commits = new CommitQueue(tables.root, path, {
      committed: () => this.#changes.announce(this.#history.committed()),
      failed: () => this.#history.abandoned(),
    });
  }

  async sweep(): Promise<void> {
    await this.#commits.submit(() => this.#objects.sweep());
  }

  async get<K extends Kind>(kind: K, name: string): Promise<Resource<K>> {
    return found(await this.find(kind, name), kind, name);
  }

  async find<K extends Kind>(kind: K, name: string): Promise<Resource<K> | undefined> {
    this.#checkOpen();
    return this.#objects.find(knownKind(kind), name);
  }

  async list<K extends Kind>(kind: K, options: ListOptions = {}): Promise<ResourceList<K>> {
    this.#checkOpen();
    return deepFreeze(readList(this.#tables, this.#history, knownKind(kind), options));
  }

  async create<K extends Kind>(object: NewResource<K>): Promise<Resource<K>> {
    this.#checkOpen();
    const checked = newResource(object, { uid: newUid(), creationTimestamp: timestamp(this.#clock) });
    return this.#write(() => this.#objects.create(checked));
  }

  async update<K extends Kind>(object: Resource<K>): Promise<Resource<K>> {
    this.#checkOpen();
    const part = checkUpdate(object);
    const { kind, metadata } = object;
    return this.#write(() => this.#objects.update(kind, metadata.name, metadata, part));
  }

  async updateStatus<K extends Kind>(object: Resource<K>): Promise<Resource<K>> {
    this.#checkOpen();
    const status = checkStatus(object);
    const { kind, metadata } = object;
    return this.#write(() => this.#objects.updateStatus(kind, metadata.name, metadata, status));
  }

  async put<K extends Kind>(object: Resource<K>, expected: string | undefined): Promise<Resource<K>> {
    this.#checkOpen();
    const checked = checkWhole(object);
    return this.#write(() => this.#objects.put(checked, expected));
  }

  async delete(
    kind: Kind,
    name: string,
    preconditions: Preconditions = {},
    annotations: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    this.#checkOpen();
    knownKind(kind);
    await this.#commits.submit(() => this.#objects.delete(kind, name, preconditions, annotations));
  }

  watch<K extends Kind>(kind: K, options: WatchOptions = {}): AsyncIterable<WatchEvent<K>> {
    this.#checkOpen();
    return followHistory(this.#history, this.#changes, knownKind(kind), options, () => {
      const { items, resourceVersion } = readList(this.#tables, this.#history, kind, { fields: options.fields ?? {} });
      return {
        items: items.map((object) => ({ type: 'added', object, resourceVersion: object.metadata.resourceVersion })),
        resourceVersion,
      };
    });
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#changes.close();
    await this.#commits.idle();
    await this.#tables.root.close();
    await this.#lock.release();
  }

  async #write<K extends Kind>(write: () => Resource<K>): Promise<Resource<K>> {
    const { written, isOrphan } = await this.#commits.submit(() => {
      const object = write();
      return { written: object, isOrphan: this.#objects.isOrphan(object) };
    });
    if (isOrphan) this.#collect(written);
    return written;
  }

  /** What was just written names owners that are gone. When we die before this is done, sweep() does it. */
  #collect({ kind, metadata: { name } }: Resource): void {
    if (this.#closed) return;
    this.#commits
      .submit(() => this.#objects.collect(kind, name))
      .catch((error: unknown) => this.#log.warn({ err: error, kind, name }, 'could not collect an orphan'));
  }

  #checkOpen(): void {
    if (this.#closed) throw new AzekuraError('Unavailable', 'the store is closed');
  }
}
