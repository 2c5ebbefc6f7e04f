import type { Cause } from './cause.ts';

/**
 * The catalogue of errors: what a request can be answered with. Codes are never reused; each has a section in
 * docs/errors.md (`npm run check` compares them). `http` is the API's status, `grpc` CSI's code, `exit` the CLI's.
 */
const entries = {
  InvalidArgument: { http: 400, grpc: 3, exit: 2 },
  NotFound: { http: 404, grpc: 5, exit: 3 },
  AlreadyExists: { http: 409, grpc: 6, exit: 4 },
  /** The object changed since it was read. */
  Conflict: { http: 409, grpc: 10, exit: 5 },
  /** Possible in principle, not in the present state: mounted, has snapshots, draining … */
  FailedPrecondition: { http: 412, grpc: 9, exit: 6 },
  /** No room: not enough capacity, no loop devices. */
  ResourceExhausted: { http: 507, grpc: 8, exit: 7 },
  /** A size below the current one, beyond every pool, or an offset outside. */
  OutOfRange: { http: 400, grpc: 11, exit: 2 },
  /** Somebody else works on the same thing; try again. */
  Aborted: { http: 409, grpc: 10, exit: 5 },
  /** Not done within its time; it may still be going on. */
  DeadlineExceeded: { http: 504, grpc: 4, exit: 8 },
  /** The watch's start is no longer known: list again. */
  Expired: { http: 410, grpc: 10, exit: 5 },
  Unauthenticated: { http: 401, grpc: 16, exit: 9 },
  PermissionDenied: { http: 403, grpc: 7, exit: 9 },
  /** The engine or this machine cannot do it at all. */
  Unimplemented: { http: 501, grpc: 12, exit: 10 },
  /** The daemon does not answer, or is starting or stopping. */
  Unavailable: { http: 503, grpc: 14, exit: 11 },
  /** What is stored cannot be read or was written by a newer version. */
  DataLoss: { http: 500, grpc: 15, exit: 12 },
  /** A command of the operating system failed. */
  HostFailure: { http: 500, grpc: 13, exit: 13 },
  Internal: { http: 500, grpc: 13, exit: 1 },
} as const satisfies Record<string, { http: number; grpc: number; exit: number }>;

export type ErrorCode = keyof typeof entries;
export const errorCatalogue: Readonly<Record<ErrorCode, { http: number; grpc: number; exit: number }>> = entries;

export interface ErrorOptions {
  /** The next step, one sentence. */
  readonly next?: string;
  /** The state that is to blame, when there is one in the catalogue of causes. */
  readonly blame?: Cause;
  /** Machine-readable facts; never secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** The underlying error. */
  readonly cause?: unknown;
}

/** Every error that leaves a module of ours: a code, one sentence, and the next step. */
export class AzekuraError extends Error {
  override readonly name = 'AzekuraError';
  readonly code: ErrorCode;
  readonly next: string | undefined;
  readonly blame: Cause | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.blame = options.blame;
    this.next = options.next ?? options.blame?.nextStep;
    this.details = options.details ?? {};
  }
}

/** Makes an error of the state that is to blame: its sentence and next step come from the cause. */
export function blamed(code: ErrorCode, blame: Cause, options: Omit<ErrorOptions, 'blame'> = {}): AzekuraError {
  return new AzekuraError(code, blame.message, { ...options, blame });
}

/** Whether the error is ours and has one of these codes. */
export function hasCode(error: unknown, ...codes: ErrorCode[]): error is AzekuraError {
  return error instanceof AzekuraError && codes.includes(error.code);
}

/** Any thrown thing as one of ours; a stranger becomes Internal and keeps its stack as the cause. */
export function toAzekuraError(error: unknown): AzekuraError {
  if (error instanceof AzekuraError) return error;
  return new AzekuraError('Internal', error instanceof Error ? error.message : String(error), { cause: error });
}
