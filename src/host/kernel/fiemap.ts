import { constants, fstatSync } from 'node:fs';
import { allocatedIn, changedBetween, type Extent, extentFlags, sumExtents } from './extents.ts';
import { ioctl } from './libc.ts';
import { withFile } from './open.ts';
import type { SyncKernel } from './sync.ts';

const { O_RDONLY } = constants;
const FIEMAP_FLAG_SYNC = 1;
// struct fiemap and struct fiemap_extent of include/uapi/linux/fiemap.h
const headerBytes = 32;
const extentBytes = 56;
const batch = 2048;

/** Walks the extents of an open file from an offset on, in batches. The map of a changing file may be torn. */
export function* extentsOf(
  fd: number,
  path: string,
  options: { fromBytes?: number; sync?: boolean } = {},
): Generator<Extent> {
  const buffer = Buffer.alloc(headerBytes + batch * extentBytes);
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
  const number = (offset: number) => view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 2 ** 32;
  let start = options.fromBytes ?? 0;
  for (;;) {
    view.setBigUint64(0, BigInt(start), true);
    view.setBigUint64(8, 0xffff_ffff_ffff_ffffn - BigInt(start), true);
    view.setUint32(16, options.sync ? FIEMAP_FLAG_SYNC : 0, true);
    view.setUint32(20, 0, true);
    view.setUint32(24, batch, true);
    ioctl(fd, 'FIEMAP', buffer, path);
    const mapped = view.getUint32(20, true);
    let last = mapped === 0;
    for (let at = headerBytes; at < headerBytes + mapped * extentBytes; at += extentBytes) {
      const extent = {
        logicalBytes: number(at),
        physicalBytes: number(at + 8),
        lengthBytes: number(at + 16),
        flags: view.getUint32(at + 40, true),
      };
      last = (extent.flags & extentFlags.last) !== 0;
      start = extent.logicalBytes + extent.lengthBytes;
      yield extent;
    }
    if (last) return;
  }
}

/** Extent maps of backing files, see Kernel. */
export function extentCalls(): Pick<SyncKernel, 'extentUsage' | 'allocatedRanges' | 'changedRanges'> {
  return {
    extentUsage: (path, options = {}) =>
      withFile(path, O_RDONLY, (fd) => sumExtents(extentsOf(fd, path, { sync: options.sync ?? false }))),

    allocatedRanges: (path, { fromBytes, limit }) =>
      withFile(path, O_RDONLY, (fd) =>
        allocatedIn(extentsOf(fd, path, { fromBytes }), fstatSync(fd).size, fromBytes, limit),
      ),

    changedRanges: (base, target, { fromBytes, limit }) =>
      withFile(base, O_RDONLY, (before) =>
        withFile(target, O_RDONLY, (after) =>
          changedBetween(
            { extents: extentsOf(before, base, { fromBytes }), sizeBytes: fstatSync(before).size },
            { extents: extentsOf(after, target, { fromBytes }), sizeBytes: fstatSync(after).size },
            fromBytes,
            limit,
          ),
        ),
      ),
  };
}
