import type { ByteRange, RangePage } from '../kernel.ts';

/** What the volumes of a thin pool hold, by their number in the pool. */
export type ThinUsage = ReadonlyMap<number, { readonly exclusiveBytes: number; readonly sharedBytes: number }>;

/** Reads the output of `thin_ls -o DEV,MAPPED_BYTES,EXCLUSIVE_BYTES,SHARED_BYTES --no-headers`. */
export function parseThinUsage(text: string): ThinUsage {
  const usage = new Map<number, { exclusiveBytes: number; sharedBytes: number }>();
  for (const line of text.split('\n')) {
    const [device, , exclusive, shared] = line.trim().split(/\s+/).map(Number);
    if (device === undefined || exclusive === undefined || shared === undefined || !Number.isInteger(device)) continue;
    usage.set(device, { exclusiveBytes: exclusive, sharedBytes: shared });
  }
  return usage;
}

/** Reads the XML of thin_delta: everything that is not the same counts as changed. */
export function parseThinDelta(xml: string): readonly ByteRange[] {
  const chunkBytes = chunkOf(xml);
  const ranges: ByteRange[] = [];
  for (const [, begin, length] of xml.matchAll(/<(?:different|left_only|right_only) begin="(\d+)" length="(\d+)"/g))
    ranges.push({ offsetBytes: Number(begin) * chunkBytes, lengthBytes: Number(length) * chunkBytes });
  return joined(ranges);
}

/** Reads the XML of thin_dump for one volume: what is mapped. */
export function parseThinDump(xml: string): readonly ByteRange[] {
  const chunkBytes = chunkOf(xml);
  const ranges: ByteRange[] = [];
  for (const [, begin, length, single] of xml.matchAll(
    /<range_mapping origin_begin="(\d+)" data_begin="\d+" length="(\d+)"|<single_mapping origin_block="(\d+)"/g,
  ))
    ranges.push({
      offsetBytes: Number(begin ?? single) * chunkBytes,
      lengthBytes: Number(length ?? 1) * chunkBytes,
    });
  return joined(ranges);
}

function chunkOf(xml: string): number {
  const sectors = Number(/<superblock [^>]*data_block_size="(\d+)"/.exec(xml)?.[1] ?? 0);
  if (sectors === 0) throw new SyntaxError('this is no output of the thin tools');
  return sectors * 512;
}

function joined(ranges: readonly ByteRange[]): readonly ByteRange[] {
  const result: ByteRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.offsetBytes - b.offsetBytes)) {
    const last = result.at(-1);
    if (last && last.offsetBytes + last.lengthBytes >= range.offsetBytes)
      result[result.length - 1] = {
        offsetBytes: last.offsetBytes,
        lengthBytes: Math.max(last.lengthBytes, range.offsetBytes + range.lengthBytes - last.offsetBytes),
      };
    else result.push(range);
  }
  return result;
}

/** One page of ranges, cut to the size of the volume. */
export function pageOf(
  ranges: readonly ByteRange[],
  page: { readonly fromBytes: number; readonly limit: number },
  sizeBytes: number,
): RangePage {
  const rest: ByteRange[] = [];
  for (const { offsetBytes, lengthBytes } of ranges) {
    const begin = Math.max(offsetBytes, page.fromBytes);
    const end = Math.min(offsetBytes + lengthBytes, sizeBytes);
    if (end > begin) rest.push({ offsetBytes: begin, lengthBytes: end - begin });
  }
  const next = rest[page.limit];
  return { ranges: rest.slice(0, page.limit), ...(next ? { nextBytes: next.offsetBytes } : {}) };
}
