import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Kind, Resource } from '../model/kinds.ts';
import type { Store, WatchEvent } from '../store/store.ts';
import { failureBody } from './errors.ts';
import { matchesFields, matchesLabels, type Selector } from './selector.ts';

const keepaliveMs = 15_000;

export interface WatchRequest {
  readonly kind: Kind;
  /** resourceVersion after which to go on; without it the present objects come first. */
  readonly from?: string;
  readonly labels: Selector;
  readonly fields: Selector;
  readonly requestId: string;
}

/**
 * Sends changes as server-sent events until the client goes or the server stops. Each event's data is Kubernetes'
 * {type, object}; its id is the resourceVersion from which to resume. A start that is too old gives an event ERROR
 * with a Status of code 410, as in Kubernetes: list and watch again.
 */
export async function streamWatch(
  store: Store,
  response: ServerResponse,
  request: WatchRequest,
  stop: AbortSignal,
): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const signal = AbortSignal.any([gone.signal, stop]);
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-request-id': request.requestId,
  });
  response.flushHeaders();
  const keepalive = setInterval(() => response.write(': keepalive\n\n'), keepaliveMs);
  keepalive.unref();
  const filter = makeFilter(request);
  try {
    for await (const event of store.watch(request.kind, {
      ...(request.from === undefined ? {} : { from: request.from }),
      signal,
    })) {
      const data = filter(event);
      if (data && !response.write(sse(event.resourceVersion, data))) await once(response, 'drain', { signal });
    }
  } catch (error) {
    if (!signal.aborted)
      response.write(sse(undefined, { type: 'ERROR', object: failureBody(error, request.requestId) }));
  } finally {
    clearInterval(keepalive);
    response.end();
  }
}

/** One server-sent event. JSON has no raw line breaks, so that one data line holds it. */
export function sse(id: string | undefined, data: unknown): string {
  return `${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`;
}

/** An object that no longer matches is told as deleted, once, to those who may have seen it matching. */
function makeFilter(request: WatchRequest): (event: WatchEvent<Kind>) => object | undefined {
  const shown = new Set<string>();
  const matches = (object: Resource) => matchesLabels(object, request.labels) && matchesFields(object, request.fields);
  const all = Object.keys(request.labels).length + Object.keys(request.fields).length === 0;
  return (event) => {
    if (!('object' in event)) return { type: event.type.toUpperCase(), resourceVersion: event.resourceVersion };
    const { object } = event;
    const { name } = object.metadata;
    if (all || (event.type !== 'deleted' && matches(object))) {
      if (!all) shown.add(name);
      return { type: event.type.toUpperCase(), object };
    }
    const known = shown.delete(name) || (request.from !== undefined && matches(object));
    return known ? { type: 'DELETED', object } : undefined;
  };
}
