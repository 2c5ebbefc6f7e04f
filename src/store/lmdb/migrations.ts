import type { Tables } from './layout.ts';
import { ownerKeys, type StoredObject } from './records.ts';

/** The format this version reads and writes. Each change of what is on disk adds one here and a migration below. */
export const formatVersion = 1;

/** Rewrites the tables from one format to the next; runs inside a write transaction, all migrations in the same one. */
export type Migration = (tables: Tables) => void;

/** migrations[n] goes from format n to n + 1. None is ever changed or removed. */
export const migrations: readonly Migration[] = [fromObjectsAlone];

/**
 * Format 0 had the table of objects only (a new store has not even that). Derives the revision and the owner index;
 * history starts at the present, so older watches and pages are told to begin again.
 */
function fromObjectsAlone({ objects, owners, meta }: Tables): void {
  let revision = 0;
  const floors = new Set<string>();
  for (const { value } of objects.getRange()) {
    const object = JSON.parse(value) as StoredObject;
    revision = Math.max(revision, Number(object.metadata.resourceVersion));
    floors.add(object.kind);
    for (const key of ownerKeys(object)) owners.putSync(key, '');
  }
  meta.putSync('revision', String(revision));
  for (const kind of floors) meta.putSync(`history/${kind}`, JSON.stringify({ floor: revision, count: 0 }));
}
