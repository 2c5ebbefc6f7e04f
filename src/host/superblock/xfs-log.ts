import { crc32cRegister } from '../../lib/crc32c.ts';
import { mustReadAt, readAt, writeAt } from './io.ts';

/**
 * As much of the log of XFS as is needed to tell whether it is clean and to give its last record another UUID.
 * Source of the format: Linux fs/xfs/libxfs/xfs_log_format.h; of the search: fs/xfs/xfs_log_recover.c
 * (xlog_find_zeroed, xlog_find_head, xlog_check_unmount_rec).
 */
export interface LogPlace {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** The log counts in basic blocks of 512 bytes, whatever the sector size. */
const basicBlock = 512;
const recordMagic = 0xfeedbabe;
const unmountFlag = 0x20;
/** sizeof(struct xlog_rec_header) on 64-bit machines: what the checksum covers. */
const headerBytes = 328;
/** sizeof(struct xlog_rec_ext_header), and how much data one header has cycle words for. */
const extendedHeaderBytes = 260;
const headerCoversBytes = 32 * 1024;
/** The longest record: 256 KiB of data and its headers. */
const longestRecordBlocks = (256 * 1024) / basicBlock + 8;
const at = { cycle: 4, version: 8, length: 12, checksum: 32, operations: 40, uuid: 304, size: 320 } as const;

interface UnmountRecord {
  readonly block: number;
  readonly headerBlocks: number;
  readonly lengthBytes: number;
}

/** Whether the log needs no replay: it ends in the record of an unmount, or has never been written. */
export function logIsClean(fd: number, log: LogPlace): boolean {
  const head = findHead(fd, log);
  return head === 'empty' || findUnmountRecord(fd, log, head) !== undefined;
}

/**
 * Writes the UUID into the record of the last unmount: the only one that a mount looks at, since recovery begins
 * behind it. The log must be clean.
 */
export function setLogUuid(fd: number, log: LogPlace, uuid: Uint8Array): void {
  const head = findHead(fd, log);
  if (head === 'empty') return;
  const record = findUnmountRecord(fd, log, head);
  if (!record) throw new Error('the log is not clean');
  const header = readBlock(fd, log, record.block);
  header.set(uuid, at.uuid);
  // mkfs leaves the checksum at 0, which says that there is none.
  if (header.readUInt32LE(at.checksum) !== 0)
    header.writeUInt32LE(recordChecksum(fd, log, record, header), at.checksum);
  writeAt(fd, log.offsetBytes + record.block * basicBlock, header);
}

/** The block that would be written next: where the cycle numbers fall. */
function findHead(fd: number, log: LogPlace): number | 'empty' {
  const blocks = log.lengthBytes / basicBlock;
  const first = cycleOf(fd, log, 0);
  const last = cycleOf(fd, log, blocks - 1);
  if (first === 0) return 'empty';
  if (first === last) return 0;
  // All blocks below the head have the cycle of the first one, all from the head on the cycle of the last one.
  let low = 0;
  let high = blocks - 1;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (cycleOf(fd, log, middle) === first) low = middle;
    else high = middle;
  }
  return high;
}

/** The record before the head, when it is that of an unmount and reaches exactly to the head. */
function findUnmountRecord(fd: number, log: LogPlace, head: number): UnmountRecord | undefined {
  const blocks = log.lengthBytes / basicBlock;
  for (let back = 1; back <= Math.min(longestRecordBlocks, blocks); back++) {
    const block = (head - back + blocks) % blocks;
    const header = readBlock(fd, log, block);
    if (header.readUInt32BE(0) !== recordMagic) continue;
    const lengthBytes = header.readUInt32BE(at.length);
    const headerBlocks = headerBlocksOf(header);
    const end = (block + headerBlocks + Math.ceil(lengthBytes / basicBlock)) % blocks;
    if (end !== head || header.readUInt32BE(at.operations) !== 1) return undefined;
    const operation = readBlock(fd, log, (block + headerBlocks) % blocks);
    return (operation[9] ?? 0) & unmountFlag ? { block, headerBlocks, lengthBytes } : undefined;
  }
  return undefined;
}

function headerBlocksOf(header: Buffer): number {
  if ((header.readUInt32BE(at.version) & 2) === 0) return 1;
  return Math.max(1, Math.ceil(header.readUInt32BE(at.size) / headerCoversBytes));
}

/** xlog_cksum(): the first header with its checksum as zero, the extended headers, the data as it lies on the disk. */
function recordChecksum(fd: number, log: LogPlace, record: UnmountRecord, header: Buffer): number {
  const first = Buffer.from(header.subarray(0, headerBytes));
  first.writeUInt32LE(0, at.checksum);
  const blocks = log.lengthBytes / basicBlock;
  let register = crc32cRegister(first);
  for (let index = 1; index < record.headerBlocks; index++) {
    register = crc32cRegister(
      readBlock(fd, log, (record.block + index) % blocks).subarray(0, extendedHeaderBytes),
      register,
    );
  }
  for (let done = 0; done < record.lengthBytes; done += basicBlock) {
    const data = readBlock(fd, log, (record.block + record.headerBlocks + done / basicBlock) % blocks);
    register = crc32cRegister(data.subarray(0, Math.min(basicBlock, record.lengthBytes - done)), register);
  }
  return ~register >>> 0;
}

/** Each block begins with the number of the log's revolution that wrote it; a record's header has it behind its magic. */
function cycleOf(fd: number, log: LogPlace, block: number): number {
  const start = readAt(fd, log.offsetBytes + block * basicBlock, 8);
  if (!start) return 0;
  const word = start.readUInt32BE(0);
  return word === recordMagic ? start.readUInt32BE(at.cycle) : word;
}

function readBlock(fd: number, log: LogPlace, block: number): Buffer {
  return mustReadAt(fd, log.offsetBytes + block * basicBlock, basicBlock, 'a block of the log');
}
