import { type Cause, makeCause } from '../model/cause.ts';
import { toAzekuraError } from '../model/errors.ts';

/** Where an error happened, for the cause of last resort. */
export interface FailedAt {
  readonly step: string;
  readonly task?: string;
}

/** The state that an error names, or, when it names none, that a step failed. */
export function causeOfError(error: unknown, at: FailedAt): Cause {
  const known = toAzekuraError(error);
  return known.blame ?? makeCause('StepFailed', { step: at.step, problem: known.message, task: at.task ?? '' });
}

/**
 * The causes as they are to be stored: each code and message once, and with the time at which it was first seen without a break.
 *
 * @param before what is stored now
 */
export function withSince(causes: readonly Cause[], before: readonly Cause[], now: string): Cause[] {
  const result: Cause[] = [];
  for (const cause of causes) {
    if (result.some((other) => other.code === cause.code && other.message === cause.message)) continue;
    const earlier = before.find((other) => other.code === cause.code);
    result.push({ ...cause, since: earlier?.since ?? cause.since ?? now });
  }
  return result;
}
