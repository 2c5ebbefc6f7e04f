import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CallError } from '../lab/csi/client.ts';
import { blockCapability, type Instance, nothingLeft, startInstance } from '../lab/csi/instance.ts';
import { type Random, seededRandom } from '../lab/random.ts';
import { Cleanup, run } from '../lab/workbench.ts';
import type { BlockMetadata } from '../src/gen/csi/csi_pb.js';

const seed = Number(process.env.AZEKURA_SEED ?? Date.now() % 2 ** 31);
const rounds = process.env.AZEKURA_LONG === '1' ? 30 : 3;
const volumeBytes = 256 << 20;
const blockBytes = 4_096;

const cleanup = new Cleanup();
let instance: Instance;
beforeAll(async () => {
  instance = await startInstance(cleanup, { disk: '8G' });
});
afterAll(() => cleanup.run());

interface Range {
  readonly start: number;
  readonly end: number;
}

/** Attaches a volume as a raw block device. */
async function attach(volumeId: string, name: string): Promise<{ path: string; release(): Promise<void> }> {
  const { node: nodes, controller: controllers } = instance.client;
  const volumeCapability = blockCapability();
  const stagingTargetPath = `${instance.scratch}/staging`;
  const targetPath = `${instance.scratch}/target/${name}`;
  await nodes.nodeStageVolume({ volumeId, volumeCapability, stagingTargetPath });
  await nodes.nodePublishVolume({ volumeId, volumeCapability, stagingTargetPath, targetPath });
  return {
    path: targetPath,
    release: async () => {
      await nodes.nodeUnpublishVolume({ volumeId, targetPath });
      await nodes.nodeUnstageVolume({ volumeId, stagingTargetPath });
      await controllers.deleteVolume({ volumeId });
    },
  };
}

async function create(name: string, extra: object = {}): Promise<string> {
  const { volume } = await instance.client.controller.createVolume({
    name,
    capacityRange: { requiredBytes: BigInt(volumeBytes) },
    volumeCapabilities: [blockCapability()],
    mutableParameters: { recycle: '0' },
    ...extra,
  });
  return volume?.volumeId ?? '';
}

async function snapshot(name: string, sourceVolumeId: string): Promise<string> {
  return (await instance.client.controller.createSnapshot({ name, sourceVolumeId })).snapshot?.snapshotId ?? '';
}

/** Writes, zeroes and discards at random places, small and large. */
function disturb(path: string, random: Random): void {
  const file = openSync(path, 'r+');
  for (let count = 0; count < 60; count++) {
    const blocks = 1 + random.below(random.chance(0.2) ? 512 : 8);
    const offset = random.below(volumeBytes / blockBytes - blocks) * blockBytes;
    const content = random.chance(0.2)
      ? Buffer.alloc(blocks * blockBytes)
      : Buffer.alloc(blocks * blockBytes, 1 + random.below(255));
    writeSync(file, content, 0, content.length, offset);
  }
  closeSync(file);
  const offset = random.below(volumeBytes / (1 << 20) - 8) << 20;
  run('blkdiscard', '--offset', String(offset), '--length', String(4 << 20), path);
  run('sync', path);
}

/** All bytes of a snapshot, read through a volume that is made of it. */
async function bytesOf(snapshotId: string, name: string): Promise<Buffer> {
  const source = { volumeContentSource: { type: { case: 'snapshot' as const, value: { snapshotId } } } };
  const device = await attach(await create(name, source), name);
  const bytes = Buffer.alloc(volumeBytes);
  const file = openSync(device.path, 'r');
  for (let at = 0; at < volumeBytes; at += 16 << 20) readSync(file, bytes, at, 16 << 20, at);
  closeSync(file);
  await device.release();
  return bytes;
}

type Answer = {
  readonly blockMetadata: BlockMetadata[];
  readonly volumeCapacityBytes: bigint;
  readonly blockMetadataType: number;
};

/** The ranges of a stream, checked for CSI's rules: ascending, apart, none empty, one capacity, one style. */
function rangesOf(answers: readonly Answer[], maxResults: number): Range[] {
  const ranges: Range[] = [];
  expect(answers.length).toBeGreaterThan(0);
  for (const answer of answers) {
    expect(answer.volumeCapacityBytes).toBe(BigInt(volumeBytes));
    expect(answer.blockMetadataType).toBe(answers[0]?.blockMetadataType);
    expect(answer.blockMetadata.length).toBeLessThanOrEqual(maxResults);
    for (const { byteOffset, sizeBytes } of answer.blockMetadata) {
      const range = { start: Number(byteOffset), end: Number(byteOffset + sizeBytes) };
      expect(range.end).toBeGreaterThan(range.start);
      expect(range.start).toBeGreaterThanOrEqual(ranges.at(-1)?.end ?? 0);
      ranges.push(range);
    }
  }
  expect(ranges.at(-1)?.end ?? 0).toBeLessThanOrEqual(volumeBytes);
  return ranges;
}

/** Blocks that the ranges do not cover although they are to be told. */
function missed(ranges: readonly Range[], isTold: (offset: number) => boolean): number[] {
  const result: number[] = [];
  let index = 0;
  for (let offset = 0; offset < volumeBytes; offset += blockBytes) {
    while ((ranges[index]?.end ?? Number.POSITIVE_INFINITY) <= offset) index += 1;
    const range = ranges[index];
    const covered = range !== undefined && range.start <= offset && range.end >= offset + blockBytes;
    if (!covered && isTold(offset)) result.push(offset);
  }
  return result;
}

const covered = (ranges: readonly Range[]) => ranges.reduce((sum, { start, end }) => sum + end - start, 0);
const cutAt = (ranges: readonly Range[], from: number) =>
  ranges.flatMap(({ start, end }) => (end <= from ? [] : [{ start: Math.max(start, from), end }]));

describe(`changed blocks through the RPC, seed ${seed}`, () => {
  it(`miss no byte that differs, in ${rounds} rounds, and go on where a stream was interrupted`, async () => {
    const random = seededRandom(seed);
    const volumeId = await create('origin');
    const device = await attach(volumeId, 'origin');
    disturb(device.path, random);
    const snapshots = [await snapshot('s0', volumeId)];
    const contents = [await bytesOf(snapshots[0] ?? '', 'c0')];
    for (let round = 1; round <= rounds; round++) {
      disturb(device.path, random);
      const targetSnapshotId = await snapshot(`s${round}`, volumeId);
      const target = await bytesOf(targetSnapshotId, `c${round}`);
      snapshots.push(targetSnapshotId);
      contents.push(target);
      // Against the one before, and against any older one.
      for (const from of new Set([round - 1, random.below(round)])) {
        const base = contents[from] ?? Buffer.alloc(0);
        const request = { baseSnapshotId: snapshots[from] ?? '', targetSnapshotId };
        const changed = rangesOf(await instance.client.metadata.getMetadataDelta(request), 1_000);
        const differs = (offset: number) =>
          base.compare(target, offset, offset + blockBytes, offset, offset + blockBytes) !== 0;
        expect(missed(changed, differs)).toEqual([]);
        expect(covered(changed)).toBeGreaterThan(0);
        expect(covered(changed)).toBeLessThan(volumeBytes);
        for (let attempt = 0; attempt < 5; attempt++) {
          const startingOffset = random.below(volumeBytes);
          const maxResults = 1 + random.below(20);
          const rest = await instance.client.metadata.getMetadataDelta({
            ...request,
            startingOffset: BigInt(startingOffset),
            maxResults,
          });
          expect(cutAt(rangesOf(rest, maxResults), startingOffset)).toEqual(cutAt(changed, startingOffset));
          for (const { end } of rangesOf(rest, maxResults)) expect(end).toBeGreaterThan(startingOffset);
        }
      }
      const allocated = rangesOf(
        await instance.client.metadata.getMetadataAllocated({ snapshotId: targetSnapshotId }),
        1_000,
      );
      const zero = Buffer.alloc(blockBytes);
      expect(missed(allocated, (offset) => zero.compare(target, offset, offset + blockBytes) !== 0)).toEqual([]);
      const startingOffset = random.below(volumeBytes);
      const rest = await instance.client.metadata.getMetadataAllocated({
        snapshotId: targetSnapshotId,
        startingOffset: BigInt(startingOffset),
        maxResults: 3,
      });
      expect(cutAt(rangesOf(rest, 3), startingOffset)).toEqual(cutAt(allocated, startingOffset));
    }
    await device.release().catch(() => undefined);
    for (const snapshotId of snapshots) await instance.client.controller.deleteSnapshot({ snapshotId });
    await instance.client.controller.deleteVolume({ volumeId });
    await nothingLeft(instance.daemon);
  }, 600_000);

  it('tell nothing of two equal snapshots, and refuse what cannot be compared', async () => {
    const code = (promise: Promise<unknown>) =>
      promise.then(
        () => 'OK',
        (error: CallError) => error.codeName,
      );
    const [a, b] = [await create('a'), await create('b')];
    const [first, second, other] = [await snapshot('a1', a), await snapshot('a2', a), await snapshot('b1', b)];
    const delta = (baseSnapshotId: string, targetSnapshotId: string, startingOffset = 0n) =>
      instance.client.metadata.getMetadataDelta({ baseSnapshotId, targetSnapshotId, startingOffset });
    expect(rangesOf(await delta(first, second), 1_000)).toEqual([]);
    expect(await code(delta(first, other))).toBe('INVALID_ARGUMENT');
    expect(await code(delta(first, 'unknown'))).toBe('NOT_FOUND');
    expect(await code(delta(first, ''))).toBe('INVALID_ARGUMENT');
    expect(await code(delta(first, second, -1n))).toBe('OUT_OF_RANGE');
    expect(await code(delta(first, second, BigInt(volumeBytes)))).toBe('OUT_OF_RANGE');
    for (const snapshotId of [first, second, other]) await instance.client.controller.deleteSnapshot({ snapshotId });
    for (const volumeId of [a, b]) await instance.client.controller.deleteVolume({ volumeId });
    await nothingLeft(instance.daemon);
  });
});
