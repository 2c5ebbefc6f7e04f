import { backoffMs } from '../lib/backoff.ts';
import { type Clock, pause, systemClock } from '../lib/clock.ts';
import type { SourceEvent } from '../lib/watch-cache.ts';
import { AzekuraError, hasCode } from '../model/errors.ts';
import type { KubeClient, KubeObject, ResourceType, Selection } from './client.ts';
import { statusError } from './status-error.ts';

/** What happens to a watch, for metrics. `disordered`: the server repeated itself or told things out of their order. */
export type WatchIncident = 'opened' | 'ended' | 'broken' | 'expired' | 'disordered';

export interface WatchTimes {
  /** How long the server is asked to keep a watch open; between this and 5/4 of it. 240 s, so that it is 240 to 300. */
  readonly timeoutMs?: number;
  /** Silence after which a connection is taken for dead. Servers send a bookmark about once a minute. 130 s. */
  readonly idleMs?: number;
  readonly backoffCapMs?: number;
}

export interface WatchObjectsOptions extends Selection, WatchTimes {
  /** The version after which to begin; without it everything comes first as `added`, then `synced`. */
  readonly from?: string;
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
  readonly onIncident?: (incident: WatchIncident, error?: unknown) => void;
}

const pageSize = 500;

/**
 * Follows all objects of a selection. A watch that ends, breaks or falls silent goes on where it was, with back-off; what
 * cannot be gone on with is thrown. Ends without an error when the signal is aborted.
 *
 * Versions of one watch only grow (KEP-5504 says so; etcd's revisions always did). A server, or what stands before it,
 * that tells an older version after a newer one can have left something out, so that counts as Expired too.
 *
 * @throws AzekuraError Expired: list again; PermissionDenied, InvalidArgument, FailedPrecondition, Unauthenticated; when
 *   the first list fails also Unavailable, DeadlineExceeded
 */
export async function* watchObjects<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType,
  options: WatchObjectsOptions = {},
): AsyncGenerator<SourceEvent<T>, void, void> {
  const { signal, clock = systemClock, onIncident = () => {} } = options;
  const ended = () => signal?.aborted === true;
  try {
    let cursor: string = options.from ?? (yield* listAll<T>(client, type, options));
    if (ended()) return;
    if (options.from === undefined) yield { type: 'synced', resourceVersion: cursor };
    let told: string | undefined;
    for (let failures = 0; !ended(); ) {
      const openedMs = performance.now();
      let pauseMs: number | undefined;
      let progress = false;
      try {
        const { timeoutMs = 240_000, idleMs = 130_000 } = options;
        const lines = await client.watch(type, {
          ...options,
          resourceVersion: cursor,
          timeoutMs: timeoutMs * (1 + Math.random() / 4),
          idleMs,
        });
        onIncident('opened');
        for await (const line of lines) {
          const event: SourceEvent<T> | undefined = parseEvent<T>(line, type, cursor, told);
          if (!event) continue;
          progress = true;
          failures = 0;
          yield event;
          if (ended()) return;
          cursor = event.resourceVersion;
          if ('object' in event) told = cursor;
        }
        onIncident('ended');
        // A server that hangs up at once must not be asked again at once.
        if (!progress && performance.now() - openedMs < 1_000) failures++;
      } catch (error) {
        if (ended()) return;
        if (!hasCode(error, 'Unavailable', 'DeadlineExceeded')) {
          if (hasCode(error, 'Expired')) onIncident(error.details.disordered ? 'disordered' : 'expired', error);
          throw error;
        }
        onIncident('broken', error);
        failures++;
        if (typeof error.details.retryAfterMs === 'number') pauseMs = error.details.retryAfterMs;
      }
      if (failures === 0) continue;
      const capMs = options.backoffCapMs ?? 30_000;
      const backMs = backoffMs(failures - 1, { baseMs: 100, capMs });
      await pause(clock, Math.max(Math.min(pauseMs ?? 0, capMs), backMs), signal);
    }
  } catch (error) {
    if (!ended()) throw error;
  }
}

async function* listAll<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType,
  options: WatchObjectsOptions,
): AsyncGenerator<SourceEvent<T>, string, void> {
  let token: string | undefined;
  for (;;) {
    const more = token === undefined ? {} : { continueToken: token };
    const page = await client.list<T>(type, { ...options, limit: pageSize, ...more });
    for (const object of page.items) {
      yield { type: 'added', object, resourceVersion: object.metadata.resourceVersion ?? page.resourceVersion };
      if (options.signal?.aborted) return page.resourceVersion;
    }
    if (page.continueToken === undefined) return page.resourceVersion;
    token = page.continueToken;
  }
}

const types = { ADDED: 'added', MODIFIED: 'modified', DELETED: 'deleted' } as const;

/**
 * @param cursor nothing older than this can come any more; a bookmark may have moved it beyond all events
 * @param told the version of the last event: the same once more is a repetition, which does no harm
 * @throws AzekuraError Expired, or whatever the server's ERROR event says; Unavailable for what is no event
 */
function parseEvent<T extends KubeObject>(
  line: string,
  type: ResourceType,
  cursor: string,
  told: string | undefined,
): SourceEvent<T> | undefined {
  let event: { readonly type?: string; readonly object?: T & { readonly code?: number } };
  try {
    event = JSON.parse(line) as typeof event;
  } catch (error) {
    throw new AzekuraError('Unavailable', `a watch of ${type.plural} has sent something unreadable`, { cause: error });
  }
  const { object } = event;
  if (event.type === 'ERROR') throw statusError(object?.code ?? 500, JSON.stringify(object ?? {}), type.plural);
  const resourceVersion = object?.metadata?.resourceVersion;
  if (object === undefined || resourceVersion === undefined)
    throw new AzekuraError('Unavailable', `a watch of ${type.plural} has sent an event without a version`);
  const order = compareVersions(resourceVersion, cursor);
  if (event.type === 'BOOKMARK' && order > 0) return { type: 'bookmark', resourceVersion };
  const known = types[event.type as keyof typeof types] as (typeof types)[keyof typeof types] | undefined;
  if (resourceVersion === told || (event.type === 'BOOKMARK' && order === 0)) return undefined;
  if (order > 0) return known && { type: known, object, resourceVersion };
  throw new AzekuraError(
    'Expired',
    `a watch of ${type.plural} went back from version ${cursor} to ${resourceVersion}`,
    {
      next: 'list again, and watch from the version of that list',
      details: { disordered: true },
    },
  );
}

/** Above zero when the first is newer. Versions that are no numbers cannot be compared and are taken for newer. */
export function compareVersions(one: string, other: string): number {
  if (!/^\d{1,40}$/.test(one) || !/^\d{1,40}$/.test(other)) return 1;
  const [a, b] = [one.replace(/^0+/, ''), other.replace(/^0+/, '')];
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}
