import type { ByteRange, ExtentUsage, RangePage } from '../kernel.ts';

/** One extent of a file as FIEMAP tells it. */
export interface Extent {
  readonly logicalBytes: number;
  readonly physicalBytes: number;
  readonly lengthBytes: number;
  readonly flags: number;
}

/** FIEMAP_EXTENT_* of include/uapi/linux/fiemap.h */
export const extentFlags = {
  last: 0x1,
  unknown: 0x2,
  delayed: 0x4,
  encoded: 0x8,
  encrypted: 0x80,
  notAligned: 0x100,
  inline: 0x200,
  tail: 0x400,
  unwritten: 0x800,
  shared: 0x2000,
} as const;

/** The physical address of such an extent says nothing about its bytes. */
const addressUnknown =
  extentFlags.unknown |
  extentFlags.delayed |
  extentFlags.encoded |
  extentFlags.encrypted |
  extentFlags.notAligned |
  extentFlags.inline |
  extentFlags.tail;

/** Sums up a whole map. Unwritten bytes are counted in the exclusive or shared bytes too. */
export function sumExtents(extents: Iterable<Extent>): ExtentUsage {
  const usage = { exclusiveBytes: 0, sharedBytes: 0, unwrittenBytes: 0, extents: 0 };
  for (const { lengthBytes, flags } of extents) {
    usage.extents += 1;
    if (flags & extentFlags.shared) usage.sharedBytes += lengthBytes;
    else usage.exclusiveBytes += lengthBytes;
    if (flags & extentFlags.unwritten) usage.unwrittenBytes += lengthBytes;
  }
  return usage;
}

/** A part of a file whose bytes are all zero, all at (offset + delta) of the disk, or not comparable. */
interface Run {
  readonly startBytes: number;
  readonly endBytes: number;
  readonly content: 'zero' | 'unknown' | number;
}

/**
 * The file as an unbroken row of runs from `fromBytes` to Infinity. Holes and unwritten extents are zeroes, and so is
 * all that lies beyond the end of the file.
 */
function* runsOf(
  extents: Iterable<Extent>,
  sizeBytes: number,
  fromBytes: number,
): Generator<Run, undefined, undefined> {
  let position = fromBytes;
  for (const { logicalBytes, physicalBytes, lengthBytes, flags } of extents) {
    const startBytes = Math.max(logicalBytes, position);
    const endBytes = Math.min(logicalBytes + lengthBytes, sizeBytes);
    if (endBytes <= startBytes || flags & extentFlags.unwritten) continue;
    if (startBytes > position) yield { startBytes: position, endBytes: startBytes, content: 'zero' };
    const content = flags & addressUnknown ? 'unknown' : physicalBytes - logicalBytes;
    yield { startBytes, endBytes, content };
    position = endBytes;
  }
  yield { startBytes: position, endBytes: Number.POSITIVE_INFINITY, content: 'zero' };
}

/** Joins touching ranges and cuts the list at a limit. */
class Page {
  readonly #ranges: ByteRange[] = [];
  readonly #limit: number;
  /** Where the first range that has no more room starts. */
  nextBytes: number | undefined;

  constructor(limit: number) {
    this.#limit = Math.max(1, limit);
  }

  /** Whether more may come: false when the page is full and this range does not join the last one. */
  add(startBytes: number, endBytes: number): boolean {
    const last = this.#ranges.at(-1);
    if (last && last.offsetBytes + last.lengthBytes === startBytes) {
      this.#ranges[this.#ranges.length - 1] = {
        offsetBytes: last.offsetBytes,
        lengthBytes: endBytes - last.offsetBytes,
      };
      return true;
    }
    if (this.#ranges.length >= this.#limit) {
      this.nextBytes = startBytes;
      return false;
    }
    this.#ranges.push({ offsetBytes: startBytes, lengthBytes: endBytes - startBytes });
    return true;
  }

  finish(): RangePage {
    return { ranges: this.#ranges, ...(this.nextBytes === undefined ? {} : { nextBytes: this.nextBytes }) };
  }
}

/**
 * Ranges of a static file that hold data, ascending and joined.
 *
 * @param extents the file's map from `fromBytes` on, ascending
 * @param limit most ranges in the answer
 */
export function allocatedIn(extents: Iterable<Extent>, sizeBytes: number, fromBytes: number, limit: number): RangePage {
  const page = new Page(limit);
  for (const run of runsOf(extents, sizeBytes, fromBytes))
    if (run.content !== 'zero' && !page.add(run.startBytes, run.endBytes)) break;
  return page.finish();
}

/** A static file: its map from some offset on, and its size. */
export interface ExtentMap {
  readonly extents: Iterable<Extent>;
  readonly sizeBytes: number;
}

/**
 * Ranges in which two static files of one file system may differ, ascending and joined. Never misses one: the same
 * bytes are only where both map to the same blocks or both are zero. It may name ranges that are equal by chance.
 *
 * @param base and target: maps from `fromBytes` on, ascending
 * @param limit most ranges in the answer
 */
export function changedBetween(base: ExtentMap, target: ExtentMap, fromBytes: number, limit: number): RangePage {
  const page = new Page(limit);
  const endBytes = Math.max(base.sizeBytes, target.sizeBytes);
  const [before, after] = [
    runsOf(base.extents, base.sizeBytes, fromBytes),
    runsOf(target.extents, target.sizeBytes, fromBytes),
  ];
  let [a, b] = [before.next().value, after.next().value];
  let position = fromBytes;
  while (a && b && position < endBytes) {
    const upTo = Math.min(a.endBytes, b.endBytes, endBytes);
    const differs = a.content === 'unknown' || a.content !== b.content;
    if (differs && !page.add(position, upTo)) break;
    position = upTo;
    if (a.endBytes <= position) a = before.next().value;
    if (b.endBytes <= position) b = after.next().value;
  }
  return page.finish();
}
