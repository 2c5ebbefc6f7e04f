import { makeCause } from '../../model/cause.ts';
import type { CauseCode } from '../../model/causes.ts';
import { AzekuraError, type ErrorCode } from '../../model/errors.ts';
import { describeErrno, errno } from './errno.ts';
import type { KernelFailure } from './raise.ts';

/**
 * Makes the error of a failed kernel call: the only place where an errno becomes an error code. The table is the one
 * in the comment of the Kernel interface.
 *
 * @param failure what the helper process saw
 */
export function kernelError(failure: KernelFailure): AzekuraError {
  const { call, subject, number } = failure;
  const [name, text] = number === undefined ? [undefined, undefined] : describeErrno(number);
  const because = failure.problem ?? (number === errno.ELOOP ? 'it is a symbolic link, which is not followed' : text);
  const message = `${call} ${subject}: ${because ?? 'it failed'}${name ? ` (${name})` : ''}`;
  const blame = failure.blame && makeCause(failure.blame.code as CauseCode, failure.blame.values);
  return new AzekuraError(failure.code ?? codeOf(number), message, {
    details: { call, subject, ...(number === undefined ? {} : { errno: name, errnoNumber: number }) },
    ...(blame ? { blame } : {}),
    ...(failure.next ? { next: failure.next } : {}),
  });
}

function codeOf(number: number | undefined): ErrorCode {
  switch (number) {
    case errno.ENOENT:
      return 'NotFound';
    case errno.EEXIST:
      return 'AlreadyExists';
    case errno.ENOSPC:
    case errno.EDQUOT:
      return 'ResourceExhausted';
    case errno.EBUSY:
    case errno.EROFS:
    case errno.ENOTEMPTY:
      return 'FailedPrecondition';
    case errno.EPERM:
    case errno.EACCES:
      return 'PermissionDenied';
    case errno.EOPNOTSUPP:
    case errno.ENOTTY:
      return 'Unimplemented';
    default:
      return 'HostFailure';
  }
}
