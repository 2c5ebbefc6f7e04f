import type { KubeClient, Selection } from '../../kube/client.ts';
import { type WatchIncident, type WatchTimes, watchObjects } from '../../kube/watch.ts';
import { newUid } from '../../lib/id.ts';
import { sameJson } from '../../lib/same-json.ts';
import { AzekuraError, hasCode } from '../../model/errors.ts';
import { type Kind, kinds, type NewResource, nameOf, type Resource } from '../../model/kinds.ts';
import { checkFields } from '../fields.ts';
import { found } from '../found.ts';
import type { ListOptions, Preconditions, ResourceList, Store, WatchEvent, WatchOptions } from '../store.ts';
import { checkLimit, checkSize, checkStatus, checkUpdate, knownKind, newResource } from '../validate.ts';
import { fromStored, type StoredObject, toStored } from './convert.ts';
import { noteBeforeDeletion } from './note-before-deletion.ts';
import { resourceType } from './types.ts';

export interface KubernetesStoreOptions extends WatchTimes {
  /** Stays open when the store is closed. */
  readonly client: KubeClient;
  readonly onWatchIncident?: (kind: Kind, incident: WatchIncident, error?: unknown) => void;
}

/** Objects in one answer of the server, when a caller wants all of them. */
const pageSize = 500;
const listAttempts = 5;

/** The store of a cluster. The CustomResourceDefinitions must be there; else every call is FailedPrecondition. */
export function openKubernetesStore(options: KubernetesStoreOptions): Store {
  return new KubernetesStore(options);
}

class KubernetesStore implements Store {
  /**
   * A watch may miss what no client can see: an etcd that was restored from a backup counts its versions anew, and a
   * watch from a version of its future hears nothing until that is reached.
   */
  readonly relistMs = 15 * 60_000;
  readonly #options: KubernetesStoreOptions;
  readonly #client: KubeClient;
  readonly #closing = new AbortController();

  constructor(options: KubernetesStoreOptions) {
    this.#options = options;
    this.#client = options.client;
  }

  async get<K extends Kind>(kind: K, name: string): Promise<Resource<K>> {
    return found(await this.find(kind, name), kind, name);
  }

  async find<K extends Kind>(kind: K, name: string): Promise<Resource<K> | undefined> {
    this.#checkOpen();
    const type = resourceType(knownKind(kind));
    if (!nameOf(kind).safeParse(name).success) return undefined;
    const stored = await this.#client.find<StoredObject>(type, name);
    return stored && fromStored(kind, stored);
  }

  async list<K extends Kind>(kind: K, options: ListOptions = {}): Promise<ResourceList<K>> {
    this.#checkOpen();
    knownKind(kind);
    checkFields(kind, options.fields);
    checkLimit(options.limit);
    if (options.limit !== undefined || options.continueToken !== undefined) return this.#page(kind, options);
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#wholeList(kind, options);
      } catch (error) {
        // The server forgot the instant of the first page before we had the last.
        if (!hasCode(error, 'Expired') || attempt === listAttempts) throw error;
      }
    }
  }

  async create<K extends Kind>(object: NewResource<K>): Promise<Resource<K>> {
    this.#checkOpen();
    const checked = newResource(object, { uid: newUid(), creationTimestamp: new Date().toISOString() });
    checkSize(checked);
    const { kind, metadata, spec } = checked;
    const { name, labels, annotations, finalizers, ownerReferences } = metadata;
    const body = toStored(kind, { name, labels, annotations, finalizers, ownerReferences }, { spec });
    const made = fromStored<K>(kind, await this.#client.create(resourceType(kind), body));
    return object.status === undefined ? made : this.#giveStatus(made, checked.status);
  }

  async update<K extends Kind>(object: Resource<K>): Promise<Resource<K>> {
    this.#checkOpen();
    const { metadata, spec } = checkUpdate(object);
    checkSize(object);
    const { kind } = object;
    const { name, uid, resourceVersion } = object.metadata;
    const body = toStored(kind, { name, uid, resourceVersion, ...metadata }, { spec });
    return fromStored<K>(kind, await this.#client.replace(resourceType(kind), body));
  }

  async updateStatus<K extends Kind>(object: Resource<K>): Promise<Resource<K>> {
    this.#checkOpen();
    const status = checkStatus(object);
    checkSize(object);
    const { kind } = object;
    const { name, uid, resourceVersion } = object.metadata;
    if (sameJson(status, kinds[kind].status.parse({}))) {
      // The server keeps no status until there is one, so storing the defaults would be a change to it.
      const stored = await this.#client.find<StoredObject>(resourceType(kind), name);
      if (stored && stored.status === undefined && stored.metadata.resourceVersion === resourceVersion)
        return fromStored<K>(kind, stored);
    }
    const body = toStored(kind, { name, uid, resourceVersion }, { status });
    return fromStored<K>(kind, await this.#client.replace(resourceType(kind), body, { subresource: 'status' }));
  }

  async delete(
    kind: Kind,
    name: string,
    preconditions: Preconditions = {},
    annotations: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    this.#checkOpen();
    const type = resourceType(knownKind(kind));
    if (!nameOf(kind).safeParse(name).success) return;
    const expected = await noteBeforeDeletion(this, kind, name, preconditions, annotations);
    await this.#client.delete(type, { name }, expected).catch((error: unknown) => {
      if (!hasCode(error, 'NotFound')) throw error;
    });
  }

  watch<K extends Kind>(kind: K, options: WatchOptions = {}): AsyncIterable<WatchEvent<K>> {
    this.#checkOpen();
    return this.#watch(knownKind(kind), options);
  }

  async close(): Promise<void> {
    this.#closing.abort();
  }

  async *#watch<K extends Kind>(kind: K, options: WatchOptions): AsyncGenerator<WatchEvent<K>, void, void> {
    checkFields(kind, options.fields);
    const { timeoutMs, idleMs, backoffCapMs, onWatchIncident } = this.#options;
    const { signal } = this.#closing;
    const events = watchObjects<StoredObject>(this.#client, resourceType(kind), {
      ...selection(options),
      ...(options.from === undefined ? {} : { from: options.from }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(idleMs === undefined ? {} : { idleMs }),
      ...(backoffCapMs === undefined ? {} : { backoffCapMs }),
      signal: options.signal ? AbortSignal.any([options.signal, signal]) : signal,
      onIncident: (incident, error) => onWatchIncident?.(kind, incident, error),
    });
    for await (const event of events)
      yield 'object' in event ? { ...event, object: fromStored<K>(kind, event.object) } : event;
  }

  async #page<K extends Kind>(kind: K, options: ListOptions): Promise<ResourceList<K>> {
    const { limit, continueToken } = options;
    const page = await this.#client.list<StoredObject>(resourceType(kind), {
      ...selection(options),
      ...(limit === undefined ? {} : { limit }),
      ...(continueToken === undefined ? {} : { continueToken }),
    });
    return Object.freeze({
      items: page.items.map((stored) => fromStored(kind, stored)),
      resourceVersion: page.resourceVersion,
      ...(page.continueToken === undefined ? {} : { continueToken: page.continueToken }),
    });
  }

  async #wholeList<K extends Kind>(kind: K, options: ListOptions): Promise<ResourceList<K>> {
    const items: Resource<K>[] = [];
    for (let more: { continueToken?: string } = {}; ; ) {
      const page: ResourceList<K> = await this.#page(kind, { ...options, limit: pageSize, ...more });
      items.push(...page.items);
      if (page.continueToken === undefined) return Object.freeze({ items, resourceVersion: page.resourceVersion });
      more = { continueToken: page.continueToken };
    }
  }

  /** The status of an object that was just made, unless somebody else has given it one meanwhile. */
  async #giveStatus<K extends Kind>(made: Resource<K>, status: Resource<K>['status']): Promise<Resource<K>> {
    const born = JSON.stringify(made.status);
    for (let object: Resource<K> | undefined = made; object; object = await this.find(made.kind, made.metadata.name)) {
      if (object.metadata.uid !== made.metadata.uid || JSON.stringify(object.status) !== born) return object;
      try {
        return await this.updateStatus({ ...object, status });
      } catch (error) {
        if (!hasCode(error, 'Conflict', 'NotFound')) throw error;
      }
    }
    return made;
  }

  #checkOpen(): void {
    if (this.#closing.signal.aborted) throw new AzekuraError('Unavailable', 'the store is closed');
  }
}

/** Our equalities in Kubernetes' selector syntax (k8s.io/apimachinery/pkg/fields: EscapeValue). */
function selection({ labels, fields }: Pick<ListOptions, 'labels' | 'fields'>): Selection {
  const terms = (pairs: Readonly<Record<string, string>>, quote: (value: string) => string) =>
    Object.entries(pairs)
      .map(([key, value]) => `${key}=${quote(value)}`)
      .join(',');
  return {
    labelSelector: terms(labels ?? {}, (value) => value),
    fieldSelector: terms(fields ?? {}, (value) => value.replace(/[\\,=]/g, (character) => `\\${character}`)),
  };
}
