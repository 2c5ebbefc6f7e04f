import type { Clock } from '../../lib/clock.ts';

/** Why an object is not the same on both sides, and will not be by itself. */
export type Trouble = 'keep' | 'conflict';

/** What is not carried over yet, and since when. */
export class Stragglers {
  readonly #clock: Clock;
  readonly #since = new Map<string, number>();
  readonly #troubles = new Map<string, Trouble>();
  readonly #listeners: (() => void)[] = [];
  #lastSyncMs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A change of the object was heard of. */
  begin(key: string): void {
    if (!this.#since.has(key)) this.#since.set(key, this.#clock.nowMs());
  }

  /** Since when a change waits; to be handed to end(), so that a change meanwhile is not taken for done. */
  startOf(key: string): number | undefined {
    return this.#since.get(key);
  }

  /** Both sides said the same after `began`. */
  end(key: string, began: number | undefined): void {
    if (this.#since.get(key) === began) this.#since.delete(key);
    if (this.#since.size === 0) this.#lastSyncMs = this.#clock.nowMs();
  }

  keys(): readonly string[] {
    return [...this.#since.keys()];
  }

  /** Notes or forgets that an object stays different. */
  trouble(key: string, trouble: Trouble | undefined): void {
    if (this.#troubles.get(key) === trouble) return;
    if (trouble === undefined) this.#troubles.delete(key);
    else this.#troubles.set(key, trouble);
    for (const listener of this.#listeners) listener();
  }

  onTrouble(listener: () => void): void {
    this.#listeners.push(listener);
  }

  state(): {
    readonly lastSyncMs: number | undefined;
    readonly lagMs: number;
    readonly pending: number;
    readonly kept: readonly string[];
    readonly conflicts: readonly string[];
  } {
    let oldest = Number.POSITIVE_INFINITY;
    for (const sinceMs of this.#since.values()) oldest = Math.min(oldest, sinceMs);
    return {
      lastSyncMs: this.#lastSyncMs,
      lagMs: this.#since.size === 0 ? 0 : Math.max(0, this.#clock.nowMs() - oldest),
      pending: this.#since.size,
      kept: this.#inTrouble('keep'),
      conflicts: this.#inTrouble('conflict'),
    };
  }

  #inTrouble(trouble: Trouble): readonly string[] {
    return [...this.#troubles].flatMap(([key, one]) => (one === trouble ? [key] : [])).sort();
  }
}
