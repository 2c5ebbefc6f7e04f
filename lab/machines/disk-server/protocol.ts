/**
 * The NBD protocol, server side, as far as the kernel's client needs it: fixed newstyle handshake with NBD_OPT_GO or
 * NBD_OPT_EXPORT_NAME, then simple replies. Source: doc/proto.md of the NetworkBlockDevice/nbd project.
 */
export const commands = { read: 0, write: 1, disconnect: 2, flush: 3 } as const;

const initMagic = 0x4e42444d41474943n; // "NBDMAGIC"
const optionMagic = 0x49484156454f5054n; // "IHAVEOPT"
const optionReplyMagic = 0x3e889045565a9n;
const requestMagic = 0x25609513;
const replyMagic = 0x67446698;
const fixedNewstyle = 1;
const noZeroes = 2;
const options = { exportName: 1, abort: 2, go: 7 } as const;
const replies = { ack: 1, info: 3, unsupported: 0x80000001, unknown: 0x80000006 } as const;
const infoExport = 0;
/** NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH. Not FUA: the kernel then sends a flush behind such a write, which the log can hold. */
const transmissionFlags = (1 << 0) | (1 << 2);
/** A request may be no longer than this, or the peer is not the kernel. */
const maxLengthBytes = 64 << 20;

export interface NbdRequest {
  readonly type: number;
  readonly handle: bigint;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly data: Buffer;
}

export interface NbdPeer {
  /** The size of an export; undefined when there is none of this name. */
  sizeOf(name: string): number | undefined;
  /** The handshake is over. */
  began(name: string): void;
  /** All requests that had arrived together. */
  take(name: string, requests: readonly NbdRequest[]): void;
  send(data: Buffer): void;
  end(): void;
}

/** One connection: feed it what arrives. */
export class NbdSession {
  readonly #peer: NbdPeer;
  #buffered: Buffer = Buffer.alloc(0);
  #phase: 'flags' | 'options' | 'requests' = 'flags';
  #zeroes = true;
  #name = '';

  constructor(peer: NbdPeer) {
    this.#peer = peer;
    const greeting = Buffer.alloc(18);
    greeting.writeBigUInt64BE(initMagic, 0);
    greeting.writeBigUInt64BE(optionMagic, 8);
    greeting.writeUInt16BE(fixedNewstyle | noZeroes, 16);
    peer.send(greeting);
  }

  receive(data: Buffer): void {
    this.#buffered = this.#buffered.length === 0 ? data : Buffer.concat([this.#buffered, data]);
    while (this.#phase !== 'requests') if (!this.#handshake()) return;
    this.#requests();
  }

  /** Whether it got a whole step. */
  #handshake(): boolean {
    if (this.#phase === 'flags') {
      const flags = this.#take(4);
      if (!flags) return false;
      this.#zeroes = (flags.readUInt32BE(0) & noZeroes) === 0;
      this.#phase = 'options';
      return true;
    }
    if (this.#buffered.length < 16) return false;
    const length = this.#buffered.readUInt32BE(12);
    if (this.#buffered.readBigUInt64BE(0) !== optionMagic || length > 65_536) {
      this.#peer.end();
      return false;
    }
    const whole = this.#take(16 + length);
    if (!whole) return false;
    this.#option(whole.readUInt32BE(8), whole.subarray(16));
    return true;
  }

  #option(option: number, data: Buffer): void {
    const nothing = Buffer.alloc(0);
    if (option === options.exportName) this.#exportName(data.toString('utf8'));
    else if (option === options.go) this.#go(data.toString('utf8', 4, 4 + data.readUInt32BE(0)));
    else if (option === options.abort) {
      this.#answer(option, replies.ack, nothing);
      this.#peer.end();
    } else this.#answer(option, replies.unsupported, nothing);
  }

  #exportName(name: string): void {
    const size = this.#peer.sizeOf(name);
    if (size === undefined) {
      // This option has no answer for "no such export" but the end of the connection.
      this.#peer.end();
      return;
    }
    const head = Buffer.alloc(this.#zeroes ? 134 : 10);
    head.writeBigUInt64BE(BigInt(size), 0);
    head.writeUInt16BE(transmissionFlags, 8);
    this.#peer.send(head);
    this.#begin(name);
  }

  #go(name: string): void {
    const size = this.#peer.sizeOf(name);
    if (size === undefined) {
      this.#answer(options.go, replies.unknown, Buffer.alloc(0));
      return;
    }
    const info = Buffer.alloc(12);
    info.writeUInt16BE(infoExport, 0);
    info.writeBigUInt64BE(BigInt(size), 2);
    info.writeUInt16BE(transmissionFlags, 10);
    this.#answer(options.go, replies.info, info);
    this.#answer(options.go, replies.ack, Buffer.alloc(0));
    this.#begin(name);
  }

  #answer(option: number, type: number, data: Buffer): void {
    const head = Buffer.alloc(20);
    head.writeBigUInt64BE(optionReplyMagic, 0);
    head.writeUInt32BE(option, 8);
    head.writeUInt32BE(type, 12);
    head.writeUInt32BE(data.length, 16);
    this.#peer.send(Buffer.concat([head, data]));
  }

  #begin(name: string): void {
    this.#name = name;
    this.#peer.began(name);
    this.#phase = 'requests';
  }

  #requests(): void {
    const requests: NbdRequest[] = [];
    let at = 0;
    const buffer = this.#buffered;
    while (buffer.length - at >= 28) {
      const type = buffer.readUInt16BE(at + 6);
      const lengthBytes = buffer.readUInt32BE(at + 24);
      if (buffer.readUInt32BE(at) !== requestMagic || lengthBytes > maxLengthBytes) {
        this.#peer.end();
        return;
      }
      const dataBytes = type === commands.write ? lengthBytes : 0;
      if (buffer.length - at < 28 + dataBytes) break;
      requests.push({
        type,
        handle: buffer.readBigUInt64BE(at + 8),
        offsetBytes: Number(buffer.readBigUInt64BE(at + 16)),
        lengthBytes,
        data: buffer.subarray(at + 28, at + 28 + dataBytes),
      });
      at += 28 + dataBytes;
    }
    this.#buffered = buffer.subarray(at);
    if (requests.length > 0) this.#peer.take(this.#name, requests);
  }

  #take(length: number): Buffer | undefined {
    if (this.#buffered.length < length) return undefined;
    const taken = this.#buffered.subarray(0, length);
    this.#buffered = this.#buffered.subarray(length);
    return taken;
  }
}

/** The answer to a request. @param error an errno, 0 for success */
export function encodeReply(handle: bigint, error: number, data?: Buffer): Buffer {
  const head = Buffer.alloc(16);
  head.writeUInt32BE(replyMagic, 0);
  head.writeUInt32BE(error, 4);
  head.writeBigUInt64BE(handle, 8);
  return data ? Buffer.concat([head, data]) : head;
}
