import { backoffMs } from '../lib/backoff.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { type Logger, silentLogger } from '../lib/log.ts';
import { AzekuraError, hasCode } from '../model/errors.ts';
import type { Kind, Resource } from '../model/kinds.ts';
import type { Store, WatchEvent } from './store.ts';

/** What happened to one object. A new object under an old name is `deleted` (with the old one), then `added`. */
export interface InformerEvent<K extends Kind> {
  readonly type: 'added' | 'modified' | 'deleted';
  /** The new state; for `deleted` the last one that is known. */
  readonly object: Resource<K>;
}

/**
 * All objects of a kind in memory, kept up to date by a watch. What it says may lag behind the store; every final state
 * arrives in the end, states in between may be left out.
 */
export interface Informer<K extends Kind> {
  readonly kind: K;
  /** Resolves when the first list is complete; rejects (Unavailable) when it is closed before. */
  readonly synced: Promise<void>;
  get(name: string): Resource<K> | undefined;
  /** In the order of names. */
  list(): readonly Resource<K>[];
  /**
   * Calls back after the cache has taken a change in. A listener that comes late hears of what is already there as
   * `added`, so that nothing is missed whatever the order of wiring.
   *
   * @returns ends the calls
   */
  onChange(listener: (event: InformerEvent<K>) => void): () => void;
  /** Ends the watch; resolves when it has ended. */
  close(): Promise<void>;
}

export interface InformerOptions {
  readonly log?: Logger;
  readonly clock?: Clock;
}

/** Starts an informer. It lists and watches, and does so again, with back-off, whenever its watch breaks. */
export function createInformer<K extends Kind>(store: Store, kind: K, options: InformerOptions = {}): Informer<K> {
  return new StoreInformer(store, kind, options.log ?? silentLogger, options.clock ?? systemClock);
}

class StoreInformer<K extends Kind> implements Informer<K> {
  readonly kind: K;
  readonly synced: Promise<void>;
  readonly #store: Store;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #objects = new Map<string, Resource<K>>();
  readonly #listeners = new Set<(event: InformerEvent<K>) => void>();
  readonly #closing = new AbortController();
  readonly #ended: Promise<void>;
  #sorted: readonly Resource<K>[] | undefined;
  #markSynced: () => void = () => {};
  /** From here a broken watch goes on; undefined when everything must be listed again. */
  #version: string | undefined;
  /** Names met since a list began; what is cached and not among them at its end was deleted meanwhile. */
  #listed: Set<string> | undefined;
  #failures = 0;

  constructor(store: Store, kind: K, log: Logger, clock: Clock) {
    this.kind = kind;
    this.#store = store;
    this.#log = log.child({ informer: kind });
    this.#clock = clock;
    this.synced = new Promise<void>((resolve, reject) => {
      this.#markSynced = resolve;
      this.#closing.signal.addEventListener('abort', () =>
        reject(new AzekuraError('Unavailable', `The informer of ${kind} was closed before it had listed the objects.`)),
      );
    });
    this.synced.catch(() => {});
    this.#ended = this.#run();
  }

  get(name: string): Resource<K> | undefined {
    return this.#objects.get(name);
  }

  list(): readonly Resource<K>[] {
    this.#sorted ??= [...this.#objects.values()].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
    return this.#sorted;
  }

  onChange(listener: (event: InformerEvent<K>) => void): () => void {
    this.#listeners.add(listener);
    for (const object of this.list()) this.#call(listener, { type: 'added', object });
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        if (this.#version === undefined) this.#listed = new Set();
        const from = this.#version === undefined ? {} : { from: this.#version };
        for await (const event of this.#store.watch(this.kind, { ...from, signal })) this.#take(event);
      } catch (error) {
        if (signal.aborted) return;
        // What the watch had not delivered is lost with it, so only a new list can tell the deletions.
        if (hasCode(error, 'Expired')) this.#version = undefined;
        this.#log.warn({ err: error, relist: this.#version === undefined }, 'the watch broke; trying again');
      }
      if (!signal.aborted) await this.#sleep(backoffMs(this.#failures++, { baseMs: 50, capMs: 10_000 }));
    }
  }

  #take(event: WatchEvent<K>): void {
    switch (event.type) {
      case 'synced':
        this.#endList();
        break;
      case 'bookmark':
        break;
      case 'deleted':
        this.#listed?.delete(event.object.metadata.name);
        this.#remove(event.object);
        break;
      default:
        this.#listed?.add(event.object.metadata.name);
        this.#put(event.object);
    }
    if (this.#listed) return;
    this.#version = event.resourceVersion;
    this.#failures = 0;
  }

  #endList(): void {
    const listed = this.#listed;
    this.#listed = undefined;
    if (listed) for (const [name, object] of this.#objects) if (!listed.has(name)) this.#remove(object);
    this.#markSynced();
  }

  #put(object: Resource<K>): void {
    const { name, uid, resourceVersion } = object.metadata;
    const known = this.#objects.get(name);
    if (known?.metadata.uid === uid && known.metadata.resourceVersion === resourceVersion) return;
    if (known && known.metadata.uid !== uid) this.#remove(known);
    const type = this.#objects.has(name) ? 'modified' : 'added';
    this.#objects.set(name, object);
    this.#sorted = undefined;
    this.#tell({ type, object });
  }

  #remove(object: Resource<K>): void {
    if (!this.#objects.delete(object.metadata.name)) return;
    this.#sorted = undefined;
    this.#tell({ type: 'deleted', object });
  }

  #tell(event: InformerEvent<K>): void {
    for (const listener of [...this.#listeners]) this.#call(listener, event);
  }

  #call(listener: (event: InformerEvent<K>) => void, event: InformerEvent<K>): void {
    try {
      listener(event);
    } catch (error) {
      this.#log.error({ err: error, object: event.object.metadata.name }, 'a listener failed');
    }
  }

  #sleep(delayMs: number): Promise<void> {
    const { signal } = this.#closing;
    return new Promise((resolve) => {
      const wake = () => {
        cancel();
        signal.removeEventListener('abort', wake);
        resolve();
      };
      const cancel = this.#clock.after(delayMs, wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }
}
