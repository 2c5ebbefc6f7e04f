import { type Cause, worstCause } from '../../model/cause.ts';
import { type CauseCode, causeCatalogue } from '../../model/causes.ts';
import { type AzekuraError, blamed, type ErrorCode } from '../../model/errors.ts';

/**
 * Causes that end a wait at once, with the code that makes a sidecar do the right thing: RESOURCE_EXHAUSTED takes the pod
 * to another node, FAILED_PRECONDITION waits for somebody. All other causes are tried again by the agents: the wait goes on
 * until the caller's time is up, and the answer then names the cause.
 */
const final: Readonly<Partial<Record<CauseCode, ErrorCode>>> = {
  PoolFull: 'ResourceExhausted',
  PoolHostFull: 'ResourceExhausted',
  PoolNotFound: 'ResourceExhausted',
  NoLoopDevices: 'ResourceExhausted',
  InUse: 'FailedPrecondition',
  DeletedInUse: 'FailedPrecondition',
  MountPointBusy: 'FailedPrecondition',
  FilesystemNeedsCheck: 'FailedPrecondition',
  EncryptionKeyMissing: 'FailedPrecondition',
  EncryptionKeyWrong: 'FailedPrecondition',
  EncryptionHeaderDamaged: 'FailedPrecondition',
  FreezeTimedOut: 'Aborted',
};

/** The error that the causes of an object amount to; undefined while it is worth waiting. */
export function finalFailure(causes: readonly Cause[]): AzekuraError | undefined {
  for (const cause of causes) {
    const code = final[cause.code];
    if (code && causeCatalogue[cause.code].severity !== 'notice') return blamed(code, cause);
  }
  return undefined;
}

/** What an object that is not as it should be says of itself, for an answer that came too early. */
export function stateSentence(
  what: string,
  object: { readonly status: { readonly phase: string; readonly causes: readonly Cause[] } } | undefined,
): string {
  if (!object) return `${what} is not there yet`;
  const cause = worstCause(object.status.causes);
  return cause ? `${what}: ${cause.message}` : `${what} is ${object.status.phase}`;
}
