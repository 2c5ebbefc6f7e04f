import { AzekuraError } from '../../model/errors.ts';
import type { Kind, Resource } from '../../model/kinds.ts';
import { deepFreeze } from '../frozen.ts';
import type { WatchEvent } from '../store.ts';
import type { Table, Tables } from './layout.ts';
import { eventKey, revisionOfKey } from './records.ts';
import { under } from './tables.ts';

/** The event log of each kind, bounded: what happened, and how things were before. */
export interface History {
  /** Records a change; to be called in a write transaction. `json` and `before` are objects as JSON. */
  append(
    kind: Kind,
    revision: number,
    type: 'added' | 'modified' | 'deleted',
    json: string,
    before: string | undefined,
  ): void;
  /** The next events after a revision, at most `limit`. @throws AzekuraError Expired */
  read<K extends Kind>(
    kind: K,
    after: number,
    limit: number,
  ): readonly (WatchEvent<K> & { readonly revision: number })[];
  /** For each object that changed after a revision, its JSON at that revision; undefined when it was not there. @throws AzekuraError Expired */
  changedSince(kind: Kind, revision: number): ReadonlyMap<string, string | undefined>;
}

interface Extent {
  /** Events up to this revision are no longer known. */
  readonly floor: number;
  readonly count: number;
}

/** @param limit events that are kept of each kind; a sixteenth more may lie on the disk */
export function makeHistory({ meta, events, undo }: Tables, limit: number): History {
  const slack = Math.ceil(limit / 16);

  function extentOf(kind: Kind): Extent {
    const record = meta.get(`history/${kind}`);
    return record === undefined ? { floor: 0, count: 0 } : (JSON.parse(record) as Extent);
  }

  function checkKnown(kind: Kind, revision: number): void {
    const head = Number(meta.get('revision'));
    // A version from the future was given out by another store, or by this one before it was restored from a copy.
    if (revision >= extentOf(kind).floor && revision <= head) return;
    throw new AzekuraError('Expired', `The history of ${kind} at version ${revision} is no longer known.`, {
      next: 'List again, and watch from the version of that list.',
    });
  }

  return {
    append(kind, revision, type, json, before) {
      const key = eventKey(kind, revision);
      events.putSync(key, `{"type":"${type}","object":${json}}`);
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

    read<K extends Kind>(kind: K, after: number, most: number) {
      checkKnown(kind, after);
      const found: (WatchEvent<K> & { readonly revision: number })[] = [];
      const range = { start: eventKey(kind, after + 1), end: under(`${kind}/`).end, limit: most };
      for (const { key, value } of events.getRange(range)) {
        const event = JSON.parse(value) as { type: 'added' | 'modified' | 'deleted'; object: Resource<K> };
        const revision = revisionOfKey(key);
        found.push({ type: event.type, object: deepFreeze(event.object), resourceVersion: String(revision), revision });
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

function oldest(events: Table, kind: Kind, count: number): string[] {
  return [...events.getKeys({ ...under(`${kind}/`), limit: count })];
}
