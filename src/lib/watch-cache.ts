import { backoffMs } from './backoff.ts';
import { type Clock, pause, systemClock } from './clock.ts';
import { type Logger, silentLogger } from './log.ts';

/** What a watch delivers. `synced` ends the list that a watch without `from` begins with. */
export type SourceEvent<T> =
  | { readonly type: 'added' | 'modified' | 'deleted'; readonly object: T; readonly resourceVersion: string }
  | { readonly type: 'synced' | 'bookmark'; readonly resourceVersion: string };

/** What happened to one object. A new object under an old name is `deleted` (with the old one), then `added`. */
export interface CacheEvent<T> {
  readonly type: 'added' | 'modified' | 'deleted';
  /** The new state; for `deleted` the last one that is known. */
  readonly object: T;
}

/** Counts of what a cache goes through, for metrics. */
export interface CacheHooks {
  /** A list began: at the start, after Expired, or because its time had come. */
  onList?(reason: 'start' | 'expired' | 'periodic'): void;
  onEvent?(type: 'added' | 'modified' | 'deleted'): void;
  /** The watch broke; it is tried again. */
  onFailure?(error: unknown): void;
}

export interface WatchCacheOptions<T> extends CacheHooks {
  /** For the log. */
  readonly what: string;
  /** Without `from`: everything, then `synced`, then changes. Throws when it cannot go on. */
  readonly watch: (options: { from?: string; signal: AbortSignal }) => AsyncIterable<SourceEvent<T>>;
  readonly nameOf: (object: T) => string;
  /** Equal exactly for two states that need not be told apart. */
  readonly versionOf: (object: T) => string;
  /** Changes when an object is another one under the same name. */
  readonly uidOf: (object: T) => string;
  /** Whether an error of the watch means that its history is gone, so that everything must be listed again. */
  readonly isExpired: (error: unknown) => boolean;
  /** What `synced` is rejected with when the cache is closed before its first list is complete. */
  readonly closedError: () => Error;
  /** Lists everything again after this time, in case the watch missed something; never when absent. */
  readonly relistMs?: number;
  readonly log?: Logger;
  readonly clock?: Clock;
}

/**
 * All objects that a watch tells of, in memory. What it says may lag behind the source; every final state arrives in the
 * end, states in between may be left out. It lists and watches again, with back-off, whenever its watch breaks.
 */
export class WatchCache<T> {
  readonly synced: Promise<void>;
  readonly #options: WatchCacheOptions<T>;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #objects = new Map<string, T>();
  readonly #listeners = new Set<(event: CacheEvent<T>) => void>();
  readonly #closing = new AbortController();
  readonly #ended: Promise<void>;
  #sorted: readonly T[] | undefined;
  #markSynced: () => void = () => {};
  /** From here a broken watch goes on; undefined when everything must be listed again. */
  #version: string | undefined;
  /** Names met since a list began; what is cached and not among them at its end was deleted meanwhile. */
  #listed: Set<string> | undefined;
  #listReason: 'start' | 'expired' | 'periodic' = 'start';
  #failures = 0;

  constructor(options: WatchCacheOptions<T>) {
    this.#options = options;
    this.#log = (options.log ?? silentLogger).child({ informer: options.what });
    this.#clock = options.clock ?? systemClock;
    this.synced = new Promise<void>((resolve, reject) => {
      this.#markSynced = resolve;
      this.#closing.signal.addEventListener('abort', () => reject(options.closedError()));
    });
    this.synced.catch(() => {});
    this.#ended = this.#run();
  }

  get(name: string): T | undefined {
    return this.#objects.get(name);
  }

  /** In the order of names. */
  list(): readonly T[] {
    const { nameOf } = this.#options;
    this.#sorted ??= [...this.#objects.values()].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
    return this.#sorted;
  }

  /**
   * Calls back after the cache has taken a change in. A listener that comes late hears of what is already there as
   * `added`, so that nothing is missed whatever the order of wiring.
   *
   * @returns ends the calls
   */
  onChange(listener: (event: CacheEvent<T>) => void): () => void {
    this.#listeners.add(listener);
    for (const object of this.list()) this.#call(listener, { type: 'added', object });
    return () => this.#listeners.delete(listener);
  }

  /** Ends the watch; resolves when it has ended. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const relist = this.#relistTimer();
      try {
        if (this.#version === undefined) {
          this.#listed = new Set();
          this.#options.onList?.(this.#listReason);
        }
        const from = this.#version === undefined ? {} : { from: this.#version };
        const either = relist ? AbortSignal.any([signal, relist.signal]) : signal;
        for await (const event of this.#options.watch({ ...from, signal: either })) this.#take(event);
      } catch (error) {
        if (signal.aborted) return;
        // What the watch had not delivered is lost with it, so only a new list can tell the deletions.
        if (this.#options.isExpired(error)) this.#listAgain('expired');
        this.#options.onFailure?.(error);
        this.#log.warn({ err: error, relist: this.#version === undefined }, 'the watch broke; trying again');
      } finally {
        relist?.cancel();
      }
      if (relist?.signal.aborted) this.#listAgain('periodic');
      else if (!signal.aborted)
        await pause(this.#clock, backoffMs(this.#failures++, { baseMs: 50, capMs: 10_000 }), signal);
    }
  }

  #listAgain(reason: 'expired' | 'periodic'): void {
    this.#version = undefined;
    this.#listReason = reason;
  }

  /** Ends the present watch when it is time to list again; with jitter, so that many caches do not list at once. */
  #relistTimer(): { readonly signal: AbortSignal; cancel(): void } | undefined {
    const { relistMs } = this.#options;
    if (relistMs === undefined) return undefined;
    const due = new AbortController();
    const cancel = this.#clock.after(relistMs * (0.8 + Math.random() * 0.4), () => due.abort());
    return { signal: due.signal, cancel };
  }

  #take(event: SourceEvent<T>): void {
    switch (event.type) {
      case 'synced':
        this.#endList();
        break;
      case 'bookmark':
        break;
      case 'deleted':
        this.#listed?.delete(this.#options.nameOf(event.object));
        this.#remove(event.object);
        break;
      default:
        this.#listed?.add(this.#options.nameOf(event.object));
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

  #put(object: T): void {
    const { nameOf, uidOf, versionOf } = this.#options;
    const name = nameOf(object);
    const known = this.#objects.get(name);
    if (known !== undefined) {
      if (uidOf(known) !== uidOf(object)) this.#remove(known);
      else if (versionOf(known) === versionOf(object)) return;
    }
    const type = this.#objects.has(name) ? 'modified' : 'added';
    this.#objects.set(name, object);
    this.#sorted = undefined;
    this.#tell({ type, object });
  }

  #remove(object: T): void {
    if (!this.#objects.delete(this.#options.nameOf(object))) return;
    this.#sorted = undefined;
    this.#tell({ type: 'deleted', object });
  }

  #tell(event: CacheEvent<T>): void {
    this.#options.onEvent?.(event.type);
    for (const listener of [...this.#listeners]) this.#call(listener, event);
  }

  #call(listener: (event: CacheEvent<T>) => void, event: CacheEvent<T>): void {
    try {
      listener(event);
    } catch (error) {
      this.#log.error({ err: error, object: this.#options.nameOf(event.object) }, 'a listener failed');
    }
  }
}
