import { backoffMs } from './backoff.ts';
import type { Clock } from './clock.ts';

/** How a run of a key ended: done, or to be looked at again after a while though nothing failed. */
export type RunResult = { readonly againAfterMs?: number } | undefined;

export interface WorkQueueOptions {
  readonly clock: Clock;
  /** Runs at the same time over all keys. */
  readonly parallelism: number;
  /** Brings the key's object nearer to what it should be. An error is tried again with back-off. */
  readonly run: (key: string) => Promise<RunResult>;
  /** Keys of one group share a limit, so that a slow pool does not take every place. */
  readonly groupOf?: (key: string) => string | undefined;
  readonly groupParallelism?: number;
  readonly onError?: (key: string, error: unknown, failures: number, retryAfterMs: number) => void;
  readonly baseMs?: number;
  readonly capMs?: number;
  /** Injected for tests; returns a number in [0, 1). */
  readonly random?: () => number;
}

interface Entry {
  state: 'waiting' | 'queued' | 'running';
  /** Triggered again while running. */
  dirty: boolean;
  failures: number;
  cancelTimer?: (() => void) | undefined;
  /** When the timer ends, in milliseconds of the clock. */
  dueMs: number;
}

/**
 * The queue of a reconciler: one run per key at a time, triggers in between count once, at most `parallelism` runs in
 * all, first come first served between keys. A failed key comes back after an exponential back-off with jitter; a new
 * trigger brings it back at once, but only a success makes the back-off short again.
 */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #entries = new Map<string, Entry>();
  /** Keys in the order of their turn; those of a full group are passed over and keep their place. */
  readonly #ready = new Set<string>();
  readonly #runningByGroup = new Map<string, number>();
  #running = 0;
  #stopped = false;
  #whenIdle: (() => void)[] = [];

  constructor(options: WorkQueueOptions) {
    this.#options = options;
  }

  /** Triggers the key. While it runs, it runs once more afterwards. */
  add(key: string): void {
    if (this.#stopped) return;
    const entry = this.#entry(key);
    if (entry.state === 'running') {
      entry.dirty = true;
      return;
    }
    if (entry.state === 'queued') return;
    this.#enqueue(key, entry);
    this.#pump();
  }

  /** Triggers the key after a delay, unless it is triggered before; of several delays the one that ends first counts. */
  addAfter(key: string, delayMs: number): void {
    if (this.#stopped) return;
    const entry = this.#entry(key);
    const dueMs = this.#options.clock.nowMs() + delayMs;
    if (entry.state === 'waiting' && (entry.cancelTimer === undefined || dueMs < entry.dueMs))
      this.#wait(key, entry, delayMs);
  }

  /** Keys that run, wait for their turn, or for the end of a delay. */
  get size(): number {
    return this.#entries.size;
  }

  get running(): number {
    return this.#running;
  }

  /** Resolves when nothing runs and nothing waits for its turn; delayed keys do not count. */
  async idle(): Promise<void> {
    if (this.#running === 0 && this.#ready.size === 0) return;
    await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
  }

  /**
   * Takes no more triggers, starts nothing more, and waits for what runs.
   *
   * @returns whether all runs ended within the deadline
   */
  async stop(deadlineMs: number): Promise<boolean> {
    this.#stopped = true;
    this.#ready.clear();
    for (const entry of this.#entries.values()) entry.cancelTimer?.();
    if (this.#running === 0) return true;
    let cancel: () => void = () => {};
    const late = new Promise<boolean>((resolve) => {
      cancel = this.#options.clock.after(deadlineMs, () => resolve(false));
    });
    const ended = new Promise<boolean>((resolve) => this.#whenIdle.push(() => resolve(true)));
    try {
      return await Promise.race([ended, late]);
    } finally {
      cancel();
    }
  }

  #entry(key: string): Entry {
    const known = this.#entries.get(key);
    if (known) return known;
    const entry: Entry = { state: 'waiting', dirty: false, failures: 0, dueMs: 0 };
    this.#entries.set(key, entry);
    return entry;
  }

  #enqueue(key: string, entry: Entry): void {
    entry.cancelTimer?.();
    entry.cancelTimer = undefined;
    entry.state = 'queued';
    this.#ready.add(key);
  }

  #wait(key: string, entry: Entry, delayMs: number): void {
    entry.cancelTimer?.();
    entry.state = 'waiting';
    entry.dueMs = this.#options.clock.nowMs() + delayMs;
    entry.cancelTimer = this.#options.clock.after(delayMs, () => {
      if (this.#stopped || entry.state !== 'waiting') return;
      this.#enqueue(key, entry);
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#stopped) return;
    for (const key of this.#ready) {
      if (this.#running >= this.#options.parallelism) return;
      const group = this.#options.groupOf?.(key);
      const limit = this.#options.groupParallelism ?? Number.POSITIVE_INFINITY;
      if (group !== undefined && (this.#runningByGroup.get(group) ?? 0) >= limit) continue;
      this.#ready.delete(key);
      void this.#runOne(key, group);
    }
  }

  async #runOne(key: string, group: string | undefined): Promise<void> {
    const entry = this.#entry(key);
    entry.state = 'running';
    entry.dirty = false;
    this.#count(group, 1);
    let againAfterMs: number | undefined;
    try {
      againAfterMs = (await this.#options.run(key))?.againAfterMs;
      entry.failures = 0;
    } catch (error) {
      const { baseMs = 200, capMs = 60_000, random = Math.random } = this.#options;
      againAfterMs = backoffMs(entry.failures, { baseMs, capMs, random });
      entry.failures++;
      this.#options.onError?.(key, error, entry.failures, againAfterMs);
    }
    this.#count(group, -1);
    entry.state = 'waiting';
    if (entry.dirty && !this.#stopped) this.#enqueue(key, entry);
    else if (againAfterMs !== undefined && !this.#stopped) this.#wait(key, entry, againAfterMs);
    else this.#entries.delete(key);
    this.#pump();
    if (this.#running > 0 || this.#ready.size > 0) return;
    const waiters = this.#whenIdle;
    this.#whenIdle = [];
    for (const resolve of waiters) resolve();
  }

  #count(group: string | undefined, by: 1 | -1): void {
    this.#running += by;
    if (group === undefined) return;
    const now = (this.#runningByGroup.get(group) ?? 0) + by;
    if (now === 0) this.#runningByGroup.delete(group);
    else this.#runningByGroup.set(group, now);
  }
}
