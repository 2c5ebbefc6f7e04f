import type { KernelFailure } from './raise.ts';
import type { KernelCall } from './sync.ts';

/**
 * What daemon and helper say to each other: one JSON value per line, strictly one request and one reply at a time. The
 * helper says `{}` once when it is ready.
 */
export interface KernelRequest {
  readonly call: KernelCall;
  readonly args: readonly unknown[];
}

export interface KernelReply {
  readonly result?: unknown;
  readonly failure?: KernelFailure;
}

/** Puts lines together from chunks as they come from a pipe; a line may be large or split inside a character. */
export class LineReader {
  readonly #parts: Uint8Array[] = [];

  /** The lines that end in this chunk, without their newline. */
  push(chunk: Uint8Array): readonly string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      this.#parts.push(chunk.subarray(start, end));
      lines.push(Buffer.concat(this.#parts).toString('utf8'));
      this.#parts.length = 0;
      start = end + 1;
    }
    // A copy: the reader of the pipe may use its buffer again.
    if (start < chunk.length) this.#parts.push(chunk.slice(start));
    return lines;
  }
}
