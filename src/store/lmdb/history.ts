import { AzekuraError } from '../../model/errors.ts';
import type { Kind, Resource } from '../../model/kinds.ts';
import { matchesFields } from '../fields.ts';
import { deepFreeze } from '../frozen.ts';
import type { Fields, WatchEvent } from '../store.ts';
import type { Table, Tables } from './layout.ts';
import { eventKey, parseRevision, revisionOfKey } from './records.ts';
import { under } from './tables.ts';

/** The event log of each kind, bounded: what happened, and how things were before. */
export interface History {
  /** Records a change; to be called in a write transaction. `json` is the object's, `before` what it was, as JSON. */
  append(type: 'added' | 'modified' | 'deleted', object: Resource, json: string, before: string | undefined): void;
  /**
   * What was recorded since the last call of this or of abandoned() is durable.
   *
   * @returns its kinds, and those of transactions that have failed since: a commit may fail when all is written
   */
  committed(): ReadonlySet<Kind>;
  /** The transaction has failed: what was recorded in it has not happened, or only the log on the disk tells. */
  abandoned(): void;
  /**
   * The next changes after a revision, at most `limit`, as seen by a watch of these fields: without an event when the
   * change does not concern it. @throws AzekuraError Expired
   */
  read<K extends Kind>(kind: K, after: number, limit: number, fields?: Fields): readonly SeenChange<K>[];
  /** For each object that changed after a revision, its JSON at that revision; undefined when it was not there. @throws AzekuraError Expired */
  changedSince(kind: Kind, revision: number): ReadonlyMap<string, string | undefined>;
}

export interface SeenChange<K extends Kind> {
  readonly revision: number;
  readonly event: WatchEvent<K> | undefined;
}

/** Changes of each kind that are kept in memory as well: watches read them at once, mostly, and all of them the same. */
const mostInMemory = 64;

/** The newest durable changes of a kind. */
interface Tail {
  /** Later changes than this one are all here. */
  floor: number;
  readonly changes: Known[];
}

interface Known {
  readonly revision: number;
  readonly change: Change<Kind>;
}

interface Extent {
  /** Events up to this revision are no longer known. */
  readonly floor: number;
  readonly count: number;
}

/** @param limit events that are kept of each kind; a sixteenth more may lie on the disk */
export function makeHistory({ meta, events, undo }: Tables, limit: number): History {
  const slack = Math.ceil(limit / 16);
  // What a watch of some fields was before is read from the disk.
  const mostRecent = Math.min(mostInMemory, limit);
  const tails = new Map<Kind, Tail>();
  let recorded: Known[] = [];
  let doubtful = new Set<Kind>();
  /** No kind has changed between this revision, the last one that is not known here, and its tail. */
  let start = Number(meta.get('revision') ?? 0);
  let head = start;

  function keep(known: Known): void {
    const { kind } = known.change.object;
    if (known.revision !== head + 1) {
      // A commit that was called failed has happened after all.
      tails.clear();
      start = known.revision - 1;
    }
    const tail = tails.get(kind) ?? { floor: start, changes: [] };
    tails.set(kind, tail);
    tail.changes.push(known);
    if (tail.changes.length > mostRecent) tail.floor = tail.changes.shift()?.revision ?? tail.floor;
    head = known.revision;
  }

  /** Undefined when the memory does not reach back so far. */
  function recent(kind: Kind, after: number, most: number): readonly Known[] | undefined {
    const { floor, changes } = tails.get(kind) ?? { floor: start, changes: [] };
    if (after < floor || after > head) return undefined;
    let first = changes.length;
    while (first > 0 && (changes[first - 1]?.revision ?? 0) > after) first -= 1;
    return changes.slice(first, first + most);
  }

  function extentOf(kind: Kind): Extent {
    const record = meta.get(`history/${kind}`);
    return record === undefined ? { floor: 0, count: 0 } : (JSON.parse(record) as Extent);
  }

  function checkKnown(kind: Kind, revision: number): void {
    const head = Number(meta.get('revision'));
    // A version from the future was given out by another store, or by this one before it was restored from a copy.
    if (revision >= extentOf(kind).floor && revision <= head) return;
    throw new AzekuraError('Expired', `the history of ${kind} at version ${revision} is no longer known`, {
      next: 'list again, and watch from the version of that list',
    });
  }

  return {
    append(type, object, json, before) {
      const { kind, metadata } = object;
      const revision = parseRevision(metadata.resourceVersion);
      const key = eventKey(kind, revision);
      events.putSync(key, `{"type":"${type}","object":${json}}`);
      undo.putSync(key, before ?? 'null');
      recorded.push({ revision, change: { type, object } });
      let { floor, count } = extentOf(kind);
      count++;
      if (count > limit + slack) {
        for (const old of oldest(events, kind, count - limit)) {
          events.removeSync(old);
          undo.removeSync(old);
          floor = revisionOfKey(old);
          count--;
        }
      }
      meta.putSync(`history/${kind}`, JSON.stringify({ floor, count }));
    },

    committed() {
      const kinds = doubtful;
      doubtful = new Set();
      for (const known of recorded) {
        keep(known);
        kinds.add(known.change.object.kind);
      }
      recorded = [];
      return kinds;
    },

    abandoned() {
      for (const { change } of recorded) doubtful.add(change.object.kind);
      recorded = [];
    },

    read<K extends Kind>(kind: K, after: number, most: number, fields?: Fields) {
      const selects = fields && Object.keys(fields).length > 0;
      const seenAs = (revision: number, change: Change<K>): SeenChange<K> => {
        const seen = selects ? through(fields, change, undo.get(eventKey(kind, revision))) : change;
        return {
          revision,
          event: seen && { ...seen, object: deepFreeze(seen.object), resourceVersion: String(revision) },
        };
      };
      const known = recent(kind, after, most);
      if (known) return known.map(({ revision, change }) => seenAs(revision, change as Change<K>));
      checkKnown(kind, after);
      const found: SeenChange<K>[] = [];
      const range = { start: eventKey(kind, after + 1), end: under(`${kind}/`).end, limit: most };
      for (const { key, value } of events.getRange(range))
        found.push(seenAs(revisionOfKey(key), JSON.parse(value) as Change<K>));
      return found;
    },

    changedSince(kind, revision) {
      checkKnown(kind, revision);
      const before = new Map<string, string | undefined>();
      const range = { start: eventKey(kind, revision + 1), end: under(`${kind}/`).end };
      for (const { key, value } of events.getRange(range)) {
        const { object } = JSON.parse(value) as { object: { metadata: { name: string } } };
        if (before.has(object.metadata.name)) continue;
        const json = undo.get(key);
        before.set(object.metadata.name, json === 'null' ? undefined : json);
      }
      return before;
    },
  };
}

interface Change<K extends Kind> {
  readonly type: 'added' | 'modified' | 'deleted';
  readonly object: Resource<K>;
}

/** What a watch of these fields sees of a change: who enters the selection is added to it, who leaves it is deleted. */
function through<K extends Kind>(
  fields: Fields,
  { type, object }: Change<K>,
  undo: string | undefined,
): Change<K> | undefined {
  const before = undo === undefined ? null : (JSON.parse(undo) as Resource<K> | null);
  const was = before !== null && matchesFields(before, fields);
  const is = type !== 'deleted' && matchesFields(object, fields);
  if (is) return { type: was ? 'modified' : 'added', object };
  if (!was || before === null) return undefined;
  if (type === 'deleted' && matchesFields(object, fields)) return { type, object };
  const { resourceVersion } = object.metadata;
  return { type: 'deleted', object: { ...before, metadata: { ...before.metadata, resourceVersion } } };
}

function oldest(events: Table, kind: Kind, count: number): string[] {
  return [...events.getKeys({ ...under(`${kind}/`), limit: count })];
}
