import { randomBytes } from 'node:crypto';
import { fsyncSync, writeSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { RangePage, SnapshotRef, VolumeRef } from '../contract.ts';
import { bytesOf, type ContractKit, withDevice } from './kit.ts';

const blockBytes = 4096;
const rounds = 6;

export function describeDiff(kit: ContractKit): void {
  const all = async (page: (fromBytes: number) => Promise<RangePage>): Promise<RangePage['ranges'][number][]> => {
    const ranges: RangePage['ranges'][number][] = [];
    for (let from: number | undefined = 0; from !== undefined; ) {
      const { ranges: some, nextBytes }: RangePage = await page(from);
      ranges.push(...some);
      from = nextBytes;
    }
    return ranges;
  };
  const diff = () => {
    const part = kit.engine().diff;
    if (!part) throw new Error('the engine says it tells changed blocks and does not');
    return part;
  };

  describe('changed blocks', () => {
    it('between two kept snapshots miss nothing that a comparison of all bytes finds', async () => {
      const { volume, identity } = await kit.create({ mode: 'block', provisioning: 'thin' });
      let base = await cutWith(kit, volume, 40);
      for (let round = 0; round < rounds; round++) {
        const target = await cutWith(kit, volume, round === 0 ? 0 : 5 + round * 3);
        const limit = 1 + round * 2;
        const told = await all((fromBytes) => diff().changed(base.ref, target.ref, { fromBytes, limit }));
        const changed = blocksThat(identity.sizeBytes, (at) => !same(base.bytes, target.bytes, at));
        expect(missed(changed, told)).toEqual([]);
        expect(inOrder(told)).toBe(true);
        if (round === 0) expect(told).toEqual([]);
        const held = await all((fromBytes) => diff().allocated(target.ref, { fromBytes, limit }));
        const zero = Buffer.alloc(blockBytes);
        const filled = blocksThat(identity.sizeBytes, (at) => !target.bytes.subarray(at, at + blockBytes).equals(zero));
        if (kit.definition.capabilities.unwrittenIsZero) expect(missed(filled, held)).toEqual([]);
        // Then only what was seen to change is known to have been written.
        else expect(missed(changed, held)).toEqual([]);
        expect(inOrder(held)).toBe(true);
        base = target;
      }
      await kit.engine().volumes.delete(volume);
    });
  });
}

interface Instant {
  readonly ref: SnapshotRef;
  readonly bytes: Buffer;
}

/** Writes some data and some zeroes, and takes a snapshot. */
async function cutWith(kit: ContractKit, volume: VolumeRef, writes: number): Promise<Instant> {
  const bytes = await kit.onDevice(volume, (device) => {
    const sizeBytes = bytesOf(device).length;
    withDevice(device, (fd) => {
      for (let write = 0; write < writes; write++) {
        const length = blockBytes * (1 + Math.floor(Math.random() * 8));
        const at = Math.floor(Math.random() * ((sizeBytes - length) / blockBytes)) * blockBytes;
        writeSync(fd, write % 4 === 3 ? Buffer.alloc(length) : randomBytes(length), 0, length, at);
      }
      fsyncSync(fd);
    });
    return bytesOf(device);
  });
  return { ref: await kit.takeSnapshot(volume), bytes };
}

function same(a: Buffer, b: Buffer, at: number): boolean {
  return a.subarray(at, at + blockBytes).equals(b.subarray(at, at + blockBytes));
}

function blocksThat(sizeBytes: number, holds: (at: number) => boolean): number[] {
  const blocks: number[] = [];
  for (let at = 0; at < sizeBytes; at += blockBytes) if (holds(at)) blocks.push(at);
  return blocks;
}

function missed(blocks: readonly number[], told: RangePage['ranges']): number[] {
  return blocks.filter(
    (at) =>
      !told.some(({ offsetBytes, lengthBytes }) => offsetBytes <= at && at + blockBytes <= offsetBytes + lengthBytes),
  );
}

function inOrder(ranges: RangePage['ranges']): boolean {
  return ranges.every(({ offsetBytes, lengthBytes }, index) => {
    const before = ranges[index - 1];
    return lengthBytes > 0 && (!before || before.offsetBytes + before.lengthBytes <= offsetBytes);
  });
}
