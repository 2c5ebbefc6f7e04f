/**
 * Rebuilds what a disk would hold after a power cut, from its write log. What a flush has covered is there; of every
 * block that was written since the last completed flush any of its versions may be: the one before, or that of any later
 * write (so writes are dropped, torn into blocks, and reordered).
 */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import type { Random } from './random.ts';
import { LogReader } from './write-log.ts';

/** Disks write blocks of this size whole. */
export const blockBytes = 4096;

interface PendingWrite {
  readonly offsetBytes: number;
  readonly data: Buffer;
}

/** Chooses for each block that was written since the last flush which version reached the medium. Pure. */
export function chooseSurvivors(pending: readonly PendingWrite[], random: Random): readonly PendingWrite[] {
  // Each cut has its own mood: from "nothing later arrived" to "nearly all did", because rare combinations hide at both ends.
  const keep = random.pick([0, 0.1, 0.5, 0.5, 0.9, 1]);
  const survivors = new Map<number, PendingWrite>();
  for (const write of pending) {
    for (let start = 0; start < write.data.length; ) {
      const offsetBytes = write.offsetBytes + start;
      const end = Math.min(write.data.length, start + blockBytes - (offsetBytes % blockBytes));
      const block = Math.floor(offsetBytes / blockBytes);
      if (random.chance(keep)) survivors.set(block, { offsetBytes, data: write.data.subarray(start, end) });
      start = end;
    }
  }
  return [...survivors.values()];
}

export interface CrashImage {
  /** Blocks that no completed flush had covered at the cut. */
  readonly pendingBlocks: number;
  /** Blocks of them that reached the medium. */
  readonly survivingBlocks: number;
}

/** Replays a log forward. Cuts must be asked for in ascending order. */
export class Replay {
  readonly #reader: LogReader;
  readonly #image: number;
  readonly #imagePath: string;
  #pending: PendingWrite[] = [];
  #lookahead = undefined as ReturnType<LogReader['next']>;

  /** @param imagePath is made anew and holds what is durable at the present cut */
  constructor(logPath: string, imagePath: string) {
    this.#reader = new LogReader(logPath);
    this.#imagePath = imagePath;
    this.#image = openSync(imagePath, 'w+', 0o600);
    ftruncateSync(this.#image, this.#reader.diskBytes);
    this.#lookahead = this.#reader.next();
  }

  get durableImage(): string {
    return this.#imagePath;
  }

  /** Goes forward to the cut: the records that lie below this position have happened. */
  advance(position: number): void {
    while (this.#lookahead && this.#lookahead.endPosition <= position) {
      const record = this.#lookahead;
      if (record.kind === 'write') this.#pending.push(record);
      if (record.kind === 'flush') {
        for (const write of this.#pending) writeSync(this.#image, write.data, 0, write.data.length, write.offsetBytes);
        this.#pending = [];
      }
      this.#lookahead = this.#reader.next();
    }
  }

  /** Writes a random part of what was not flushed onto a copy of the durable image. */
  crash(copyPath: string, random: Random): CrashImage {
    const survivors = chooseSurvivors(this.#pending, random);
    const copy = openSync(copyPath, 'r+');
    try {
      for (const { offsetBytes, data } of survivors) writeSync(copy, data, 0, data.length, offsetBytes);
    } finally {
      closeSync(copy);
    }
    const pending = new Set<number>();
    for (const { offsetBytes, data } of this.#pending) {
      for (let offset = offsetBytes; offset < offsetBytes + data.length; offset += blockBytes)
        pending.add(Math.floor(offset / blockBytes));
    }
    return { pendingBlocks: pending.size, survivingBlocks: survivors.length };
  }

  close(): void {
    this.#reader.close();
    closeSync(this.#image);
  }
}
