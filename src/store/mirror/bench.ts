import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import { silentLogger } from '../../lib/log.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { Kind } from '../../model/kinds.ts';
import { finalizers } from '../../model/names.ts';
import { change, changeStatus } from '../change.ts';
import { eventually } from '../contract-helpers.ts';
import { openLmdbStore } from '../lmdb/lmdb-store.ts';
import type { LocalStore, Store } from '../store.ts';
import { nodeName } from './fixture.ts';
import { type Mirror, startMirror } from './mirror.ts';

const cleanUps: (() => Promise<void>)[] = [];

/** Stops and removes all benches of a test. */
export async function cleanUp(): Promise<void> {
  for (const each of cleanUps.splice(0).reverse()) await each();
}

async function openStore(): Promise<LocalStore> {
  const path = await mkdtemp(join(tmpdir(), 'azekura-mirror-'));
  const store = await openLmdbStore({ path, clock: systemClock });
  cleanUps.push(async () => {
    await store.close();
    await rm(path, { recursive: true });
  });
  return store;
}

/** A cluster that can be cut off, and whose answers can be lost after the write. */
export class Line implements Store {
  readonly #store: Store;
  /** Calls until the line breaks; negative for never. */
  callsLeft = -1;
  writes = 0;
  #cut = new AbortController();

  constructor(store: Store) {
    this.#store = store;
  }

  cut(): void {
    this.callsLeft = 0;
    this.#cut.abort();
  }

  mend(): void {
    this.callsLeft = -1;
    this.#cut = new AbortController();
  }

  async #through<T>(call: () => Promise<T>, isWrite: boolean): Promise<T> {
    if (this.callsLeft === 0) throw away();
    if (isWrite) this.writes++;
    const result = await call();
    if (this.callsLeft > 0) this.callsLeft--;
    // Done there, but nobody hears of it.
    if (this.callsLeft === 0) throw away();
    return result;
  }

  get: Store['get'] = (kind, name) => this.#through(() => this.#store.get(kind, name), false);
  find: Store['find'] = (kind, name) => this.#through(() => this.#store.find(kind, name), false);
  list: Store['list'] = (kind, options) => this.#through(() => this.#store.list(kind, options), false);
  create: Store['create'] = (object) => this.#through(() => this.#store.create(object), true);
  update: Store['update'] = (object) => this.#through(() => this.#store.update(object), true);
  updateStatus: Store['updateStatus'] = (object) => this.#through(() => this.#store.updateStatus(object), true);
  delete: Store['delete'] = (kind, name, only) => this.#through(() => this.#store.delete(kind, name, only), true);
  close = async () => {};

  async *watch<K extends Kind>(kind: K, options: Parameters<Store['watch']>[1] = {}) {
    if (this.callsLeft === 0) throw away();
    const signals = [this.#cut.signal, ...(options.signal ? [options.signal] : [])];
    yield* this.#store.watch(kind, { ...options, signal: AbortSignal.any(signals) });
    if (options.signal?.aborted !== true) throw away();
  }
}

function away(): AzekuraError {
  return new AzekuraError('Unavailable', 'the line is cut');
}

/** A cluster and a node, the line between them, and an agent of few words. */
export class Bench {
  readonly cluster: LocalStore;
  readonly node: LocalStore;
  readonly line: Line;
  #mirror: Mirror | undefined;

  constructor(cluster: LocalStore, node: LocalStore) {
    this.cluster = cluster;
    this.node = node;
    this.line = new Line(cluster);
    cleanUps.push(() => this.stop());
  }

  static async open(): Promise<Bench> {
    return new Bench(await openStore(), await openStore());
  }

  get mirror(): Mirror {
    if (!this.#mirror) throw new Error('it is not started');
    return this.#mirror;
  }

  start(): void {
    const { node: local, line: remote } = this;
    this.#mirror ??= startMirror({ local, remote, nodeName, clock: systemClock, log: silentLogger });
  }

  async stop(): Promise<void> {
    await this.#mirror?.stop();
    this.#mirror = undefined;
  }

  /** Until everything is carried over. */
  async rest(): Promise<void> {
    await this.mirror.synced;
    await eventually(async () => {
      expect(this.mirror.state()).toMatchObject({ pending: 0 });
    });
  }

  /** What an agent does: looks, reports, and lets go of what is to go. */
  async agent(): Promise<void> {
    for (const kind of ['Replica', 'Attachment'] as const)
      for (const { metadata } of (await this.node.list(kind)).items) {
        await changeStatus(this.node, kind, metadata.name, (stored) => ({
          observedGeneration: stored.metadata.generation,
        }));
        if (metadata.deletionTimestamp !== undefined)
          await change(this.node, kind, metadata.name, (stored) => ({
            metadata: { finalizers: stored.metadata.finalizers.filter((one) => one !== finalizers.agent) },
          }));
      }
  }
}

/** All that a mirror writes into a store. */
export async function contents(store: Store): Promise<unknown> {
  const kinds = ['Node', 'Replica', 'Attachment', 'Volume', 'Task'] as const;
  return Promise.all(kinds.map(async (kind) => (await store.list(kind)).items));
}
