import { AzekuraError } from '../model/errors.ts';

/**
 * Ends the work when it was interrupted. The caller gives back what it holds, as after any other failure.
 *
 * @throws AzekuraError Aborted; the signal's reason where it is an error of the caller's own
 */
export function checkInterrupted(signal: AbortSignal | undefined): void {
  if (!signal?.aborted) return;
  const reason: unknown = signal.reason;
  if (reason instanceof Error && reason.name !== 'AbortError') throw reason;
  throw new AzekuraError('Aborted', 'it was interrupted, and what it held was given back', {
    next: 'run the command again',
  });
}
