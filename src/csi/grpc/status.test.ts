import { status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { AzekuraError, type ErrorCode, errorCatalogue } from '../../model/errors.ts';
import { toStatus } from './status.ts';

/** Codes that the sidecars take as "nothing is going on any more" although they say nothing (csi.md §1.4). */
const unsaid: readonly number[] = [status.INTERNAL, status.UNKNOWN];

describe('toStatus', () => {
  it.each(Object.keys(errorCatalogue) as ErrorCode[])('never makes INTERNAL or UNKNOWN of %s', (code) => {
    const { code: grpc, details } = toStatus(new AzekuraError(code, 'it did not work', { next: 'look' }));
    expect(unsaid).not.toContain(grpc);
    expect(details).not.toBe('');
  });

  it.each([new Error('ENOENT: /secret/place'), new TypeError('x is not a function'), 'text', undefined, { a: 1 }])(
    'makes UNAVAILABLE of a stranger, and keeps its text to itself: %s',
    (thrown) => {
      expect(toStatus(thrown)).toEqual({
        code: status.UNAVAILABLE,
        details: 'the driver failed unexpectedly; its log has the details',
      });
    },
  );

  // csi.md §1.4: what the sidecars do with a code decides what a user sees.
  it.each([
    ['ResourceExhausted', status.RESOURCE_EXHAUSTED, 'the scheduler picks another node'],
    ['Aborted', status.ABORTED, 'in the background'],
    ['DeadlineExceeded', status.DEADLINE_EXCEEDED, 'in the background'],
    ['Unavailable', status.UNAVAILABLE, 'in the background'],
    ['Conflict', status.ABORTED, 'in the background'],
    ['HostFailure', status.UNAVAILABLE, 'in the background: the agent tries again'],
    ['InvalidArgument', status.INVALID_ARGUMENT, 'infeasible'],
    ['OutOfRange', status.OUT_OF_RANGE, 'infeasible'],
    ['NotFound', status.NOT_FOUND, 'infeasible'],
    ['FailedPrecondition', status.FAILED_PRECONDITION, 'volume in use'],
    ['AlreadyExists', status.ALREADY_EXISTS, 'final'],
    ['Unimplemented', status.UNIMPLEMENTED, 'final'],
  ] as const)('gives %s the code %i: %s', (code, grpc, _what) => {
    expect(toStatus(new AzekuraError(code, 'no')).code).toBe(grpc);
  });

  it('cuts a message that is too long', () => {
    expect(toStatus(new AzekuraError('NotFound', 'x'.repeat(9_999))).details).toHaveLength(1_024);
  });
});
