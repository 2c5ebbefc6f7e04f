import { crc32cRegister } from '../../lib/crc32c.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { FilesystemFacts } from './facts.ts';
import { damaged, formatUuid, mustReadAt, parseUuid, readAt, writeAt } from './io.ts';
import { type LogPlace, logIsClean, setLogUuid } from './xfs-log.ts';

// Offsets: Linux fs/xfs/libxfs/xfs_format.h, struct xfs_dsb; all numbers are big-endian but the checksum.
const magic = 0x58465342;
const superblockBytes = 512;
const at = {
  blockBytes: 4,
  dataBlocks: 8,
  realtimeBlocks: 16,
  uuid: 32,
  logStart: 48,
  groupBlocks: 84,
  groups: 88,
  logBlocks: 96,
  version: 100,
  sectorBytes: 102,
  groupBlocksLog: 124,
  inProgress: 126,
  incompat: 216,
  checksum: 224,
  metaUuid: 248,
} as const;
const incompatMetaUuid = 0x4;
const incompatNeedsRepair = 0x10;

interface Geometry {
  readonly version: number;
  readonly blockBytes: number;
  readonly sectorBytes: number;
  readonly dataBlocks: number;
  readonly groupBlocks: number;
  readonly groups: number;
  /** Undefined when the log is on a device of its own. */
  readonly log: LogPlace | undefined;
}

/** What the superblock of XFS says; undefined when there is none that makes sense. */
export function probeXfs(fd: number): FilesystemFacts | undefined {
  const block = readAt(fd, 0, superblockBytes);
  const geometry = block && readGeometry(block);
  if (!block || !geometry) return undefined;
  const needsRepair = geometry.version === 5 && (block.readUInt32BE(at.incompat) & incompatNeedsRepair) !== 0;
  return {
    filesystem: 'xfs',
    uuid: formatUuid(block.subarray(at.uuid, at.uuid + 16)),
    clean: !needsRepair && block[at.inProgress] === 0 && geometry.log !== undefined && logIsClean(fd, geometry.log),
    sizeBytes: geometry.dataBlocks * geometry.blockBytes,
  };
}

/**
 * Changes the UUID as `xfs_admin -U` does: the superblocks of all allocation groups get it, and remember the old one
 * as the UUID that is written in all other metadata (feature META_UUID). Instead of clearing the whole log, as
 * xfs_admin does, only the record of its last unmount is changed: that is the one that a mount compares.
 * Repeating it after a crash half-way mends what is half-way.
 */
export function setXfsUuid(fd: number, uuid: string): void {
  const bytes = parseUuid(uuid);
  const primary = mustReadAt(fd, 0, superblockBytes, 'the superblock');
  const geometry = readGeometry(primary);
  if (!geometry) throw damaged('there is no XFS superblock');
  const log = checkChangeable(fd, primary, geometry);
  const incompat = primary.readUInt32BE(at.incompat);
  const metaUuid = incompat & incompatMetaUuid ? at.metaUuid : at.uuid;
  const oldUuid = Buffer.from(primary.subarray(metaUuid, metaUuid + 16));
  // The primary one comes last: until then the file system is what it was, but for the log's record.
  const groupBytes = geometry.groupBlocks * geometry.blockBytes;
  const changed: { readonly offsetBytes: number; readonly sector: Buffer }[] = [];
  for (let group = geometry.groups - 1; group >= 0; group--) {
    const offsetBytes = group * groupBytes;
    const sector = mustReadAt(fd, offsetBytes, geometry.sectorBytes, 'a superblock');
    if (sector.readUInt32BE(0) !== magic || !checksumIsRight(sector)) {
      throw damaged(`the superblock of allocation group ${group} is wrong`);
    }
    bytes.copy(sector, at.uuid);
    oldUuid.copy(sector, at.metaUuid);
    sector.writeUInt32BE((sector.readUInt32BE(at.incompat) | incompatMetaUuid) >>> 0, at.incompat);
    sector.writeUInt32LE(checksum(sector), at.checksum);
    changed.push({ offsetBytes, sector });
  }
  setLogUuid(fd, log, bytes);
  for (const { offsetBytes, sector } of changed) writeAt(fd, offsetBytes, sector);
}

function checkChangeable(fd: number, primary: Buffer, geometry: Geometry): LogPlace {
  if (geometry.version !== 5) throw refused('it has no checksums (XFS before version 5)');
  if (primary.readUInt32BE(at.incompat) & incompatNeedsRepair) throw refused('it needs a repair');
  if (primary.readBigUInt64BE(at.realtimeBlocks) !== 0n) throw refused('it has a realtime device');
  if (!geometry.log) throw refused('its log is on a device of its own');
  if (!logIsClean(fd, geometry.log)) {
    throw new AzekuraError('FailedPrecondition', 'the XFS log has not been replayed, so the UUID cannot be changed', {
      next: 'mount and unmount the file system once',
    });
  }
  return geometry.log;
}

function refused(why: string): AzekuraError {
  return new AzekuraError('FailedPrecondition', `the UUID of this XFS file system cannot be changed: ${why}`);
}

/** Undefined when the numbers contradict each other: what lies there is not XFS, or not any more. */
function readGeometry(block: Buffer): Geometry | undefined {
  if (block.readUInt32BE(0) !== magic) return undefined;
  const blockBytes = block.readUInt32BE(at.blockBytes);
  const sectorBytes = block.readUInt16BE(at.sectorBytes);
  const groupBlocks = block.readUInt32BE(at.groupBlocks);
  const groups = block.readUInt32BE(at.groups);
  const dataBlocks = Number(block.readBigUInt64BE(at.dataBlocks));
  const version = block.readUInt16BE(at.version) & 0xf;
  if (!isPowerBetween(blockBytes, 512, 65_536) || !isPowerBetween(sectorBytes, 512, 32_768)) return undefined;
  if (version < 4 || groups < 1 || groupBlocks < 1) return undefined;
  if (!Number.isSafeInteger(dataBlocks * blockBytes) || Math.ceil(dataBlocks / groupBlocks) !== groups)
    return undefined;
  const logStart = block.readBigUInt64BE(at.logStart);
  const logBlocks = block.readUInt32BE(at.logBlocks);
  return {
    version,
    blockBytes,
    sectorBytes,
    dataBlocks,
    groupBlocks,
    groups,
    log: logPlace(block, logStart, logBlocks),
  };
}

/** The start of the log is a number of a group and a block in it, packed into one with sb_agblklog bits for the block. */
function logPlace(block: Buffer, logStart: bigint, logBlocks: number): LogPlace | undefined {
  if (logStart === 0n || logBlocks === 0) return undefined;
  const blockBytes = block.readUInt32BE(at.blockBytes);
  const bits = BigInt(block[at.groupBlocksLog] ?? 0);
  const group = Number(logStart >> bits);
  const inGroup = Number(logStart & ((1n << bits) - 1n));
  const offsetBytes = (group * block.readUInt32BE(at.groupBlocks) + inGroup) * blockBytes;
  return Number.isSafeInteger(offsetBytes) ? { offsetBytes, lengthBytes: logBlocks * blockBytes } : undefined;
}

function isPowerBetween(value: number, low: number, high: number): boolean {
  return value >= low && value <= high && (value & (value - 1)) === 0;
}

/** Over the whole sector with the checksum's own bytes as zero (xfs_cksum.h). */
function checksum(sector: Buffer): number {
  const copy = Buffer.from(sector);
  copy.writeUInt32LE(0, at.checksum);
  return ~crc32cRegister(copy) >>> 0;
}

function checksumIsRight(sector: Buffer): boolean {
  return sector.readUInt32LE(at.checksum) === checksum(sector);
}
