import { status } from '@grpc/grpc-js';
import { type AzekuraError, errorCatalogue, toAzekuraError } from '../../model/errors.ts';

/** What goes back to the caller. CSI forbids status details, so there are none. */
export interface CallStatus {
  readonly code: number;
  readonly details: string;
}

const longestMessage = 1_024;

/**
 * Any thrown thing as a gRPC status: the code of the catalogue, the sentence and the next step.
 *
 * A stranger is a bug of ours. Its code must not say that nothing is going on any more (Internal would: the sidecars take
 * it as final and forget the volume), so it becomes UNAVAILABLE, which is tried again; its text stays in the log.
 */
export function toStatus(thrown: unknown): CallStatus {
  const error = toAzekuraError(thrown);
  if (error.code === 'Internal')
    return { code: status.UNAVAILABLE, details: 'the driver failed unexpectedly; its log has the details' };
  return { code: grpcCode(error), details: sentence(error) };
}

/** A failed command or kernel call is tried again by the agent: it may still be going on. */
function grpcCode(error: AzekuraError): number {
  return error.code === 'HostFailure' ? status.UNAVAILABLE : errorCatalogue[error.code].grpc;
}

function sentence(error: AzekuraError): string {
  const text = error.next === undefined ? error.message : `${error.message}; ${error.next}`;
  return text.length > longestMessage ? `${text.slice(0, longestMessage - 1)}…` : text;
}

/** The name of a gRPC code: OK, NOT_FOUND … */
export function codeName(code: number): string {
  return status[code] ?? String(code);
}
