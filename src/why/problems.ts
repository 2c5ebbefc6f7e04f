import type { Cause } from '../model/cause.ts';
import type { Kind } from '../model/kinds.ts';
import { causesOf, type Relations, type Subject } from './relations.ts';
import { findRoot } from './root.ts';

/** One root cause and everything that suffers from it. */
export interface Problem {
  readonly cause: Cause;
  /** The object that has the cause. */
  readonly origin: Subject;
  /** What suffers, as "kind/name", the origin first. */
  readonly affects: readonly string[];
}

const looked: readonly Kind[] = ['Node', 'Pool', 'Volume', 'RecycledVolume', 'Snapshot', 'SnapshotGroup'];

/** Every root cause once, with what it affects; in the order in which a person should read them. */
export function problems(relations: Relations): readonly Problem[] {
  const byRoot = new Map<string, { cause: Cause; origin: Subject; affects: Set<string> }>();
  for (const kind of looked) {
    for (const { metadata } of relations.list(kind)) {
      const subject = { kind, name: metadata.name };
      // An object depends on pools that are merely near full: only what it feels itself is its problem.
      if (causesOf(relations, subject).length === 0 && kind !== 'Node' && kind !== 'Pool') continue;
      const root = findRoot(relations, subject);
      if (root) enter(byRoot, root.cause, root.path.at(-1) ?? subject, subject);
      // A pool may be near full and without a journal at once: each is a problem of its own.
      for (const cause of causesOf(relations, subject))
        if (kind === 'Node' || kind === 'Pool') enter(byRoot, cause, subject, subject);
    }
  }
  return [...byRoot.values()].map(({ cause, origin, affects }) => ({ cause, origin, affects: [...affects] }));
}

function enter(
  byRoot: Map<string, { cause: Cause; origin: Subject; affects: Set<string> }>,
  cause: Cause,
  origin: Subject,
  subject: Subject,
): void {
  const key = `${origin.kind}/${origin.name}/${cause.code}`;
  const known = byRoot.get(key) ?? { cause, origin, affects: new Set<string>() };
  known.affects.add(`${subject.kind.toLowerCase()}/${subject.name}`);
  byRoot.set(key, known);
}
