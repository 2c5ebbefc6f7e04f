import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { type CacheEvent, type CacheHooks, WatchCache } from '../lib/watch-cache.ts';
import { AzekuraError, hasCode } from '../model/errors.ts';
import type { Kind, Resource } from '../model/kinds.ts';
import type { Fields, Store } from './store.ts';

/** What happened to one object. A new object under an old name is `deleted` (with the old one), then `added`. */
export type InformerEvent<K extends Kind> = CacheEvent<Resource<K>>;

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

/** Where informers may be had that are there already. */
export interface InformerSource {
  of<K extends Kind>(kind: K): Informer<K> | undefined;
}

export interface InformerOptions extends CacheHooks {
  /** Only objects with these values; who changes away from them is `deleted`. */
  readonly fields?: Fields;
  /** Lists everything again after this time, in case the watch missed something; the store's own advice when absent. */
  readonly relistMs?: number;
  readonly log?: Logger;
  readonly clock?: Clock;
}

/** Starts an informer. It lists and watches, and does so again, with back-off, whenever its watch breaks. */
export function createInformer<K extends Kind>(store: Store, kind: K, options: InformerOptions = {}): Informer<K> {
  const { fields = {}, ...rest } = options;
  const cache = new WatchCache<Resource<K>>({
    ...(store.relistMs === undefined ? {} : { relistMs: store.relistMs }),
    ...rest,
    what: kind,
    watch: (from) => store.watch(kind, { ...from, fields }),
    nameOf: ({ metadata }) => metadata.name,
    uidOf: ({ metadata }) => metadata.uid,
    versionOf: ({ metadata }) => metadata.resourceVersion,
    isExpired: (error) => hasCode(error, 'Expired'),
    closedError: () =>
      new AzekuraError('Unavailable', `the informer of ${kind} was closed before it had listed the objects`),
  });
  return Object.assign(cache, { kind });
}
