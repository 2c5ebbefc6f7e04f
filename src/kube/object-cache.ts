import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { type CacheHooks, WatchCache } from '../lib/watch-cache.ts';
import { AzekuraError, hasCode } from '../model/errors.ts';
import type { KubeClient, KubeObject, ResourceType, Selection } from './client.ts';
import { type WatchIncident, type WatchTimes, watchObjects } from './watch.ts';

export interface ObjectCacheOptions<T> extends Selection, WatchTimes, CacheHooks {
  /** Lists everything again after about this time; ten minutes unless told. */
  readonly relistMs?: number;
  /** What is kept of an object: all that is dropped here costs no memory. */
  readonly keep?: (object: T) => T;
  readonly onIncident?: (incident: WatchIncident, error?: unknown) => void;
  readonly log?: Logger;
  readonly clock?: Clock;
}

/** Objects of Kubernetes' own kinds (nodes, claims …) in memory. Names are `namespace/name` for namespaced kinds. */
export function createObjectCache<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType,
  options: ObjectCacheOptions<T> = {},
): WatchCache<T> {
  const { keep = (object) => object, relistMs = 600_000 } = options;
  return new WatchCache<T>({
    ...options,
    relistMs,
    what: type.plural,
    watch: async function* (from) {
      for await (const event of watchObjects<T>(client, type, { ...options, ...from }))
        yield 'object' in event ? { ...event, object: keep(event.object) } : event;
    },
    nameOf: ({ metadata }) => (type.namespaced ? `${metadata.namespace}/${metadata.name}` : metadata.name),
    uidOf: ({ metadata }) => metadata.uid ?? '',
    versionOf: ({ metadata }) => metadata.resourceVersion ?? '',
    isExpired: (error) => hasCode(error, 'Expired'),
    closedError: () => new AzekuraError('Unavailable', `the cache of ${type.plural} was closed before it was complete`),
  });
}
