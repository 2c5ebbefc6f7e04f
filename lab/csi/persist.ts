/** Calls that are repeated until they have a definite answer, as Kubernetes' sidecars repeat them. */
import { status } from '@grpc/grpc-js';
import { sleep } from '../workbench.ts';
import { CallError } from './client.ts';

/** Answers after which the call may still be going on, or nobody was there. */
const indefinite: ReadonlySet<number> = new Set([
  status.UNAVAILABLE,
  status.ABORTED,
  status.DEADLINE_EXCEEDED,
  status.CANCELLED,
]);

/** Whether the caller must ask again to know. */
export function isIndefinite(error: unknown): boolean {
  return error instanceof CallError && indefinite.has(error.code);
}

/** Repeats a call until its answer is definite. @throws CallError with a definite code, or the last one after the deadline */
export async function persistCall<T>(ask: () => Promise<T>, deadlineMs = 60_000): Promise<T> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isIndefinite(error) || performance.now() > end) throw error;
      await sleep(25);
    }
  }
}
