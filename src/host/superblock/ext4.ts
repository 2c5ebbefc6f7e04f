import { crc32cRegister } from '../../lib/crc32c.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { FilesystemFacts } from './facts.ts';
import { damaged, formatUuid, mustReadAt, parseUuid, readAt, writeAt } from './io.ts';

// Offsets and flags: Linux Documentation/filesystems/ext4/super.rst and fs/ext4/ext4.h (struct ext4_super_block).
const superblockOffset = 1024;
const superblockBytes = 1024;
const magic = 0xef53;
const at = {
  blocksLow: 0x04,
  logBlockSize: 0x18,
  magic: 0x38,
  compat: 0x5c,
  incompat: 0x60,
  roCompat: 0x64,
  uuid: 0x68,
  blocksHigh: 0x150,
  checksum: 0x3fc,
} as const;
const compatHasJournal = 0x4;
const incompatRecover = 0x4;
const incompatJournalDevice = 0x8;
const incompatExtents = 0x40;
const incompat64Bit = 0x80;
const incompatChecksumSeed = 0x2000;
const roCompatGroupChecksum = 0x10;
const roCompatMetadataChecksum = 0x400;

/** What the superblock of ext2, ext3 or ext4 says; undefined when there is none. */
export function probeExt4(fd: number): FilesystemFacts | undefined {
  const block = readAt(fd, superblockOffset, superblockBytes);
  if (!block || block.readUInt16LE(at.magic) !== magic || block.readUInt32LE(at.logBlockSize) > 6) return undefined;
  const incompat = block.readUInt32LE(at.incompat);
  if (incompat & incompatJournalDevice) return undefined;
  const high = incompat & incompat64Bit ? block.readUInt32LE(at.blocksHigh) : 0;
  const blocks = high * 2 ** 32 + block.readUInt32LE(at.blocksLow);
  return {
    filesystem: familyName(block),
    uuid: formatUuid(block.subarray(at.uuid, at.uuid + 16)),
    clean: (incompat & incompatRecover) === 0,
    sizeBytes: blocks * (1024 << block.readUInt32LE(at.logBlockSize)),
  };
}

function familyName(block: Buffer): string {
  if (block.readUInt32LE(at.incompat) & incompatExtents) return 'ext4';
  return block.readUInt32LE(at.compat) & compatHasJournal ? 'ext3' : 'ext2';
}

/**
 * Writes the UUID into the primary superblock, the only one that is read unless somebody asks for a backup; the kernel
 * brings the backups up to date when it grows the file system. Other metadata does not depend on the UUID where the
 * checksum seed is stored apart from it.
 */
export function setExt4Uuid(fd: number, uuid: string): void {
  const bytes = parseUuid(uuid);
  const block = mustReadAt(fd, superblockOffset, superblockBytes, 'the superblock');
  if (block.readUInt16LE(at.magic) !== magic) throw damaged('there is no ext4 superblock');
  const incompat = block.readUInt32LE(at.incompat);
  const roCompat = block.readUInt32LE(at.roCompat);
  const checksummed = (roCompat & roCompatMetadataChecksum) !== 0;
  if (checksummed && checksum(block) !== block.readUInt32LE(at.checksum)) {
    throw damaged('the checksum of the ext4 superblock is wrong');
  }
  if (incompat & incompatRecover) {
    throw new AzekuraError(
      'FailedPrecondition',
      'the ext4 journal has not been replayed, so the UUID cannot be changed',
      {
        next: 'mount and unmount the file system once',
      },
    );
  }
  const dependsOnUuid = checksummed
    ? (incompat & incompatChecksumSeed) === 0
    : (roCompat & roCompatGroupChecksum) !== 0;
  if (dependsOnUuid) {
    throw new AzekuraError(
      'FailedPrecondition',
      'this ext4 file system was made without metadata_csum_seed, so its checksums depend on its UUID',
      {
        next: 'change the UUID with tune2fs -U, or make the file system with -O metadata_csum_seed',
      },
    );
  }
  bytes.copy(block, at.uuid);
  if (checksummed) block.writeUInt32LE(checksum(block), at.checksum);
  writeAt(fd, superblockOffset, block);
}

function checksum(block: Buffer): number {
  return crc32cRegister(block.subarray(0, at.checksum));
}
