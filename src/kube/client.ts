import { backoffMs } from '../lib/backoff.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { AzekuraError, hasCode, toAzekuraError } from '../model/errors.ts';
import type { Access } from './access.ts';
import { statusError } from './status-error.ts';
import { type Answer, type Call, createTransport, type Transport } from './transport.ts';

/** A kind as the API server files it. */
export interface ResourceType {
  /** '' for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

/** The part of meta/v1 ObjectMeta that every object has. */
export interface KubeMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
}

export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: KubeMeta;
}

export interface KubeList<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
  readonly continueToken: string | undefined;
}

export interface Selection {
  /** All namespaces when absent. */
  readonly namespace?: string;
  /** In Kubernetes' syntax: a=b,c!=d */
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface CallOptions {
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
}

/** One call that was made, for metrics. */
export interface CallReport {
  readonly verb: string;
  readonly resource: string;
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  readonly durationMs: number;
}

export interface KubeClientOptions {
  readonly access: Access;
  /** Who writes, in managedFields: azekura-controller, azekura-agent … */
  readonly fieldManager: string;
  readonly clock?: Clock;
  readonly onCall?: (report: CallReport) => void;
  readonly transport?: Transport;
}

const defaultDeadlineMs = 30_000;
/** Reads are repeated after these failures, since they change nothing. */
const readAttempts = 3;

/**
 * Typed calls to an API server. All of them have a deadline (30 s unless told), wait as the server asks with 429, repeat
 * reads that the connection lost, and throw AzekuraErrors: NotFound, AlreadyExists, Conflict, Expired, InvalidArgument,
 * PermissionDenied, Unauthenticated, FailedPrecondition (the server does not know the kind), DeadlineExceeded, and
 * Unavailable for all that may go away by itself. A write that ends in Unavailable or DeadlineExceeded may have happened.
 */
export class KubeClient {
  readonly access: Access;
  readonly #fieldManager: string;
  readonly #clock: Clock;
  readonly #onCall: (report: CallReport) => void;
  readonly #transport: Transport;

  constructor(options: KubeClientOptions) {
    this.access = options.access;
    this.#fieldManager = options.fieldManager;
    this.#clock = options.clock ?? systemClock;
    this.#onCall = options.onCall ?? (() => {});
    this.#transport = options.transport ?? createTransport(options.access);
  }

  async get<T extends KubeObject>(
    type: ResourceType,
    name: string,
    options: CallOptions & { readonly namespace?: string } = {},
  ): Promise<T> {
    return this.#json<T>('get', type, { method: 'GET', path: pathOf(type, options.namespace, name) }, options, name);
  }

  /** Like get, but undefined when the object is not there. Still throws when the server does not know the kind. */
  async find<T extends KubeObject>(
    type: ResourceType,
    name: string,
    options: CallOptions & { readonly namespace?: string } = {},
  ): Promise<T | undefined> {
    return this.get<T>(type, name, options).catch((error: unknown) => {
      if (hasCode(error, 'NotFound')) return undefined;
      throw error;
    });
  }

  /** One page. Of the newest state, unless it goes on from a token. */
  async list<T extends KubeObject>(
    type: ResourceType,
    options: Selection & CallOptions & { readonly limit?: number; readonly continueToken?: string } = {},
  ): Promise<KubeList<T>> {
    const query = { ...selectors(options), limit: options.limit, continue: options.continueToken };
    const path = pathOf(type, options.namespace, undefined, undefined, query);
    const page = await this.#json<{
      readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
      readonly items: readonly T[] | null;
    }>('list', type, { method: 'GET', path }, { deadlineMs: 60_000, ...options });
    return {
      items: page.items ?? [],
      resourceVersion: page.metadata.resourceVersion,
      continueToken: page.metadata.continue === '' ? undefined : page.metadata.continue,
    };
  }

  async create<T extends KubeObject>(type: ResourceType, object: T, options: CallOptions = {}): Promise<T> {
    const path = pathOf(type, object.metadata.namespace, undefined, undefined, this.#manager());
    return this.#json<T>('create', type, { method: 'POST', path, body: object }, options, object.metadata.name);
  }

  /** Replaces the object, or one subresource of it; with a resourceVersion only when it is still the stored one. */
  async replace<T extends KubeObject>(
    type: ResourceType,
    object: T,
    options: CallOptions & { readonly subresource?: string } = {},
  ): Promise<T> {
    const { namespace, name } = object.metadata;
    const path = pathOf(type, namespace, name, options.subresource, this.#manager());
    const verb = options.subresource === undefined ? 'update' : `update ${options.subresource}`;
    return this.#json<T>(verb, type, { method: 'PUT', path, body: object }, options, name);
  }

  /** JSON merge patch (RFC 7386). */
  async patch<T extends KubeObject>(
    type: ResourceType,
    { name, namespace }: { readonly name: string; readonly namespace?: string },
    patch: object,
    options: CallOptions & { readonly subresource?: string } = {},
  ): Promise<T> {
    const path = pathOf(type, namespace, name, options.subresource, this.#manager());
    const contentType = 'application/merge-patch+json';
    return this.#json<T>('patch', type, { method: 'PATCH', path, body: patch, contentType }, options, name);
  }

  /**
   * Server-side apply: these fields are ours, and what we named last time and name no more goes.
   *
   * @param options.force take fields over from other managers; without it such a field is a Conflict
   */
  async apply<T extends KubeObject>(
    type: ResourceType,
    object: T,
    options: CallOptions & { readonly force?: boolean; readonly subresource?: string } = {},
  ): Promise<T> {
    const { namespace, name } = object.metadata;
    const query = { ...this.#manager(), force: options.force ? 'true' : undefined };
    const path = pathOf(type, namespace, name, options.subresource, query);
    const contentType = 'application/apply-patch+yaml';
    return this.#json<T>('apply', type, { method: 'PATCH', path, body: object, contentType }, options, name);
  }

  /** Asks for deletion; what it owns is collected in the background. @throws AzekuraError NotFound, Conflict */
  async delete(
    type: ResourceType,
    { name, namespace }: { readonly name: string; readonly namespace?: string },
    preconditions: { readonly uid?: string; readonly resourceVersion?: string } = {},
    options: CallOptions = {},
  ): Promise<void> {
    const body = { kind: 'DeleteOptions', apiVersion: 'v1', propagationPolicy: 'Background', preconditions };
    await this.#json('delete', type, { method: 'DELETE', path: pathOf(type, namespace, name), body }, options, name);
  }

  /** Asks for deletion of all that the selection names. */
  async deleteAll(type: ResourceType, selection: Selection & CallOptions = {}): Promise<void> {
    const path = pathOf(type, selection.namespace, undefined, undefined, selectors(selection));
    await this.#json('deletecollection', type, { method: 'DELETE', path }, selection);
  }

  /** A call outside of what the others cover: /version, a token request … */
  async raw<T>(method: Call['method'], path: string, body?: unknown, options: CallOptions = {}): Promise<T> {
    const type = { group: '', version: '', plural: path.split('?')[0] ?? path, kind: path, namespaced: false };
    return this.#json<T>('raw', type, { method, path: path.replace(/^\//, ''), body }, options);
  }

  /**
   * Opens a watch after a version: the lines of the server's answer, for about timeoutMs.
   *
   * @throws AzekuraError as all calls; the lines throw Unavailable
   */
  async watch(
    type: ResourceType,
    options: Selection & {
      readonly resourceVersion: string;
      readonly timeoutMs: number;
      readonly idleMs: number;
      readonly deadlineMs?: number;
      readonly signal?: AbortSignal;
    },
  ): Promise<AsyncIterable<string>> {
    const path = pathOf(type, options.namespace, undefined, undefined, {
      ...selectors(options),
      watch: '1',
      resourceVersion: options.resourceVersion,
      allowWatchBookmarks: 'true',
      timeoutSeconds: String(Math.ceil(options.timeoutMs / 1_000)),
    });
    const { deadlineMs = defaultDeadlineMs, signal, idleMs } = options;
    const call: Call = { method: 'GET', path, deadlineMs, ...(signal ? { signal } : {}) };
    const answer = await this.#reported('watch', type, () => this.#transport.open(call, idleMs));
    if ('lines' in answer) return answer.lines;
    throw statusError(answer.status, answer.body, type.plural, answer.retryAfter);
  }

  /** Ends all calls and watches. */
  close(): void {
    this.#transport.close();
  }

  async #json<T>(
    verb: string,
    type: ResourceType,
    request: Pick<Call, 'method' | 'path' | 'body' | 'contentType'>,
    { deadlineMs = defaultDeadlineMs, signal }: CallOptions,
    name?: string,
  ): Promise<T> {
    const endMs = performance.now() + deadlineMs;
    const subject = name === undefined ? type.plural : `${type.kind} ${JSON.stringify(name)}`;
    for (let attempt = 0; ; attempt++) {
      const leftMs = Math.max(1, Math.round(endMs - performance.now()));
      const call: Call = { ...request, deadlineMs: leftMs, ...(signal ? { signal } : {}) };
      let failure: AzekuraError;
      try {
        const answer = await this.#reported(verb, type, () => this.#transport.call(call));
        if (answer.status >= 200 && answer.status < 300) return parseBody<T>(answer, subject);
        failure = statusError(answer.status, answer.body, subject, answer.retryAfter);
      } catch (error) {
        if (signal?.aborted) throw error;
        failure = toAzekuraError(error);
      }
      const pauseMs = pauseBefore(failure, request.method, attempt);
      if (pauseMs === undefined || performance.now() + pauseMs >= endMs) throw failure;
      await this.#sleep(pauseMs, signal);
    }
  }

  async #reported<T extends { readonly status: number }>(
    verb: string,
    type: ResourceType,
    work: () => Promise<T>,
  ): Promise<T> {
    const startMs = performance.now();
    let status = 0;
    try {
      const answer = await work();
      status = answer.status;
      return answer;
    } finally {
      this.#onCall({ verb, resource: type.plural, status, durationMs: performance.now() - startMs });
    }
  }

  #manager(): Record<string, string> {
    return { fieldManager: this.#fieldManager };
  }

  #sleep(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        cancel();
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      const cancel = this.#clock.after(delayMs, wake);
      signal?.addEventListener('abort', wake, { once: true });
    });
  }
}

/** How long to wait before the same call is made again; undefined when it is not. */
function pauseBefore(failure: AzekuraError, method: Call['method'], attempt: number): number | undefined {
  if (failure.code !== 'Unavailable') return undefined;
  const { retryAfterMs } = failure.details;
  // The server says that it did not process the request, so even a write may be repeated.
  if (typeof retryAfterMs === 'number') return Math.max(retryAfterMs, backoffMs(attempt, { capMs: 5_000 }));
  if (method !== 'GET' || attempt + 1 >= readAttempts) return undefined;
  return backoffMs(attempt, { baseMs: 100, capMs: 1_000 });
}

function parseBody<T>({ body }: Answer, subject: string): T {
  try {
    return JSON.parse(body) as T;
  } catch (error) {
    throw new AzekuraError('Unavailable', `the API server's answer about ${subject} cannot be read`, { cause: error });
  }
}

function selectors({ labelSelector, fieldSelector }: Selection): Record<string, string | undefined> {
  return { labelSelector: labelSelector || undefined, fieldSelector: fieldSelector || undefined };
}

function pathOf(
  { group, version, plural, namespaced }: ResourceType,
  namespace: string | undefined,
  name?: string,
  subresource?: string,
  query: Readonly<Record<string, string | number | undefined>> = {},
): string {
  const parts = group === '' ? ['api', version] : ['apis', group, version];
  if (namespaced && namespace !== undefined) parts.push('namespaces', encodeURIComponent(namespace));
  parts.push(plural);
  if (name !== undefined) parts.push(encodeURIComponent(name));
  if (subresource !== undefined) parts.push(subresource);
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) search.set(key, String(value));
  const text = search.toString();
  return text === '' ? parts.join('/') : `${parts.join('/')}?${text}`;
}
