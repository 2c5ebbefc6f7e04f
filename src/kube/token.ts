import { readFileSync } from 'node:fs';
import { AzekuraError } from '../model/errors.ts';

/** Gives the bearer token of the moment. */
export interface Token {
  /** @param refused the server did not accept the last one: do not answer from memory */
  get(refused: boolean): Promise<string>;
}

export function fixedToken(token: string): Token {
  return { get: async () => token };
}

/** Kubelets renew a mounted token when four fifths of its life are over; clients are to look at least once a minute. */
const rereadMs = 60_000;

/** A token that somebody else keeps renewing in a file. */
export function tokenFile(path: string, nowMs: () => number = () => performance.now()): Token {
  let known: { readonly token: string; readonly readAtMs: number } | undefined;
  return {
    async get(refused) {
      if (known && !refused && nowMs() - known.readAtMs < rereadMs) return known.token;
      try {
        known = { token: readFileSync(path, 'utf8').trim(), readAtMs: nowMs() };
      } catch (error) {
        // A file that is being replaced is no reason to forget a token that may be good still.
        if (known && !refused) return known.token;
        throw new AzekuraError('Unauthenticated', `the token file ${path} cannot be read`, { cause: error });
      }
      return known.token;
    },
  };
}

/** A token that lasts until a moment, after which it is asked for again. */
export function expiringToken(
  renew: () => Promise<{ readonly token: string; readonly expiresAtMs: number | undefined }>,
  nowMs: () => number = Date.now,
): Token {
  let known: { readonly token: string; readonly expiresAtMs: number | undefined } | undefined;
  return {
    async get(refused) {
      const old = known?.expiresAtMs !== undefined && nowMs() > known.expiresAtMs - 10_000;
      if (!known || refused || old) known = await renew();
      return known.token;
    },
  };
}
