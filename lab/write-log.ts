/**
 * The log of a fuse disk: every write and flush in the order in which the disk carried them out, and marks of others.
 * Format, little-endian: a file header of 32 bytes ("AZKWLOG1", version, size of the disk), then records of a 32-byte
 * head (magic, kind, offset, length) and, for writes and marks, `length` bytes. Records are appended by one write() each
 * in append mode, so that a mark of another process falls between records, and the file's size is a position: all that
 * was acknowledged before the size was read lies below it.
 */
import { closeSync, constants, fstatSync, openSync, readSync, writevSync } from 'node:fs';

const fileMagic = 'AZKWLOG1';
const fileHeaderBytes = 32;
const recordMagic = 0x525a4b57;
const recordHeaderBytes = 32;
const kinds = { write: 1, flush: 2, mark: 3 } as const;

export type LogRecord =
  | { readonly kind: 'write'; readonly offsetBytes: number; readonly data: Buffer }
  | { readonly kind: 'flush' }
  | { readonly kind: 'mark'; readonly name: string };

/** A record and the position behind it. */
export type PositionedRecord = LogRecord & { readonly endPosition: number };

/** The parts of one record, for one writev(). */
export function encodeRecord(record: LogRecord): Buffer[] {
  const payload =
    record.kind === 'write' ? record.data : record.kind === 'mark' ? Buffer.from(record.name, 'utf8') : undefined;
  const head = Buffer.alloc(recordHeaderBytes);
  head.writeUInt32LE(recordMagic, 0);
  head.writeUInt32LE(kinds[record.kind], 4);
  head.writeBigUInt64LE(record.kind === 'write' ? BigInt(record.offsetBytes) : 0n, 8);
  head.writeUInt32LE(payload?.length ?? 0, 16);
  return payload ? [head, payload] : [head];
}

/** Appends records to a log. */
export class LogWriter {
  readonly #fd: number;

  /** Starts a new log, or, without `diskBytes`, goes on with the one that is there. */
  constructor(path: string, diskBytes?: number) {
    const fresh = diskBytes !== undefined;
    this.#fd = openSync(
      path,
      constants.O_WRONLY | constants.O_APPEND | (fresh ? constants.O_CREAT | constants.O_TRUNC : 0),
      0o600,
    );
    if (!fresh) return;
    const header = Buffer.alloc(fileHeaderBytes);
    header.write(fileMagic, 0, 'latin1');
    header.writeBigUInt64LE(BigInt(diskBytes), 8);
    writevSync(this.#fd, [header]);
  }

  /** @throws when the log cannot take the whole record: a log with a gap proves nothing */
  append(record: LogRecord): void {
    const parts = encodeRecord(record);
    const wanted = parts.reduce((sum, part) => sum + part.length, 0);
    if (writevSync(this.#fd, parts) !== wanted) throw new Error('the write log could not take a whole record');
  }

  /** All records so far lie below this. */
  position(): number {
    return fstatSync(this.#fd).size;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Reads a log from its start, one record at a time. */
export class LogReader {
  readonly #fd: number;
  readonly diskBytes: number;
  #position = fileHeaderBytes;

  /** @throws when the file is no log */
  constructor(path: string) {
    this.#fd = openSync(path, 'r');
    const header = Buffer.alloc(fileHeaderBytes);
    if (
      readSync(this.#fd, header, 0, fileHeaderBytes, 0) < fileHeaderBytes ||
      header.toString('latin1', 0, 8) !== fileMagic
    ) {
      closeSync(this.#fd);
      throw new Error(`${path} is not a write log`);
    }
    this.diskBytes = Number(header.readBigUInt64LE(8));
  }

  get position(): number {
    return this.#position;
  }

  /**
   * The next record; undefined at the end, also when the last record is cut short.
   *
   * @throws when what is there is no record
   */
  next(): PositionedRecord | undefined {
    const head = this.#read(this.#position, recordHeaderBytes);
    if (!head) return undefined;
    if (head.readUInt32LE(0) !== recordMagic) throw new Error(`the write log is damaged at ${this.#position}`);
    const length = head.readUInt32LE(16);
    const payload = this.#read(this.#position + recordHeaderBytes, length);
    if (!payload) return undefined;
    const endPosition = this.#position + recordHeaderBytes + length;
    this.#position = endPosition;
    const kind = head.readUInt32LE(4);
    if (kind === kinds.write)
      return { kind: 'write', offsetBytes: Number(head.readBigUInt64LE(8)), data: payload, endPosition };
    if (kind === kinds.flush) return { kind: 'flush', endPosition };
    if (kind === kinds.mark) return { kind: 'mark', name: payload.toString('utf8'), endPosition };
    throw new Error(`the write log has a record of the unknown kind ${kind}`);
  }

  close(): void {
    closeSync(this.#fd);
  }

  #read(position: number, length: number): Buffer | undefined {
    const buffer = Buffer.alloc(length);
    let done = 0;
    while (done < length) {
      const count = readSync(this.#fd, buffer, done, length - done, position + done);
      if (count === 0) return undefined;
      done += count;
    }
    return buffer;
  }
}
