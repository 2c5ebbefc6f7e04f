/** Work that waits for a helper, by domain. */
export interface Queued {
  readonly domain: string;
}

/**
 * Waiting calls of many domains, served in turn: a domain with a thousand calls delays another one's first by one.
 * Also counts how many calls of a domain are at work.
 */
export class FairQueue<T extends Queued> {
  /** In the order in which the domains have their turn. */
  readonly #waiting = new Map<string, T[]>();
  readonly #busy = new Map<string, number>();
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(item: T): void {
    const items = this.#waiting.get(item.domain);
    if (items) items.push(item);
    else this.#waiting.set(item.domain, [item]);
    this.#length += 1;
  }

  /**
   * Takes the next item of a domain that may start one more, and counts it as busy. Domains with nothing at work come
   * first: whoever has calls that hang gets further helpers only when nobody else waits.
   */
  take(mayStart: (domain: string, busy: number) => boolean): T | undefined {
    let next: string | undefined;
    for (const domain of this.#waiting.keys()) {
      const busy = this.#busy.get(domain) ?? 0;
      if (next !== undefined && busy > 0) continue;
      if (!mayStart(domain, busy)) continue;
      next = domain;
      if (busy === 0) break;
    }
    const items = next === undefined ? undefined : this.#waiting.get(next);
    const item = items?.shift();
    if (next === undefined || !items || !item) return undefined;
    this.#waiting.delete(next);
    if (items.length > 0) this.#waiting.set(next, items);
    this.#busy.set(next, (this.#busy.get(next) ?? 0) + 1);
    this.#length -= 1;
    return item;
  }

  /** Tells that an item that was taken is no longer at work. */
  done(item: T): void {
    const busy = (this.#busy.get(item.domain) ?? 1) - 1;
    if (busy > 0) this.#busy.set(item.domain, busy);
    else this.#busy.delete(item.domain);
  }

  /** Removes and returns the waiting items of all domains that match. */
  drain(matches: (domain: string) => boolean): readonly T[] {
    const drained: T[] = [];
    for (const [domain, items] of this.#waiting) {
      if (!matches(domain)) continue;
      this.#waiting.delete(domain);
      drained.push(...items);
    }
    this.#length -= drained.length;
    return drained;
  }

  /** Removes one waiting item; false when it has been taken already. */
  remove(item: T): boolean {
    const items = this.#waiting.get(item.domain);
    const index = items?.indexOf(item) ?? -1;
    if (!items || index < 0) return false;
    items.splice(index, 1);
    if (items.length === 0) this.#waiting.delete(item.domain);
    this.#length -= 1;
    return true;
  }
}
