import { AzekuraError } from '../../model/errors.ts';

/**
 * One page of a list in the order of keys. The token names the last key that was given, so that what comes and goes
 * between two pages neither repeats nor hides an entry.
 *
 * @throws AzekuraError Aborted for a token that is not ours (CSI's code for it); InvalidArgument for a negative number
 */
export function pageOf<T>(
  items: readonly T[],
  key: (item: T) => string,
  request: { readonly maxEntries: number; readonly startingToken: string },
): { readonly entries: readonly T[]; readonly nextToken: string } {
  if (request.maxEntries < 0) throw new AzekuraError('InvalidArgument', 'field max_entries is negative');
  const after = request.startingToken === '' ? undefined : readToken(request.startingToken);
  const sorted = [...items].sort((a, b) => (key(a) < key(b) ? -1 : 1));
  const rest = after === undefined ? sorted : sorted.filter((item) => key(item) > after);
  const entries = request.maxEntries === 0 ? rest : rest.slice(0, request.maxEntries);
  const last = entries.at(-1);
  return { entries, nextToken: entries.length < rest.length && last !== undefined ? makeToken(key(last)) : '' };
}

const mark = 'v1:';

function makeToken(lastKey: string): string {
  return Buffer.from(mark + lastKey).toString('base64url');
}

function readToken(token: string): string {
  const text = Buffer.from(token, 'base64url').toString();
  // Decoding ignores what is not base64, so only a token that comes out the same was made by us.
  if (!text.startsWith(mark) || makeToken(text.slice(mark.length)) !== token)
    throw new AzekuraError('Aborted', 'the starting token is not valid', { next: 'list again from the beginning' });
  return text.slice(mark.length);
}
