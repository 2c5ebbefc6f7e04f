import { parseDurationMs } from '../lib/duration.ts';
import { parseQuantity } from '../lib/quantity.ts';
import { AzekuraError } from '../model/errors.ts';
import { Name, NodeName } from '../model/meta.ts';

/**
 * Reads a size such as "10Gi".
 *
 * @param option names it in the error: "--size"
 * @throws AzekuraError InvalidArgument
 */
export function parseSize(text: string, option: string): number {
  const parsed = parseQuantity(text);
  if (parsed.ok) return parsed.bytes;
  throw new AzekuraError('InvalidArgument', `${option} "${text}" ${parsed.problem}`, {
    next: 'write for example 10Gi, 500M or 1073741824',
  });
}

/**
 * Checks a name here as well as in the daemon, so that nobody waits for a daemon to hear of a typing error.
 *
 * @throws AzekuraError InvalidArgument
 */
export function parseName(text: string, what: string): string {
  const parsed = (what === 'node' ? NodeName : Name).safeParse(text);
  if (parsed.success) return text;
  throw new AzekuraError(
    'InvalidArgument',
    `the ${what} name "${text.slice(0, 140)}" ${parsed.error.issues[0]?.message ?? 'is not valid'}`,
    {
      next: 'choose a name such as "db-1"',
    },
  );
}

/** Reads a duration such as "90s", "15m" or "7d". @throws AzekuraError InvalidArgument */
export function parseDuration(text: string, option: string): number {
  const ms = parseDurationMs(text);
  if (ms !== undefined && Number.isSafeInteger(ms) && ms <= 10 * 365 * 86_400_000) return ms;
  throw new AzekuraError('InvalidArgument', `${option} "${text}" is not a duration`, {
    next: 'write for example 90s, 15m, 24h or 7d',
  });
}

/** Reads a number within bounds. @throws AzekuraError InvalidArgument */
export function parseNumber(text: string, option: string, minimum: number, maximum: number): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= minimum && value <= maximum) return value;
  throw new AzekuraError('InvalidArgument', `${option} "${text}" is not a number from ${minimum} to ${maximum}`);
}

/** Reads "key=value" pairs; "key-" removes the key where that is allowed. @throws AzekuraError InvalidArgument */
export function parsePairs(texts: readonly string[], option: string, removable = false): Record<string, string | null> {
  const pairs: Record<string, string | null> = {};
  for (const text of texts) {
    const equals = text.indexOf('=');
    if (equals > 0) pairs[text.slice(0, equals)] = text.slice(equals + 1);
    else if (removable && /^[^=]+-$/.test(text)) pairs[text.slice(0, -1)] = null;
    else throw new AzekuraError('InvalidArgument', `${option} "${text}" is not of the form key=value`);
  }
  return pairs;
}

/** For options that may be given several times. */
export function collect(value: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), value];
}
