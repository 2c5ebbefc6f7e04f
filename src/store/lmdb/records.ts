import { AzekuraError } from '../../model/errors.ts';
import type { Kind, Resource } from '../../model/kinds.ts';
import { nodeNamePattern } from '../../model/meta.ts';
import { deepFreeze } from '../frozen.ts';

/** An object as it comes out of the tables; its schema was checked when it went in. */
export type StoredObject = Resource<Kind>;

/** The place of an object; undefined for what cannot be a name, so that no key is built from it. */
export function objectKey(kind: string, name: string): string | undefined {
  return name.length <= 253 && nodeNamePattern.test(name) ? `${kind}/${name}` : undefined;
}

/** The place of an event; the order of keys is the order of revisions. */
export function eventKey(kind: string, revision: number): string {
  return `${kind}/${String(revision).padStart(16, '0')}`;
}

/** The revision in the key of an event. */
export function revisionOfKey(key: string): number {
  return Number(key.slice(key.indexOf('/') + 1));
}

/** The entries of an object in the table of owners. */
export function ownerKeys({ kind, metadata }: StoredObject): string[] {
  return metadata.ownerReferences.map(({ uid }) => `${uid}/${kind}/${metadata.name}`);
}

/** Kind and name in a key of the table of owners. */
export function ownedByKey(key: string): { readonly kind: Kind; readonly name: string } {
  const [name = '', kind = ''] = key.split('/').reverse();
  return { kind: kind as Kind, name };
}

/** A frozen object from its JSON. */
export function parseObject<K extends Kind>(json: string): Resource<K> {
  return deepFreeze(JSON.parse(json)) as Resource<K>;
}

/** Reads a resourceVersion that a caller hands back. @throws AzekuraError InvalidArgument */
export function parseRevision(version: string): number {
  if (/^\d{1,15}$/.test(version)) return Number(version);
  throw new AzekuraError('InvalidArgument', `${JSON.stringify(version)} is not a resource version of this store`, {
    next: 'use a version as the store gave it, or list again',
  });
}
