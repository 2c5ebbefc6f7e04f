/**
 * The part of the FUSE kernel protocol that one file needs. Layouts and numbers are those of the kernel's
 * include/uapi/linux/fuse.h, version 7.31 (little-endian machines).
 */

export const opcodes = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  flush: 25,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  fsyncdir: 30,
  access: 34,
  interrupt: 36,
  destroy: 38,
  batchForget: 42,
} as const;

export const protocolMajor = 7;
const protocolMinor = 31;
/** The largest write that the kernel sends in one request, and the largest read that it asks for. */
export const maxWriteBytes = 256 * 1024;
/** A request that fits: header, fuse_write_in, data. */
export const requestBufferBytes = maxWriteBytes + 4096;

const flagAsyncRead = 1 << 0;
const flagBigWrites = 1 << 5;
const flagAsyncDirectIo = 1 << 15;
const flagMaxPages = 1 << 22;
const inHeaderBytes = 40;
const outHeaderBytes = 16;
const pageBytes = 4096;

/** One request; `body` follows the header and is valid until the buffer is used again. */
export interface Request {
  readonly opcode: number;
  readonly unique: bigint;
  readonly nodeId: number;
  readonly body: Buffer;
}

/** Reads struct fuse_in_header. */
export function decodeRequest(message: Buffer): Request {
  return {
    opcode: message.readUInt32LE(4),
    unique: message.readBigUInt64LE(8),
    nodeId: Number(message.readBigUInt64LE(16)),
    body: message.subarray(inHeaderBytes, message.readUInt32LE(0)),
  };
}

/** struct fuse_out_header and what follows it, as parts for one writev(). */
export function encodeReply(unique: bigint, errno: number, ...parts: readonly Buffer[]): Buffer[] {
  const header = Buffer.alloc(outHeaderBytes);
  header.writeUInt32LE(
    parts.reduce((sum, part) => sum + part.length, outHeaderBytes),
    0,
  );
  header.writeInt32LE(-errno, 4);
  header.writeBigUInt64LE(unique, 8);
  return [header, ...parts];
}

/** struct fuse_init_out: asks for parallel direct I/O and requests of maxWriteBytes. */
export function encodeInit(request: Request): Buffer {
  const offered = request.body.readUInt32LE(12);
  const out = Buffer.alloc(64);
  out.writeUInt32LE(protocolMajor, 0);
  out.writeUInt32LE(protocolMinor, 4);
  out.writeUInt32LE(request.body.readUInt32LE(8), 8);
  out.writeUInt32LE((offered & (flagAsyncRead | flagBigWrites | flagAsyncDirectIo | flagMaxPages)) >>> 0, 12);
  out.writeUInt16LE(64, 16);
  out.writeUInt16LE(48, 18);
  out.writeUInt32LE(maxWriteBytes, 20);
  out.writeUInt32LE(1, 24);
  out.writeUInt16LE(maxWriteBytes / pageBytes, 28);
  return out;
}

export interface Attributes {
  readonly inode: number;
  readonly sizeBytes: number;
  /** File type and permission bits, as in st_mode. */
  readonly mode: number;
}

const attributeTtlSeconds = 3600n;

function encodeAttributes({ inode, sizeBytes, mode }: Attributes): Buffer {
  const out = Buffer.alloc(88);
  out.writeBigUInt64LE(BigInt(inode), 0);
  out.writeBigUInt64LE(BigInt(sizeBytes), 8);
  out.writeBigUInt64LE(BigInt(sizeBytes / 512), 16);
  out.writeUInt32LE(mode, 60);
  out.writeUInt32LE(1, 64);
  out.writeUInt32LE(pageBytes, 80);
  return out;
}

/** struct fuse_attr_out. */
export function encodeAttrOut(attributes: Attributes): Buffer {
  const head = Buffer.alloc(16);
  head.writeBigUInt64LE(attributeTtlSeconds, 0);
  return Buffer.concat([head, encodeAttributes(attributes)]);
}

/** struct fuse_entry_out. */
export function encodeEntryOut(attributes: Attributes): Buffer {
  const head = Buffer.alloc(40);
  head.writeBigUInt64LE(BigInt(attributes.inode), 0);
  head.writeBigUInt64LE(attributeTtlSeconds, 16);
  head.writeBigUInt64LE(attributeTtlSeconds, 24);
  return Buffer.concat([head, encodeAttributes(attributes)]);
}

/** struct fuse_open_out; `flags` are FOPEN_*. */
export function encodeOpenOut(flags: number): Buffer {
  const out = Buffer.alloc(16);
  out.writeUInt32LE(flags, 8);
  return out;
}

/** struct fuse_read_in and the head of struct fuse_write_in, which are alike. */
export function decodeTransfer(body: Buffer): { readonly offsetBytes: number; readonly lengthBytes: number } {
  return { offsetBytes: Number(body.readBigUInt64LE(8)), lengthBytes: body.readUInt32LE(16) };
}

/** The data of a write, behind struct fuse_write_in. */
export function writeData(body: Buffer): Buffer {
  return body.subarray(40, 40 + body.readUInt32LE(16));
}

/** struct fuse_write_out. */
export function encodeWriteOut(lengthBytes: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeUInt32LE(lengthBytes, 0);
  return out;
}

/** The name in a LOOKUP: zero-terminated. */
export function lookupName(body: Buffer): string {
  return body.toString('latin1', 0, body.indexOf(0));
}

/** struct fuse_statfs_out of a full file system that holds one file. */
export function encodeStatfsOut(sizeBytes: number): Buffer {
  const out = Buffer.alloc(80);
  out.writeBigUInt64LE(BigInt(Math.ceil(sizeBytes / pageBytes)), 0);
  out.writeBigUInt64LE(1n, 24);
  out.writeUInt32LE(pageBytes, 40);
  out.writeUInt32LE(255, 44);
  out.writeUInt32LE(pageBytes, 48);
  return out;
}

/** A READDIR answer: struct fuse_dirent for each entry from `offset` on. */
export function encodeDirents(
  entries: readonly { readonly name: string; readonly inode: number; readonly type: number }[],
  offset: number,
): Buffer {
  return Buffer.concat(
    entries.slice(offset).map(({ name, inode, type }, index) => {
      const entry = Buffer.alloc(24 + Math.ceil(name.length / 8) * 8);
      entry.writeBigUInt64LE(BigInt(inode), 0);
      entry.writeBigUInt64LE(BigInt(offset + index + 1), 8);
      entry.writeUInt32LE(name.length, 16);
      entry.writeUInt32LE(type, 20);
      entry.write(name, 24, 'latin1');
      return entry;
    }),
  );
}
