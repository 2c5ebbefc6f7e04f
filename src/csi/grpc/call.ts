import type { Logger } from '../../lib/log.ts';

/** What a handler knows of the call beside its request. */
export interface Call {
  /** For example "CreateVolume". */
  readonly method: string;
  /** In the log line, in the objects that the call writes, and so in their Tasks. */
  readonly requestId: string;
  /** Aborted when the caller is gone or the server stops; the reason is an AzekuraError. */
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch: the answer must be given before, short of the caller's own deadline. */
  readonly answerByMs: number;
  readonly log: Logger;
}
