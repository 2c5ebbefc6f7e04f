import type { CauseCode } from '../../model/causes.ts';
import { AzekuraError, type ErrorCode } from '../../model/errors.ts';

/**
 * A failed kernel call as plain data: it travels from the helper process to the daemon, where failure.ts makes an
 * AzekuraError of it. The helper does not load the catalogues, which would double its start-up time.
 */
export interface KernelFailure {
  /** System call, ioctl or Kernel method, for example "FICLONE". */
  readonly call: string;
  /** The path or device that it was about. */
  readonly subject: string;
  /** errno, when the kernel said one. */
  readonly number?: number;
  /** Said instead of the errno's text. */
  readonly problem?: string;
  /** Instead of the code that follows from the errno. */
  readonly code?: ErrorCode;
  readonly blame?: { readonly code: CauseCode; readonly values: Record<string, string | number> };
  readonly next?: string;
}

/** Carries a KernelFailure up the stack of the helper process. */
export class KernelFailureError extends Error {
  readonly failure: KernelFailure;

  constructor(failure: KernelFailure) {
    super(`${failure.call} ${failure.subject}: ${failure.problem ?? failure.number}`);
    this.failure = failure;
  }
}

/** @throws KernelFailureError always */
export function raise(failure: KernelFailure): never {
  throw new KernelFailureError(failure);
}

/** Any error thrown by a kernel call as plain data; node:fs errors keep their errno. */
export function failureOf(error: unknown, call: string, subject: string): KernelFailure {
  if (error instanceof KernelFailureError) return error.failure;
  if (error instanceof Error && 'errno' in error && typeof error.errno === 'number') {
    const { syscall, path } = error as NodeJS.ErrnoException;
    return { call: syscall ?? call, subject: path ?? subject, number: Math.abs(error.errno) };
  }
  if (error instanceof AzekuraError) {
    const { code, message, next } = error;
    return { call, subject, code, problem: message, ...(next === undefined ? {} : { next }) };
  }
  return { call, subject, problem: error instanceof Error ? error.message : String(error), code: 'Internal' };
}

/** The errno of an error thrown by node:fs or raise(), if it has one. */
export function errnoOf(error: unknown): number | undefined {
  if (error instanceof KernelFailureError) return error.failure.number;
  if (error instanceof Error && 'errno' in error && typeof error.errno === 'number') return Math.abs(error.errno);
  return undefined;
}

/** Runs the work and answers undefined when it fails with one of these errnos. */
export function unless<T>(numbers: readonly number[], work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    const number = errnoOf(error);
    if (number !== undefined && numbers.includes(number)) return undefined;
    throw error;
  }
}
