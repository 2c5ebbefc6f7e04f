import { sameJson } from '../../lib/same-json.ts';
import { AzekuraError } from '../../model/errors.ts';
import { type Kind, kinds, type Resource, type SpecOf, type StatusOf } from '../../model/kinds.ts';
import { apiVersion, type OwnerReference } from '../../model/meta.ts';
import { checkBytes, type WritableMeta } from '../validate.ts';
import type { History } from './history.ts';
import type { Tables } from './layout.ts';
import { Parsed } from './parsed.ts';
import { objectKey, ownedByKey, ownerKeys, parseObject, type StoredObject } from './records.ts';
import { under } from './tables.ts';

/** What a caller believes it changes. */
export interface Expected {
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
}

/**
 * The rules of a write, as in Kubernetes' API machinery. All methods that change something run inside a write
 * transaction and throw their AzekuraErrors before they write.
 */
export class Objects {
  readonly #tables: Tables;
  readonly #history: History;
  readonly #now: () => string;
  readonly #parsed = new Parsed();

  /** @param now the present as RFC 3339 */
  constructor(tables: Tables, history: History, now: () => string) {
    this.#tables = tables;
    this.#history = history;
    this.#now = now;
  }

  find<K extends Kind>(kind: K, name: string): Resource<K> | undefined {
    const key = objectKey(kind, name);
    const json = key === undefined ? undefined : this.#tables.objects.get(key);
    return key === undefined || json === undefined ? undefined : this.#parsed.object<K>(key, json);
  }

  create<K extends Kind>(object: Resource<K>): Resource<K> {
    const { kind, metadata } = object;
    const present = this.find(kind, metadata.name);
    if (present) {
      const leaving = present.metadata.deletionTimestamp ? ' and still being deleted' : '';
      throw new AzekuraError('AlreadyExists', `${kind} ${metadata.name} is there already${leaving}`, {
        next: leaving ? 'wait until it is gone' : 'choose another name',
      });
    }
    return this.#write('added', object, undefined);
  }

  /** See LocalStore.put. What was owned by an object of another uid that this one replaces is an orphan, and stays. */
  put<K extends Kind>(object: Resource<K>, expected: string | undefined): Resource<K> {
    const { kind, metadata } = object;
    const present = this.find(kind, metadata.name);
    if (present?.metadata.resourceVersion !== expected)
      throw new AzekuraError('Conflict', `${kind} ${metadata.name} was changed since it was read`, {
        next: 'read it again and repeat the change',
      });
    if (metadata.deletionTimestamp !== undefined && metadata.finalizers.length === 0)
      throw new AzekuraError('InvalidArgument', `${kind} ${metadata.name} is being deleted and nothing holds it`);
    const next = { ...object, metadata: { ...metadata, resourceVersion: expected ?? '' } };
    if (present) return this.#replace(next, present);
    return this.#write('added', next, undefined);
  }

  update<K extends Kind>(
    kind: K,
    name: string,
    expected: Expected,
    part: { metadata: WritableMeta; spec: SpecOf<K> },
  ): Resource<K> {
    const present = this.#expect(kind, name, expected);
    const { metadata } = present;
    if (metadata.deletionTimestamp !== undefined) {
      const added = part.metadata.finalizers.filter((finalizer) => !metadata.finalizers.includes(finalizer));
      if (added.length > 0) {
        throw new AzekuraError(
          'InvalidArgument',
          `${kind} ${name} is being deleted and takes no new finalizer (${added.join(', ')})`,
        );
      }
    }
    const respecified = !sameJson(part.spec, present.spec);
    const generation = metadata.generation + (respecified ? 1 : 0);
    const next: Resource<K> = { ...present, metadata: { ...metadata, ...part.metadata, generation }, spec: part.spec };
    if (metadata.deletionTimestamp !== undefined && part.metadata.finalizers.length === 0) {
      const last = this.#remove(next, present);
      for (const orphan of this.#orphansOf(metadata.uid)) this.#askToGo(orphan);
      return last;
    }
    return this.#replace(next, present);
  }

  updateStatus<K extends Kind>(kind: K, name: string, expected: Expected, status: StatusOf<K>): Resource<K> {
    const present = this.#expect(kind, name, expected);
    return this.#replace({ ...present, status }, present);
  }

  delete(kind: Kind, name: string, expected: Expected, annotations: Readonly<Record<string, string>>): void {
    const present = this.find(kind, name);
    if (!present) return;
    this.#checkExpected(present, expected);
    this.#askToGo(present, annotations);
  }

  /** Asks an object to go when it has owners and none of them is there (any more). */
  collect(kind: Kind, name: string): void {
    const object = this.find(kind, name);
    if (object && this.isOrphan(object)) this.#askToGo(object);
  }

  isOrphan({ metadata: { ownerReferences } }: StoredObject): boolean {
    return ownerReferences.length > 0 && ownerReferences.every((owner) => !this.#isThere(owner));
  }

  /** Asks all orphans to go: those whose owner went while this rule did not hold, in a migrated or restored store. */
  sweep(): void {
    const owned = [...this.#tables.owners.getKeys()];
    for (const key of owned) {
      const { kind, name } = ownedByKey(key);
      this.collect(kind, name);
    }
  }

  #expect<K extends Kind>(kind: K, name: string, expected: Expected): Resource<K> {
    const present = this.find(kind, name);
    if (!present) throw new AzekuraError('NotFound', `there is no ${kind} ${name}`);
    this.#checkExpected(present, expected);
    return present;
  }

  #checkExpected({ kind, metadata }: StoredObject, expected: Expected): void {
    if (expected.uid !== undefined && expected.uid !== metadata.uid) {
      throw new AzekuraError(
        'Conflict',
        `${kind} ${metadata.name} is not the one that was read: it was deleted and made again`,
        {
          next: 'read it again',
        },
      );
    }
    if (expected.resourceVersion !== undefined && expected.resourceVersion !== metadata.resourceVersion) {
      throw new AzekuraError('Conflict', `${kind} ${metadata.name} was changed since it was read`, {
        next: 'read it again and repeat the change',
      });
    }
  }

  #isThere({ apiVersion: version, kind, name, uid }: OwnerReference): boolean {
    // An owner that lives elsewhere, such as a pod, is not ours to judge.
    if (version !== apiVersion || !Object.hasOwn(kinds, kind)) return true;
    return this.find(kind as Kind, name)?.metadata.uid === uid;
  }

  /** @param noted annotations for the first, if it stays for now */
  #askToGo(first: StoredObject, noted: Readonly<Record<string, string>> = {}): void {
    const leaving = [first];
    for (let object = leaving.pop(); object; object = leaving.pop()) {
      if (object.metadata.finalizers.length === 0) {
        this.#remove(object, object);
        leaving.push(...this.#orphansOf(object.metadata.uid));
      } else if (object.metadata.deletionTimestamp === undefined) {
        const annotations =
          object === first ? { ...object.metadata.annotations, ...noted } : object.metadata.annotations;
        const metadata = { ...object.metadata, annotations, deletionTimestamp: this.#now() };
        this.#write('modified', { ...object, metadata }, object);
      }
    }
  }

  #orphansOf(uid: string): StoredObject[] {
    const orphans: StoredObject[] = [];
    for (const key of [...this.#tables.owners.getKeys(under(`${uid}/`))]) {
      const { kind, name } = ownedByKey(key);
      const object = this.find(kind, name);
      if (object && this.isOrphan(object)) orphans.push(object);
    }
    return orphans;
  }

  #replace<K extends Kind>(next: Resource<K>, present: Resource<K>): Resource<K> {
    if (sameJson(next, present)) return present;
    return this.#write('modified', next, present);
  }

  #write<K extends Kind>(
    type: 'added' | 'modified',
    object: Resource<K>,
    before: Resource<K> | undefined,
  ): Resource<K> {
    const { kind, metadata } = object;
    const key = `${kind}/${metadata.name}`;
    const { revision, json } = this.#stamped(object);
    checkBytes(object, json);
    this.#tables.meta.putSync('revision', String(revision));
    this.#tables.objects.putSync(key, json);
    const stale = new Set(before ? ownerKeys(before) : []);
    for (const key of ownerKeys(object)) if (!stale.delete(key)) this.#tables.owners.putSync(key, '');
    for (const key of stale) this.#tables.owners.removeSync(key);
    const undo = before && this.#parsed.json(before);
    const written = this.#parsed.object<K>(key, json);
    this.#history.append(type, written, json, undo);
    return written;
  }

  /** @param last the state to be remembered of it, perhaps changed by the same write */
  #remove<K extends Kind>(last: Resource<K>, before: Resource<K>): Resource<K> {
    const { revision, json } = this.#stamped(last);
    const { kind, metadata } = before;
    const key = `${kind}/${metadata.name}`;
    this.#tables.meta.putSync('revision', String(revision));
    this.#tables.objects.removeSync(key);
    for (const key of ownerKeys(before)) this.#tables.owners.removeSync(key);
    const removed = parseObject<K>(json);
    const undo = this.#parsed.json(before);
    this.#parsed.forget(key);
    this.#history.append('deleted', removed, json, undo);
    return removed;
  }

  #stamped(object: StoredObject): { readonly revision: number; readonly json: string } {
    const revision = Number(this.#tables.meta.get('revision')) + 1;
    const json = JSON.stringify({ ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } });
    return { revision, json };
  }
}
