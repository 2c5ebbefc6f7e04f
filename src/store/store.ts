import type { Kind, NewResource, Resource, SpecOf, StatusOf } from '../model/kinds.ts';
import type { ObjectMeta } from '../model/meta.ts';

/**
 * Where objects live. Two implementations and no third: LMDB (one machine) and the Kubernetes API. The contract is the
 * part of Kubernetes' API machinery that both can keep; store/contract-suite.ts checks it against either.
 *
 * Rules that hold for every method:
 * - Acknowledged means durable: when the promise resolves, the change survives a power cut.
 * - resourceVersion is opaque. Comparing for equality is all a caller may do.
 * - Writing nothing new changes neither resourceVersion nor generation and sends no event.
 * - Objects are frozen values; a caller changes a copy.
 */
export interface Store {
  /** @throws AzekuraError NotFound */
  get<K extends Kind>(kind: K, name: string): Promise<Resource<K>>;

  /** Like get, but undefined when it is not there. */
  find<K extends Kind>(kind: K, name: string): Promise<Resource<K> | undefined>;

  /**
   * All objects of a kind, in the order of names, and the version from which a watch continues without a gap.
   * `limit` and `continueToken` page through a long list.
   *
   * @throws AzekuraError Expired when the token is too old
   */
  list<K extends Kind>(kind: K, options?: ListOptions): Promise<ResourceList<K>>;

  /**
   * Stores a new object: validates it, fills uid, creationTimestamp, generation 1 and the schema's defaults. A status
   * given with it may be visible a moment later than the rest, and be lost when we die between the two.
   *
   * @throws AzekuraError AlreadyExists, InvalidArgument
   */
  create<K extends Kind>(object: NewResource<K>): Promise<Resource<K>>;

  /**
   * Replaces spec and the writable metadata (labels, annotations, finalizers, ownerReferences); status is ignored.
   * generation grows when spec changed. An object whose deletion was asked for disappears with its last finalizer;
   * then the last state is returned.
   *
   * @throws AzekuraError Conflict when metadata.resourceVersion is not the stored one, NotFound, InvalidArgument
   */
  update<K extends Kind>(object: Resource<K>): Promise<Resource<K>>;

  /**
   * Replaces status only.
   *
   * @throws AzekuraError Conflict, NotFound, InvalidArgument
   */
  updateStatus<K extends Kind>(object: Resource<K>): Promise<Resource<K>>;

  /**
   * Asks for deletion. With finalizers: sets deletionTimestamp (once) and leaves the rest to those who hold them.
   * Without: removes the object. Objects owned by it are asked to go too, once it is gone (background garbage collection).
   * Not an error when it does not exist.
   *
   * @param preconditions refuse unless these match
   * @param annotations noted on the object when it stays for its finalizers and its deletion was not asked for before
   * @throws AzekuraError Conflict
   */
  delete(
    kind: Kind,
    name: string,
    preconditions?: Preconditions,
    annotations?: Readonly<Record<string, string>>,
  ): Promise<void>;

  /**
   * Changes of a kind after a version, each object in the state it had. Without `from`: first an event `added` for each
   * present object, then `synced`, then changes. Ends when the signal is aborted.
   *
   * @throws AzekuraError Expired when `from` is older than the history that is kept: list and watch again
   */
  watch<K extends Kind>(kind: K, options?: WatchOptions): AsyncIterable<WatchEvent<K>>;

  /** How often who keeps a copy should list everything again; absent when the watches of this store miss nothing. */
  readonly relistMs?: number;

  /** Ends watches and gives back files and connections. What was acknowledged stays. */
  close(): Promise<void>;
}

/** A store that can hold copies of objects that live elsewhere: what a mirror keeps on a node. LMDB is one. */
export interface LocalStore extends Store {
  /**
   * Puts an object there as it stands, whatever is there under its name: uid, creationTimestamp, deletionTimestamp and
   * generation are the giver's. An object whose deletion was asked for needs a finalizer.
   *
   * @param expected resourceVersion of what is there, undefined when nothing is
   * @throws AzekuraError Conflict when something else is there; InvalidArgument
   */
  put<K extends Kind>(object: Resource<K>, expected: string | undefined): Promise<Resource<K>>;
}

/** What an object must be for a deletion to be meant for it. */
export interface Preconditions {
  readonly uid?: string;
  readonly resourceVersion?: string;
}

export interface ListOptions {
  readonly limit?: number;
  readonly continueToken?: string;
  /** All of these labels must be equal. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly fields?: Fields;
}

/**
 * All of these must be equal: metadata.name, or what kinds.ts calls selectable. A field that is absent equals ''. Others
 * are refused as InvalidArgument. To a watch, an object whose field changes away from the value was deleted, in the
 * state that it had before.
 */
export type Fields = Readonly<Record<string, string>>;

export interface ResourceList<K extends Kind> {
  readonly items: readonly Resource<K>[];
  readonly resourceVersion: string;
  readonly continueToken?: string;
}

export interface WatchOptions {
  readonly from?: string;
  readonly fields?: Fields;
  readonly signal?: AbortSignal;
}

export type WatchEvent<K extends Kind> =
  | { readonly type: 'added' | 'modified' | 'deleted'; readonly object: Resource<K>; readonly resourceVersion: string }
  | { readonly type: 'synced' | 'bookmark'; readonly resourceVersion: string };

/** What change() may replace. */
export interface Change<K extends Kind> {
  readonly metadata?: Partial<Pick<ObjectMeta, 'labels' | 'annotations' | 'finalizers' | 'ownerReferences'>>;
  readonly spec?: SpecOf<K>;
}

/** What changeStatus() may replace. */
export type StatusChange<K extends Kind> = Partial<StatusOf<K>>;
