import { z } from 'zod';
import { type CauseCode, causeCatalogue } from './causes.ts';
import { Timestamp } from './meta.ts';

/** Something that is not as it should be: what (code), how we know (evidence), and what to do (next step). */
export const Cause = z.object({
  code: z.enum(Object.keys(causeCatalogue) as [CauseCode, ...CauseCode[]]),
  /** One sentence for a person, with the names of what is concerned. */
  message: z.string(),
  /** What was seen, as short "key: value" facts. */
  evidence: z.record(z.string(), z.string()).default({}),
  /** The next step, one sentence. */
  nextStep: z.string(),
  /** When this was first seen without a break. */
  since: Timestamp.optional(),
});
export type Cause = z.infer<typeof Cause>;

/**
 * Makes a cause from the catalogue, so that its sentence and next step are the same everywhere.
 *
 * @param code one of the catalogue's
 * @param values fill the catalogue's {placeholders}; those not named in a template become evidence only
 * @param since RFC 3339
 */
export function makeCause(code: CauseCode, values: Record<string, string | number> = {}, since?: string): Cause {
  const entry = causeCatalogue[code];
  const evidence: Record<string, string> = {};
  for (const [key, value] of Object.entries(values)) evidence[key] = String(value);
  const fill = (template: string) => template.replace(/\{(\w+)\}/g, (whole, key: string) => evidence[key] ?? whole);
  return { code, message: fill(entry.message), evidence, nextStep: fill(entry.nextStep), ...(since ? { since } : {}) };
}

/** The cause of an object that a person should read first: the most severe one, the oldest among equals. */
export function worstCause(causes: readonly Cause[]): Cause | undefined {
  const rank = { blocking: 0, degraded: 1, notice: 2 } as const;
  return [...causes].sort(
    (a, b) =>
      rank[causeCatalogue[a.code].severity] - rank[causeCatalogue[b.code].severity] ||
      (a.since ?? '').localeCompare(b.since ?? ''),
  )[0];
}
