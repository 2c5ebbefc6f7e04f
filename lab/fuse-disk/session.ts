/** Answers the kernel's requests for a file system whose root holds the one file `disk`. */
import { readSync, writevSync } from 'node:fs';
import { type Disk, DiskError } from './disk.ts';
import { waitReadable } from './kernel.ts';
import {
  type Attributes,
  decodeRequest,
  decodeTransfer,
  encodeAttrOut,
  encodeDirents,
  encodeEntryOut,
  encodeInit,
  encodeOpenOut,
  encodeReply,
  encodeStatfsOut,
  encodeWriteOut,
  lookupName,
  opcodes,
  type Request,
  requestBufferBytes,
  writeData,
} from './protocol.ts';

const rootId = 1;
const diskId = 2;
const fileName = 'disk';
const errnoNoEntry = 2;
const errnoNoSystemCall = 38;
const errnoNoDevice = 19;
/** FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES: nothing of the disk stays in the page cache of this layer. */
const openFlags = (1 << 0) | (1 << 6);
const batchLimit = 64;

export class Session {
  readonly #fd: number;
  readonly #disk: Disk;
  #held: Request[] = [];
  ended = false;

  constructor(fd: number, disk: Disk) {
    this.#fd = fd;
    this.#disk = disk;
  }

  /**
   * Takes all requests that wait and answers them. Flushes go before the writes that were under way at the same time:
   * a flush promises nothing about a write that was not complete when it was asked for.
   */
  serve(): void {
    const batch: Request[] = [];
    do {
      const request = this.#receive();
      if (request) batch.push(request);
    } while (!this.ended && batch.length < batchLimit && waitReadable([this.#fd], 0)[0]);
    if (this.#disk.fault === 'hang') {
      this.#held.push(...batch);
      return;
    }
    this.#answerAll(batch);
  }

  /** Answers what was held back while the disk hung. */
  release(): void {
    const held = this.#held;
    this.#held = [];
    this.#answerAll(held);
  }

  get heldRequests(): number {
    return this.#held.length;
  }

  #answerAll(batch: readonly Request[]): void {
    const isWrite = (request: Request) => request.opcode === opcodes.write;
    for (const request of [...batch.filter((one) => !isWrite(one)), ...batch.filter(isWrite)]) this.#answer(request);
  }

  #receive(): Request | undefined {
    const buffer = Buffer.allocUnsafe(requestBufferBytes);
    try {
      const count = readSync(this.#fd, buffer, 0, buffer.length, null);
      return decodeRequest(buffer.subarray(0, count));
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'ENODEV') this.ended = true;
      else if (code !== 'EINTR' && code !== 'ENOENT' && code !== 'EAGAIN') throw error;
      return undefined;
    }
  }

  #answer(request: Request): void {
    const { opcode } = request;
    if (opcode === opcodes.forget || opcode === opcodes.batchForget || opcode === opcodes.interrupt) return;
    if (this.#disk.delayMs > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, this.#disk.delayMs);
    let reply: Buffer[];
    try {
      reply = encodeReply(request.unique, 0, ...this.#carryOut(request));
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      reply = encodeReply(request.unique, error.errno);
    }
    try {
      writevSync(this.#fd, reply);
    } catch (error) {
      const { code, errno } = error as NodeJS.ErrnoException;
      // ENOENT: the asker has gone. ENODEV: the file system was unmounted meanwhile.
      if (errno === -errnoNoDevice) this.ended = true;
      else if (code !== 'ENOENT') throw error;
    }
  }

  #carryOut(request: Request): Buffer[] {
    const { opcode, nodeId, body } = request;
    switch (opcode) {
      case opcodes.init:
        return [encodeInit(request)];
      case opcodes.lookup:
        if (nodeId !== rootId || lookupName(body) !== fileName) throw new DiskError(errnoNoEntry);
        return [encodeEntryOut(this.#attributes(diskId))];
      case opcodes.getattr:
      case opcodes.setattr:
        return [encodeAttrOut(this.#attributes(nodeId))];
      case opcodes.open:
        return [encodeOpenOut(openFlags)];
      case opcodes.opendir:
        return [encodeOpenOut(0)];
      case opcodes.read: {
        const { offsetBytes, lengthBytes } = decodeTransfer(body);
        return [this.#disk.read(offsetBytes, lengthBytes)];
      }
      case opcodes.write: {
        const data = writeData(body);
        this.#disk.write(decodeTransfer(body).offsetBytes, data);
        return [encodeWriteOut(data.length)];
      }
      case opcodes.fsync:
        this.#disk.flush();
        return [];
      case opcodes.readdir:
        return [encodeDirents([{ name: fileName, inode: diskId, type: 8 }], decodeTransfer(body).offsetBytes)];
      case opcodes.statfs:
        return [encodeStatfsOut(this.#disk.sizeBytes)];
      case opcodes.flush:
      case opcodes.release:
      case opcodes.releasedir:
      case opcodes.fsyncdir:
      case opcodes.access:
      case opcodes.destroy:
        return [];
      default:
        throw new DiskError(errnoNoSystemCall);
    }
  }

  #attributes(nodeId: number): Attributes {
    return nodeId === diskId
      ? { inode: diskId, sizeBytes: this.#disk.sizeBytes, mode: 0o100600 }
      : { inode: rootId, sizeBytes: 0, mode: 0o040755 };
  }
}
