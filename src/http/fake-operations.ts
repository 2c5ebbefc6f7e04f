import type { Operations } from '../control/operations.ts';
import { AzekuraError } from '../model/errors.ts';

/** A call that was made: the method and its arguments. */
export interface FakeCall {
  readonly method: string;
  readonly args: readonly unknown[];
}

/**
 * Operations for tests of what stands before them: remembers the calls, and answers with what the test prepared or
 * refuses as the real ones refuse what they do not know.
 */
export function fakeOperations(
  answers: { readonly [M in Exclude<keyof Operations, 'as'>]?: (...args: Parameters<Operations[M]>) => unknown } = {},
) {
  const calls: FakeCall[] = [];
  const operations: Operations = new Proxy({} as Operations, {
    get: (_target, method: string) => {
      if (method === 'as') return () => operations;
      return async (...args: unknown[]) => {
        calls.push({ method, args });
        const answer = (answers as Record<string, ((...args: unknown[]) => unknown) | undefined>)[method];
        if (!answer) throw new AzekuraError('NotFound', `${method}: there is no "${String(args[0])}"`);
        return answer(...args);
      };
    },
  });
  return { operations, calls };
}
