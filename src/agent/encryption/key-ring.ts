import type { LuksKey } from '../../host/luks/run.ts';
import { AzekuraError } from '../../model/errors.ts';

/** Shorter keys are guessed, wherever they come from. */
export const shortestKeyBytes = 16;
/** What one reads as a key, and a page of a Secret holds easily. */
const longestBytes = 4_096;

/** The present key, and the one before while it is being changed. */
export interface OfferedKeys {
  readonly key: Uint8Array;
  readonly previousKey?: Uint8Array;
}

/**
 * Keys that came with requests, for as long as the requests last. They are in this memory and on the way to cryptsetup's
 * standard input, and nowhere else; withdrawn, they are overwritten.
 */
export class KeyRing {
  readonly #offers = new Map<string, OfferedKeys[]>();

  /**
   * Keeps keys for a volume until they are withdrawn.
   *
   * @returns withdraws them
   * @throws AzekuraError InvalidArgument for what is too short or too long to be a key
   */
  offer(volumeId: string, keys: OfferedKeys): () => void {
    for (const key of [keys.key, keys.previousKey]) if (key) checkLength(key);
    const own: OfferedKeys = {
      key: Uint8Array.from(keys.key),
      ...(keys.previousKey ? { previousKey: Uint8Array.from(keys.previousKey) } : {}),
    };
    this.#offers.set(volumeId, [...(this.#offers.get(volumeId) ?? []), own]);
    return () => {
      const left = (this.#offers.get(volumeId) ?? []).filter((offer) => offer !== own);
      if (left.length > 0) this.#offers.set(volumeId, left);
      else this.#offers.delete(volumeId);
      own.key.fill(0);
      own.previousKey?.fill(0);
    };
  }

  /** What is offered now: the newest offer. */
  keysOf(volumeId: string): readonly LuksKey[] {
    const offer = this.#offers.get(volumeId)?.at(-1);
    if (!offer) return [];
    // Copies: an offer that is withdrawn while cryptsetup is being started must not become another key.
    const keys = [offer.key, ...(offer.previousKey ? [offer.previousKey] : [])];
    return keys.map((bytes) => ({ bytes: Uint8Array.from(bytes) }));
  }
}

function checkLength(key: Uint8Array): void {
  if (key.length >= shortestKeyBytes && key.length <= longestBytes) return;
  throw new AzekuraError(
    'InvalidArgument',
    `a key of ${key.length} bytes cannot be used: it must have ${shortestKeyBytes} to ${longestBytes} bytes`,
    { next: 'make one with `openssl rand -base64 48`' },
  );
}
