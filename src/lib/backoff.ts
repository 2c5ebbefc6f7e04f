/**
 * Exponential back-off with full jitter: a random wait between half and the whole of base·2ⁿ, never above the cap, so
 * that many waiters that failed together do not return together.
 *
 * @param attempt 0 for the first retry
 * @param random injected for tests; returns a number in [0, 1)
 */
export function backoffMs(attempt: number, { baseMs = 200, capMs = 60_000, random = Math.random } = {}): number {
  const ceilingMs = Math.min(capMs, baseMs * 2 ** Math.min(attempt, 30));
  return Math.round(ceilingMs / 2 + (random() * ceilingMs) / 2);
}
