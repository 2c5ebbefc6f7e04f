import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededRandom } from './random.ts';
import { blockBytes, Replay } from './replay.ts';
import { LogWriter } from './write-log.ts';

const diskBlocks = 8;
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'azekura-lab-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

type Event = { block: number; blocks: number; version: number } | 'flush';
const events: fc.Arbitrary<Event[]> = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        block: fc.nat(diskBlocks - 1),
        blocks: fc.integer({ min: 1, max: 3 }),
        version: fc.integer({ min: 1, max: 200 }),
      }),
    },
    { weight: 1, arbitrary: fc.constant('flush' as const) },
  ),
  { minLength: 1, maxLength: 25 },
);

/** The version in each block; all bytes of a block must agree. */
function versions(path: string): number[] {
  const image = readFileSync(path);
  return Array.from({ length: diskBlocks }, (_, block) => {
    const bytes = new Set(image.subarray(block * blockBytes, (block + 1) * blockBytes));
    expect(bytes.size).toBe(1);
    return [...bytes][0] ?? -1;
  });
}

describe('replay', () => {
  it('keeps what a flush covered, and of later writes only versions that were written', () => {
    fc.assert(
      fc.property(events, fc.nat(), fc.double({ min: 0, max: 1, noNaN: true }), (list, seed, share) => {
        const log = join(directory, 'log');
        const writer = new LogWriter(log, diskBlocks * blockBytes);
        const durable = Array.from({ length: diskBlocks }, () => 0);
        const possible = durable.map((version) => new Set([version]));
        const cutAfter = Math.floor(list.length * share);
        const latest = [...durable];
        let position = writer.position();
        list.forEach((event, index) => {
          if (event === 'flush') writer.append({ kind: 'flush' });
          else {
            const blocks = Math.min(event.blocks, diskBlocks - event.block);
            writer.append({
              kind: 'write',
              offsetBytes: event.block * blockBytes,
              data: Buffer.alloc(blocks * blockBytes, event.version),
            });
          }
          if (index >= cutAfter) return;
          position = writer.position();
          if (event === 'flush') {
            latest.forEach((version, block) => {
              durable[block] = version;
              possible[block] = new Set([version]);
            });
          } else {
            for (let block = event.block; block < Math.min(event.block + event.blocks, diskBlocks); block++) {
              latest[block] = event.version;
              possible[block]?.add(event.version);
            }
          }
        });
        writer.close();
        const replay = new Replay(log, join(directory, 'durable'));
        replay.advance(position);
        expect(versions(replay.durableImage)).toEqual(durable);
        const copy = join(directory, 'copy');
        copyFileSync(replay.durableImage, copy);
        replay.crash(copy, seededRandom(seed));
        versions(copy).forEach((version, block) => {
          expect(possible[block]).toContain(version);
        });
        replay.close();
      }),
      { numRuns: 80 },
    );
  });

  it('drops, tears and reorders unflushed writes when it is asked often enough', () => {
    const log = join(directory, 'log');
    const writer = new LogWriter(log, diskBlocks * blockBytes);
    for (const version of [1, 2])
      writer.append({ kind: 'write', offsetBytes: 0, data: Buffer.alloc(2 * blockBytes, version) });
    const position = writer.position();
    writer.close();
    const replay = new Replay(log, join(directory, 'durable'));
    replay.advance(position);
    const seen = new Set<string>();
    for (let seed = 0; seed < 200; seed++) {
      const copy = join(directory, 'copy');
      copyFileSync(replay.durableImage, copy);
      replay.crash(copy, seededRandom(seed));
      seen.add(versions(copy).slice(0, 2).join());
    }
    replay.close();
    // Nine pairs of {before, first, second}: neither, torn, the older write surviving the newer, both.
    expect([...seen].sort()).toEqual(['0,0', '0,1', '0,2', '1,0', '1,1', '1,2', '2,0', '2,1', '2,2']);
  });

  it('gives the same image for the same seed', () => {
    const log = join(directory, 'log');
    const writer = new LogWriter(log, diskBlocks * blockBytes);
    for (let block = 0; block < diskBlocks; block++)
      writer.append({ kind: 'write', offsetBytes: block * blockBytes, data: Buffer.alloc(blockBytes, 7) });
    const position = writer.position();
    writer.close();
    const images = [1, 1].map((seed, index) => {
      const replay = new Replay(log, join(directory, `durable${index}`));
      replay.advance(position);
      replay.crash(replay.durableImage, seededRandom(seed));
      replay.close();
      return versions(replay.durableImage);
    });
    expect(images[0]).toEqual(images[1]);
  });
});
