import type { Database, RootDatabase } from 'lmdb';

/**
 * What is on disk: one LMDB environment with five tables of strings. Keys are plain text, so that `mdb_dump` shows them.
 *
 * meta     format            → {"formatVersion": 1, "writtenBy": "azekura 0.1.0"}
 *          revision          → the number of the last change
 *          history/<kind>    → {"floor": 7, "count": 12}: how far back the events of a kind go
 * objects  <kind>/<name>     → the object as JSON
 * events   <kind>/<revision> → {"type": "modified", "object": …}; the revision has 16 digits
 * undo     <kind>/<revision> → the object before that change as JSON, or null: lets a page of a list show the past
 * owners   <owner's uid>/<kind>/<name> → "": who is owned
 */
export interface Tables {
  readonly root: RootDatabase<string, string>;
  readonly meta: Table;
  readonly objects: Table;
  readonly events: Table;
  readonly undo: Table;
  readonly owners: Table;
}

export type Table = Database<string, string>;
