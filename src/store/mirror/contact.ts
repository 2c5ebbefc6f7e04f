import type { Clock } from '../../lib/clock.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { Kind, NewResource, Resource } from '../../model/kinds.ts';
import type { ListOptions, ResourceList, Store, WatchEvent, WatchOptions } from '../store.ts';

/** Codes that say that the other side did not answer, and not that it refused. */
const unanswered = new Set(['Unavailable', 'DeadlineExceeded']);

/**
 * A store that notes whether the store behind it answers. A refusal is an answer.
 */
export class ContactStore implements Store {
  readonly relistMs?: number;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #onReturn: () => void;
  #reachable: boolean | undefined;
  #lastAnswerMs: number | undefined;

  /** @param onReturn called when it answers again after it had not */
  constructor(store: Store, clock: Clock, onReturn: () => void) {
    if (store.relistMs !== undefined) this.relistMs = store.relistMs;
    this.#store = store;
    this.#clock = clock;
    this.#onReturn = onReturn;
  }

  /** Undefined before the first answer or its absence. */
  get reachable(): boolean | undefined {
    return this.#reachable;
  }

  /** In milliseconds since the epoch. */
  get lastAnswerMs(): number | undefined {
    return this.#lastAnswerMs;
  }

  get<K extends Kind>(kind: K, name: string): Promise<Resource<K>> {
    return this.#noted(this.#store.get(kind, name));
  }

  find<K extends Kind>(kind: K, name: string): Promise<Resource<K> | undefined> {
    return this.#noted(this.#store.find(kind, name));
  }

  list<K extends Kind>(kind: K, options?: ListOptions): Promise<ResourceList<K>> {
    return this.#noted(this.#store.list(kind, options));
  }

  create<K extends Kind>(object: NewResource<K>): Promise<Resource<K>> {
    return this.#noted(this.#store.create(object));
  }

  update<K extends Kind>(object: Resource<K>): Promise<Resource<K>> {
    return this.#noted(this.#store.update(object));
  }

  updateStatus<K extends Kind>(object: Resource<K>): Promise<Resource<K>> {
    return this.#noted(this.#store.updateStatus(object));
  }

  delete(kind: Kind, name: string, preconditions?: { uid?: string; resourceVersion?: string }): Promise<void> {
    return this.#noted(this.#store.delete(kind, name, preconditions));
  }

  async *watch<K extends Kind>(kind: K, options?: WatchOptions): AsyncIterable<WatchEvent<K>> {
    try {
      for await (const event of this.#store.watch(kind, options)) {
        this.#answered();
        yield event;
      }
    } catch (error) {
      if (options?.signal?.aborted !== true) this.#failed(error);
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  async #noted<T>(call: Promise<T>): Promise<T> {
    try {
      const result = await call;
      this.#answered();
      return result;
    } catch (error) {
      this.#failed(error);
      throw error;
    }
  }

  #failed(error: unknown): void {
    const refused = error instanceof AzekuraError && !unanswered.has(error.code);
    if (refused) this.#answered();
    else this.#reachable = false;
  }

  #answered(): void {
    const returned = this.#reachable === false;
    this.#reachable = true;
    this.#lastAnswerMs = this.#clock.nowMs();
    if (returned) this.#onReturn();
  }
}
