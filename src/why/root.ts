import type { Cause } from '../model/cause.ts';
import { type CauseCode, causeCatalogue } from '../model/causes.ts';
import { explains } from './explains.ts';
import { causesOf, dependenciesOf, type Relations, type Subject } from './relations.ts';

/** The root cause of what is wrong with an object. */
export interface Root {
  readonly cause: Cause;
  /** From the object that was asked about down to the one that has the cause. */
  readonly path: readonly Subject[];
}

/**
 * Finds the one cause that keeps an object from being as it should be: begins with the worst cause that it has, or that
 * something has on which it depends, and goes down as long as something deeper explains it.
 *
 * @returns undefined when all is well
 */
export function findRoot(relations: Relations, start: Subject): Root | undefined {
  const chains = chainsFrom(relations, start);
  const found = chains.flatMap((path) => {
    const at = path.at(-1);
    if (!at) return [];
    // What is worth knowing of a pool is nothing of the volumes on it.
    const causes = causesOf(relations, at).filter(({ code }) => path.length === 1 || code !== 'PoolHasOrphans');
    return causes.map((cause) => ({ cause, path }));
  });
  let root = worst(found);
  // Each turn goes strictly deeper, so this ends.
  for (;;) {
    const deeper = root && explainer(found, root);
    if (!deeper) return root;
    root = deeper;
  }
}

const rank = { blocking: 0, degraded: 1, notice: 2 } as const;

function severity(code: CauseCode): number {
  return rank[causeCatalogue[code].severity];
}

/** The most severe one; among equals the nearest to what was asked about, then the oldest. */
function worst(found: readonly Root[]): Root | undefined {
  const [first] = [...found].sort(
    (a, b) =>
      severity(a.cause.code) - severity(b.cause.code) ||
      a.path.length - b.path.length ||
      (a.cause.since ?? '').localeCompare(b.cause.since ?? ''),
  );
  return first;
}

/**
 * What explains a cause: something on the way down from the same object, or beside it on what is depended on alike.
 * The same code deeper down is the same cause at its origin.
 */
function explainer(found: readonly Root[], symptom: Root): Root | undefined {
  const candidates = found.filter(
    (one) =>
      one !== symptom &&
      explains(one.cause.code, symptom.cause.code) &&
      (one.path.length > symptom.path.length ||
        (one.path.length === symptom.path.length && severityBeats(one, symptom))),
  );
  const blocking = candidates.filter((one) => one.path.length > symptom.path.length);
  return worst(blocking.length > 0 ? blocking : candidates);
}

/** On one object a cause explains another only when it is not explained by it: else they would chase each other. */
function severityBeats(one: Root, symptom: Root): boolean {
  return one.cause.code !== symptom.cause.code && !explains(symptom.cause.code, one.cause.code);
}

/** All ways down from an object, the object itself first. Dependencies have no circles, and a guard against them. */
function chainsFrom(relations: Relations, start: Subject): readonly (readonly Subject[])[] {
  const chains: Subject[][] = [];
  const seen = new Set<string>();
  let level: Subject[][] = [[start]];
  while (level.length > 0) {
    const next: Subject[][] = [];
    for (const path of level) {
      const at = path.at(-1);
      if (!at || seen.has(`${at.kind}/${at.name}`)) continue;
      seen.add(`${at.kind}/${at.name}`);
      chains.push(path);
      for (const dependency of dependenciesOf(relations, at)) next.push([...path, dependency]);
    }
    level = next;
  }
  return chains;
}
