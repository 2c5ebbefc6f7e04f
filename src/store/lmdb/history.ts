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
  /** The kinds of what was recorded since the last time this was asked; a transaction that failed counts too. */
  takeTouched(): ReadonlySet<Kind>;
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

const mostRecent = 64;

interface Extent {
  /** Events up to this revision are no longer known. */
  readonly floor: number;
  readonly count: number;
}

/** @param limit events that are kept of each kind; a sixteenth more may lie on the disk */
export function makeHistory({ meta, events, undo }: Tables, limit: number): History {
  const slack = Math.ceil(limit / 16);
  let touched = new Set<Kind>();
  /**
   * What was written or read last, by key, with the text that it stands for: each change is read by every watch of its
   * kind, mostly at once, and what a failed transaction has left here must not be taken for its successor.
   */
  const recent = new Map<string, { readonly text: string; readonly change: Change<Kind> }>();

  function remember(key: string, text: string, change: Change<Kind>): Change<Kind> {
    recent.delete(key);
    recent.set(key, { text, change });
    const [oldestKey] = recent.keys();
    if (recent.size > mostRecent && oldestKey !== undefined) recent.delete(oldestKey);
    return change;
  }

  function changeOf(key: string, text: string): Change<Kind> {
    const known = recent.get(key);
    if (known?.text === text) return known.change;
    const { type, object } = JSON.parse(text) as Change<Kind>;
    return remember(key, text, { type, object: deepFreeze(object) });
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
      touched.add(kind);
      const key = eventKey(kind, parseRevision(metadata.resourceVersion));
      const text = `{"type":"${type}","object":${json}}`;
      events.putSync(key, text);
      remember(key, text, { type, object });
      undo.putSync(key, before ?? 'null');
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

    takeTouched() {
      const taken = touched;
      touched = new Set();
      return taken;
    },

    read<K extends Kind>(kind: K, after: number, most: number, fields?: Fields) {
      checkKnown(kind, after);
      const found: SeenChange<K>[] = [];
      const range = { start: eventKey(kind, after + 1), end: under(`${kind}/`).end, limit: most };
      for (const { key, value } of events.getRange(range)) {
        const change = changeOf(key, value) as Change<K>;
        const revision = revisionOfKey(key);
        const seen = fields && Object.keys(fields).length > 0 ? through(fields, change, undo.get(key)) : change;
        const event = seen && { ...seen, object: deepFreeze(seen.object), resourceVersion: String(revision) };
        found.push({ revision, event });
      }
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
