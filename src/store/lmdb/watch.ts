import type { Kind } from '../../model/kinds.ts';
import { checkFields } from '../fields.ts';
import type { WatchEvent, WatchOptions } from '../store.ts';
import type { History } from './history.ts';
import { parseRevision } from './records.ts';

/** Events that a watch reads at once. */
const batchSize = 64;

/** Tells watches that something of their kind was committed, and that the store closes. */
export class Changes {
  readonly #waiting = new Map<Kind, Set<() => void>>();
  #closed = false;

  get closed(): boolean {
    return this.#closed;
  }

  announce(kinds: Iterable<Kind>): void {
    for (const kind of kinds) {
      const waiting = this.#waiting.get(kind);
      this.#waiting.delete(kind);
      for (const wake of waiting ?? []) wake();
    }
  }

  close(): void {
    this.#closed = true;
    this.announce([...this.#waiting.keys()]);
  }

  /** Resolves at the kind's next announcement or when the signal is aborted. */
  next(kind: Kind, signal: AbortSignal | undefined): Promise<void> {
    if (this.#closed || signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiting.get(kind)?.delete(wake);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.set(kind, (this.#waiting.get(kind) ?? new Set()).add(wake));
      signal?.addEventListener('abort', wake, { once: true });
    });
  }
}

/**
 * Follows the event log. The log is the buffer: a consumer that falls behind by more than its length gets Expired, and
 * neither slows writers down nor costs memory meanwhile.
 *
 * @param snapshot all present objects and their version
 */
export async function* followHistory<K extends Kind>(
  history: History,
  changes: Changes,
  kind: K,
  { from, fields, signal }: WatchOptions,
  snapshot: () => { readonly items: readonly WatchEvent<K>[]; readonly resourceVersion: string },
): AsyncGenerator<WatchEvent<K>, void, void> {
  checkFields(kind, fields);
  const ended = () => changes.closed || signal?.aborted === true;
  if (ended()) return;
  let cursor: number;
  if (from === undefined) {
    const { items, resourceVersion } = snapshot();
    for (const item of items) {
      yield item;
      if (ended()) return;
    }
    yield { type: 'synced', resourceVersion };
    cursor = parseRevision(resourceVersion);
  } else {
    cursor = parseRevision(from);
  }
  while (!ended()) {
    const events = history.read(kind, cursor, batchSize, fields);
    for (const { revision, event } of events) {
      if (event) yield event;
      if (ended()) return;
      cursor = revision;
    }
    // Nothing can be committed between an empty read and this, since neither gives up the turn.
    if (events.length === 0) await changes.next(kind, signal);
  }
}
