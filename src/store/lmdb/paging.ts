import { AzekuraError } from '../../model/errors.ts';
import type { Kind, Resource } from '../../model/kinds.ts';
import { checkFields, matchesFields } from '../fields.ts';
import type { ListOptions, ResourceList } from '../store.ts';
import { checkLimit } from '../validate.ts';
import type { History } from './history.ts';
import type { Tables } from './layout.ts';
import { parseObject } from './records.ts';
import { under } from './tables.ts';

/** Where the next page of a list begins, and of which instant all its pages tell. */
interface Token {
  readonly revision: number;
  readonly after: string;
}

/**
 * One page of a list, or all of it. Later pages show the revision of the first: what changed since is taken from the
 * undo log.
 *
 * @throws AzekuraError Expired when the undo log does not reach back to the first page; InvalidArgument
 */
export function readList<K extends Kind>(
  { objects, meta }: Tables,
  history: History,
  kind: K,
  { limit, continueToken, labels, fields }: ListOptions,
): ResourceList<K> {
  checkFields(kind, fields);
  checkLimit(limit);
  const token = continueToken === undefined ? undefined : parseToken(continueToken);
  const revision = token?.revision ?? Number(meta.get('revision'));
  const past = token ? history.changedSince(kind, revision) : new Map<string, string | undefined>();
  const range = under(`${kind}/`);
  const start = token ? `${kind}/${token.after}\u0001` : range.start;

  const items: Resource<K>[] = [];
  for (const { name, json } of merged(objects.getRange({ start, end: range.end }), past, kind, token?.after)) {
    const object = parseObject<K>(json);
    if (!matches(object, labels) || !matchesFields(object, fields)) continue;
    if (items.length === limit) {
      const after = items[items.length - 1]?.metadata.name ?? name;
      return { items, resourceVersion: String(revision), continueToken: formatToken({ revision, after }) };
    }
    items.push(object);
  }
  return { items, resourceVersion: String(revision) };
}

/** The present objects with the past of those that changed, in the order of names. */
function* merged(
  present: Iterable<{ key: string; value: string }>,
  past: ReadonlyMap<string, string | undefined>,
  kind: Kind,
  after: string | undefined,
): Iterable<{ readonly name: string; readonly json: string }> {
  const names = [...past.keys()].filter((name) => after === undefined || name > after).sort();
  let next = 0;
  const pastBefore = function* (end: string | undefined) {
    for (let name = names[next]; name !== undefined && (end === undefined || name < end); name = names[++next]) {
      const json = past.get(name);
      if (json !== undefined) yield { name, json };
    }
  };
  for (const { key, value } of present) {
    const name = key.slice(kind.length + 1);
    yield* pastBefore(name);
    if (!past.has(name)) yield { name, json: value };
  }
  yield* pastBefore(undefined);
}

function matches({ metadata }: Resource, labels: ListOptions['labels']): boolean {
  return Object.entries(labels ?? {}).every(
    ([key, value]) => Object.hasOwn(metadata.labels, key) && metadata.labels[key] === value,
  );
}

function formatToken({ revision, after }: Token): string {
  return Buffer.from(`${revision}/${after}`).toString('base64url');
}

function parseToken(text: string): Token {
  const match = /^(\d{1,15})\/([-.a-z0-9]{1,253})$/.exec(Buffer.from(text, 'base64url').toString('latin1'));
  if (match) return { revision: Number(match[1]), after: match[2] ?? '' };
  throw new AzekuraError('InvalidArgument', 'the continue token is not one that this store gave out', {
    next: 'list again from the beginning',
  });
}
