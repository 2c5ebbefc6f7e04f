import { readAt } from '../superblock/io.ts';

/*
 * What lies at the front of a physical volume, read without LVM: a label in one of the first four sectors, a header with
 * the device's UUID and its metadata areas, and in each area a ring of versions of the group's text
 * (lvm2: lib/label/label.h, lib/format_text/layout.h). Synchronous, for the helper processes of host/.
 */

const sectorBytes = 512;
const labelSectors = 4;
/** struct mda_header: checksum, magic, version, start, size, then raw_locns of 24 bytes up to the sector's end. */
const headerBytes = 512;
const areaMagic = ' LVM2 x[5A%r0N*>';
const areaLimit = 16;
/** Enough for name, id and seqno, which come first in the text. */
const headLimitBytes = 512;
const ignored = 1;

export interface LvmLabel {
  /** As LVM prints it: groups of letters and digits joined by dashes. */
  readonly pvUuid: string;
  readonly deviceBytes: number;
  /** Of the group it belongs to, from the front of the text; undefined for a physical volume without group or text. */
  readonly group?: { readonly name: string; readonly id: string; readonly seqno: number };
  /** The whole text of the group, when it was asked for. */
  readonly text?: string;
  /** There is a metadata area, and what it says is no group: mostly because it is being written just now. */
  readonly torn?: true;
}

export interface LabelOptions {
  /** Whether the whole text of the group is wanted. */
  readonly text?: boolean;
  /** Called before each read, to drop what is cached of it. */
  readonly fresh?: (fd: number, offsetBytes: number, lengthBytes: number) => void;
}

type Read = (offsetBytes: number, lengthBytes: number) => Buffer | undefined;

/** The label of an open device; undefined when it is no physical volume. */
export function readLabel(fd: number, options: LabelOptions = {}): LvmLabel | undefined {
  const read: Read = (offsetBytes, lengthBytes) => {
    options.fresh?.(fd, offsetBytes, lengthBytes);
    return readAt(fd, offsetBytes, lengthBytes);
  };
  const sectors = read(0, labelSectors * sectorBytes);
  if (!sectors) return undefined;
  for (let at = 0; at < sectors.length; at += sectorBytes) {
    const sector = sectors.subarray(at, at + sectorBytes);
    if (sector.toString('latin1', 0, 8) !== 'LABELONE' || sector.toString('latin1', 24, 32) !== 'LVM2 001') continue;
    if (Number(sector.readBigUInt64LE(8)) !== at / sectorBytes) continue;
    if (sector.readUInt32LE(16) !== checksum(sector.subarray(20))) continue;
    return describe(read, sector, options.text === true);
  }
  return undefined;
}

function describe(read: Read, sector: Buffer, wanted: boolean): LvmLabel {
  const header = sector.subarray(sector.readUInt32LE(20));
  const found = {
    pvUuid: dashed(header.toString('latin1', 0, 32)),
    deviceBytes: Number(header.readBigUInt64LE(32)),
  };
  let torn = false;
  for (const area of metadataAreas(header.subarray(40))) {
    const text = readArea(read, area, wanted);
    if (text === 'none') continue;
    const group = text === 'torn' ? undefined : headOf(text);
    if (group) return { ...found, group, ...(wanted ? { text } : {}) };
    torn = true;
  }
  return torn ? { ...found, torn } : found;
}

/** Two lists of (offset, size), each ended by zeroes: data areas, then metadata areas. */
function metadataAreas(lists: Buffer): readonly number[] {
  const areas: number[] = [];
  let list = 0;
  for (let at = 0; at + 16 <= lists.length && list < 2 && areas.length < areaLimit; at += 16) {
    const offset = Number(lists.readBigUInt64LE(at));
    if (offset === 0) list += 1;
    else if (list === 1) areas.push(offset);
  }
  return areas;
}

/** The newest committed text of an area, or only its front. */
function readArea(read: Read, areaOffset: number, whole: boolean): string | 'none' | 'torn' {
  const header = read(areaOffset, headerBytes);
  if (header?.toString('latin1', 4, 20) !== areaMagic || header.readUInt32LE(0) !== checksum(header.subarray(4)))
    return 'torn';
  const areaBytes = Number(header.readBigUInt64LE(32));
  const offset = Number(header.readBigUInt64LE(40));
  const sizeBytes = Number(header.readBigUInt64LE(48));
  if (offset === 0 || sizeBytes === 0 || (header.readUInt32LE(60) & ignored) !== 0) return 'none';
  if (sizeBytes > areaBytes) return 'torn';
  const text = readRing(read, areaOffset, areaBytes, offset, whole ? sizeBytes : Math.min(sizeBytes, headLimitBytes));
  if (!text || (whole && checksum(text) !== header.readUInt32LE(56))) return 'torn';
  return text.toString('utf8').replace(/\0+$/, '');
}

/** The ring begins behind the header, and a text may go round its end. */
function readRing(
  read: Read,
  areaOffset: number,
  areaBytes: number,
  offset: number,
  lengthBytes: number,
): Buffer | undefined {
  const straight = Math.min(lengthBytes, areaBytes - offset);
  const first = read(areaOffset + offset, straight);
  if (straight === lengthBytes || !first) return first;
  const second = read(areaOffset + headerBytes, lengthBytes - straight);
  return second && Buffer.concat([first, second]);
}

function headOf(text: string): LvmLabel['group'] | undefined {
  const match = /^([\w+.-]+) \{\s*id = "([\w-]+)"\s*seqno = (\d+)/.exec(text);
  const [, name, id, seqno] = match ?? [];
  return name !== undefined && id !== undefined ? { name, id, seqno: Number(seqno) } : undefined;
}

/** LVM writes the 32 characters of a UUID as 6-4-4-4-4-4-6. */
export function dashed(id: string): string {
  const cuts = [0, 6, 10, 14, 18, 22, 26, 32];
  return cuts
    .slice(1)
    .map((end, index) => id.slice(cuts[index], end))
    .join('-');
}

/** lvm2: lib/misc/crc.c: the usual polynomial, another beginning, no inversion at the end. */
export function checksum(bytes: Uint8Array): number {
  let crc = 0xf597a6cf;
  for (const byte of bytes) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 0xff] ?? 0);
  return crc >>> 0;
}

const table = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value >>> 0;
});
