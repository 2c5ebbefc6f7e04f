/** For unit tests: what a cluster has of claims, pods and classes, told at once. */

import type { KubeClaim, KubePod } from '../../kube/types.ts';
import type { ClusterClaims } from './cluster-claims.ts';
import { claimKeysOf, keyOf, type StorageClass } from './kinds.ts';

type Listener<T> = (event: { readonly type: 'added' | 'modified' | 'deleted'; readonly object: T }) => void;

/** As WatchCache and Informer, filled by hand. */
export class FakeCache<T> {
  readonly #objects = new Map<string, T>();
  readonly #listeners = new Set<Listener<T>>();
  readonly #nameOf: (object: T) => string;

  constructor(nameOf: (object: T) => string) {
    this.#nameOf = nameOf;
  }

  get(name: string): T | undefined {
    return this.#objects.get(name);
  }

  list(): readonly T[] {
    return [...this.#objects.values()];
  }

  onChange(listener: Listener<T>): () => void {
    this.#listeners.add(listener);
    for (const object of this.#objects.values()) listener({ type: 'added', object });
    return () => this.#listeners.delete(listener);
  }

  set(object: T): void {
    const name = this.#nameOf(object);
    const type = this.#objects.has(name) ? 'modified' : 'added';
    this.#objects.set(name, object);
    for (const listener of this.#listeners) listener({ type, object });
  }

  delete(name: string): void {
    const object = this.#objects.get(name);
    this.#objects.delete(name);
    if (object) for (const listener of this.#listeners) listener({ type: 'deleted', object });
  }
}

export class FakeClaims implements ClusterClaims {
  readonly claims = new FakeCache<KubeClaim>(keyOf);
  readonly pods = new FakeCache<KubePod>(keyOf);
  readonly classes = new FakeCache<StorageClass>(({ metadata }) => metadata.name);
  readonly synced = Promise.resolve();

  podsOf(claimKey: string): readonly string[] {
    return this.pods
      .list()
      .filter((pod) => claimKeysOf(pod).includes(claimKey))
      .map(keyOf);
  }

  async close(): Promise<void> {}
}
