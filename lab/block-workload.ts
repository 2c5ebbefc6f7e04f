/** Random changes of a raw block device, of every kind that changes the extents below it. */
import { closeSync, constants, fsyncSync, openSync, writeSync } from 'node:fs';
import type { Random } from './random.ts';
import { run } from './workbench.ts';

const sectorBytes = 4096;

export interface Range {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** A random range of whole sectors, mostly short. */
export function randomRange(random: Random, deviceBytes: number): Range {
  const sectors = deviceBytes / sectorBytes;
  const length = 1 + random.below(random.chance(0.1) ? 1024 : 16);
  const first = random.below(Math.max(1, sectors - length));
  return { offsetBytes: first * sectorBytes, lengthBytes: Math.min(length, sectors - first) * sectorBytes };
}

/** Makes some changes and waits until they are on the device's medium. */
export function changeDevice(device: string, deviceBytes: number, random: Random, count: number): void {
  const fd = openSync(device, constants.O_RDWR);
  try {
    for (let index = 0; index < count; index++) {
      const range = randomRange(random, deviceBytes);
      const kind = random.below(10);
      if (kind < 6) {
        // Not always whole sectors: the page cache then reads, changes and writes back.
        const cut = random.chance(0.3) ? random.below(sectorBytes - 1) : 0;
        const data = random.fill(Buffer.alloc(range.lengthBytes)).subarray(cut);
        writeSync(fd, data, 0, data.length, range.offsetBytes + cut);
      } else if (kind < 7) {
        writeSync(fd, Buffer.alloc(range.lengthBytes), 0, range.lengthBytes, range.offsetBytes);
      } else {
        fsyncSync(fd);
        const zeroOut = kind === 7 ? ['--zeroout'] : [];
        run(
          'blkdiscard',
          ...zeroOut,
          '--force',
          '--offset',
          String(range.offsetBytes),
          '--length',
          String(range.lengthBytes),
          device,
        );
      }
    }
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
