/** What a disk does with reads, writes and flushes: bytes in a base file, a log, and faults on command. */
import { closeSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import type { LogWriter } from '../write-log.ts';

export type Fault = 'none' | 'hang' | 'fail' | 'fill';

const errnoIo = 5;
const errnoNoSpace = 28;

/** An errno as the disk's answer. */
export class DiskError extends Error {
  readonly errno: number;

  constructor(errno: number) {
    super(`errno ${errno}`);
    this.errno = errno;
  }
}

export class Disk {
  readonly sizeBytes: number;
  fault: Fault = 'none';
  /** Added to each answer. */
  delayMs = 0;
  /** A disk that lies: it answers flushes and forgets them, so nothing is ever promised. */
  ignoreFlush = false;
  readonly counts = { reads: 0, writes: 0, flushes: 0, writtenBytes: 0 };
  readonly #base: number;
  readonly #log: LogWriter | undefined;

  constructor(basePath: string, sizeBytes: number, log?: LogWriter) {
    this.sizeBytes = sizeBytes;
    this.#base = openSync(basePath, 'a+', 0o600);
    closeSync(this.#base);
    this.#base = openSync(basePath, 'r+');
    ftruncateSync(this.#base, sizeBytes);
    this.#log = log;
  }

  /** @throws DiskError */
  read(offsetBytes: number, lengthBytes: number): Buffer {
    this.#failWhenTold();
    this.counts.reads++;
    const wanted = Math.max(0, Math.min(lengthBytes, this.sizeBytes - offsetBytes));
    const buffer = Buffer.allocUnsafe(wanted);
    const count = readSync(this.#base, buffer, 0, wanted, offsetBytes);
    return buffer.fill(0, count);
  }

  /** The log comes first: what is acknowledged is logged. @throws DiskError */
  write(offsetBytes: number, data: Buffer): void {
    this.#failWhenTold();
    if (this.fault === 'fill' || offsetBytes + data.length > this.sizeBytes) throw new DiskError(errnoNoSpace);
    this.#log?.append({ kind: 'write', offsetBytes, data });
    if (writeSync(this.#base, data, 0, data.length, offsetBytes) !== data.length) throw new DiskError(errnoIo);
    this.counts.writes++;
    this.counts.writtenBytes += data.length;
  }

  /** @throws DiskError */
  flush(): void {
    this.#failWhenTold();
    this.counts.flushes++;
    if (!this.ignoreFlush) this.#log?.append({ kind: 'flush' });
  }

  #failWhenTold(): void {
    if (this.fault === 'fail') throw new DiskError(errnoIo);
  }
}
