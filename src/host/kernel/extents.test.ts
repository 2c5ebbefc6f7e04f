import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ByteRange, RangePage } from '../kernel.ts';
import { allocatedIn, changedBetween, type Extent, extentFlags, sumExtents } from './extents.ts';

const block = 4096;

/** A file as a list of blocks: 0 is a hole, a negative number is unwritten, another number is the block of the disk. */
const fileBlocks = fc.array(fc.integer({ min: -2, max: 6 }), { maxLength: 24 });

function extentsOf(blocks: readonly number[], fromBytes = 0): Extent[] {
  const extents: Extent[] = [];
  blocks.forEach((disk, index) => {
    if (disk === 0 || (index + 1) * block <= fromBytes) return;
    const last = extents.at(-1);
    const flags = disk < 0 ? extentFlags.unwritten : 0;
    const physicalBytes = (Math.abs(disk) * 100 + index) * block;
    const touches = last && last.flags === flags && last.physicalBytes + last.lengthBytes === physicalBytes;
    if (touches && last.logicalBytes + last.lengthBytes === index * block)
      extents[extents.length - 1] = { ...last, lengthBytes: last.lengthBytes + block };
    else extents.push({ logicalBytes: index * block, physicalBytes, lengthBytes: block, flags });
  });
  return extents;
}

/** What block `index` holds: 0 for zeroes, else the disk's block. */
const contentAt = (blocks: readonly number[], index: number) => Math.max(0, blocks[index] ?? 0);

/** All pages from the start, each as long as the limit, put together. */
function allPages(page: (fromBytes: number) => RangePage): readonly ByteRange[] {
  const all: ByteRange[] = [];
  let from: number | undefined = 0;
  while (from !== undefined) {
    const { ranges, nextBytes }: RangePage = page(from);
    all.push(...ranges);
    from = nextBytes;
  }
  return all;
}

const blocksIn = (ranges: readonly ByteRange[]) =>
  ranges.flatMap(({ offsetBytes, lengthBytes }) =>
    Array.from({ length: Math.ceil(lengthBytes / block) }, (_, i) => offsetBytes / block + i),
  );

const ascendingAndApart = (ranges: readonly ByteRange[]) =>
  ranges.every(
    (range, i) => i === 0 || range.offsetBytes > (ranges[i - 1]?.offsetBytes ?? 0) + (ranges[i - 1]?.lengthBytes ?? 0),
  );

describe('changedBetween', () => {
  it('names exactly the blocks that differ, whatever the page size', () => {
    fc.assert(
      fc.property(fileBlocks, fileBlocks, fc.integer({ min: 1, max: 5 }), (base, target, limit) => {
        const ranges = allPages((from) =>
          changedBetween(
            { extents: extentsOf(base, from), sizeBytes: base.length * block },
            { extents: extentsOf(target, from), sizeBytes: target.length * block },
            from,
            limit,
          ),
        );
        const expected = [...Array(Math.max(base.length, target.length)).keys()].filter(
          (i) => contentAt(base, i) !== contentAt(target, i),
        );
        expect(blocksIn(ranges)).toEqual(expected);
        expect(ascendingAndApart(ranges)).toBe(true);
      }),
    );
  });

  it('calls changed what has no comparable address, even when it looks the same', () => {
    for (const flag of ['unknown', 'delayed', 'encoded', 'encrypted', 'notAligned', 'inline', 'tail'] as const) {
      const map = () => ({
        extents: [{ logicalBytes: 0, physicalBytes: 8192, lengthBytes: block, flags: extentFlags[flag] }],
        sizeBytes: block,
      });
      expect(changedBetween(map(), map(), 0, 10).ranges).toEqual([{ offsetBytes: 0, lengthBytes: block }]);
    }
  });

  it('stops at the end of the longer file, though preallocation lies behind it', () => {
    const extents = [{ logicalBytes: 0, physicalBytes: 8192, lengthBytes: 16 * block, flags: 0 }];
    const changed = changedBetween({ extents: [], sizeBytes: 100 }, { extents, sizeBytes: 5000 }, 0, 10);
    expect(changed).toEqual({ ranges: [{ offsetBytes: 0, lengthBytes: 5000 }] });
  });
});

describe('allocatedIn', () => {
  it('names exactly the blocks that hold data, whatever the page size', () => {
    fc.assert(
      fc.property(fileBlocks, fc.integer({ min: 1, max: 5 }), (blocks, limit) => {
        const ranges = allPages((from) => allocatedIn(extentsOf(blocks, from), blocks.length * block, from, limit));
        expect(blocksIn(ranges)).toEqual([...blocks.keys()].filter((i) => contentAt(blocks, i) !== 0));
        expect(ascendingAndApart(ranges)).toBe(true);
      }),
    );
  });
});

describe('sumExtents', () => {
  it('counts shared blocks apart and unwritten ones within', () => {
    const extent = (lengthBytes: number, flags: number) => ({ logicalBytes: 0, physicalBytes: 0, lengthBytes, flags });
    const map = [extent(10, 0), extent(20, extentFlags.shared), extent(40, extentFlags.unwritten | extentFlags.last)];
    expect(sumExtents(map)).toEqual({ exclusiveBytes: 50, sharedBytes: 20, unwrittenBytes: 40, extents: 3 });
  });
});
