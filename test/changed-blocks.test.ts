import { spawn } from 'node:child_process';
import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { changeDevice, type Range, randomRange } from '../lab/block-workload.ts';
import { LabEngine } from '../lab/engine.ts';
import { type Random, seededRandom } from '../lab/random.ts';
import { Cleanup, run } from '../lab/workbench.ts';
import type { EngineDiff, PoolRef, SnapshotRef, VolumeRef } from '../src/engines/contract.ts';

const blockBytes = 4096;
const firstBytes = 32 * 2 ** 20;
const largestBytes = 64 * 2 ** 20;
const phases = process.env.AZEKURA_LONG === '1' ? 400 : 40;
const seed = Number(process.env.AZEKURA_SEED ?? Date.now() % 2 ** 31);

const cleanup = new Cleanup();
let lab: LabEngine;
let pool: PoolRef;
let diff: EngineDiff;

beforeAll(async () => {
  const scratch = cleanup.directory('/dev/shm/azekura-diff-');
  run('truncate', '--size', '4G', `${scratch}/disk`);
  const device = cleanup.loop(`${scratch}/disk`);
  run('mkfs.xfs', '-q', '-K', '-m', 'reflink=1', '-s', 'size=4096', device);
  cleanup.mount(device, `${scratch}/pool`);
  lab = LabEngine.open(`${scratch}/run`, cleanup);
  pool = await lab.pool('diff', { kind: 'directory', path: `${scratch}/pool` }, cleanup);
  if (!lab.engine.diff) throw new Error('the engine has no diff');
  diff = lab.engine.diff;
});
afterAll(() => cleanup.run());

/** The bytes of snapshots, by their files: the truth that the engine is held against. */
async function contents(volume: VolumeRef): Promise<ReadonlyMap<string, Buffer>> {
  const onDisk = (await lab.engine.pools.list(pool)).find((one) => one.volumeId === volume.volumeId);
  return new Map(onDisk?.snapshots.map(({ snapshotId, dataPath }) => [snapshotId, readWhole(dataPath)]));
}

function readWhole(path: string): Buffer {
  const fd = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(fstatSync(fd).size);
    for (let done = 0; done < buffer.length; ) done += readSync(fd, buffer, done, buffer.length - done, done);
    return buffer;
  } finally {
    closeSync(fd);
  }
}

const zeroBlock = Buffer.alloc(blockBytes);
const blockOf = (bytes: Buffer, block: number) =>
  block * blockBytes < bytes.length ? bytes.subarray(block * blockBytes, (block + 1) * blockBytes) : zeroBlock;

/** Follows pages to the end. */
async function allPages(
  page: (fromBytes: number, limit: number) => ReturnType<EngineDiff['allocated']>,
  fromBytes: number,
  limit: () => number,
): Promise<readonly Range[]> {
  const ranges: Range[] = [];
  for (let from: number | undefined = fromBytes; from !== undefined; ) {
    const wanted = limit();
    const { ranges: more, nextBytes } = await page(from, wanted);
    expect(more.length).toBeLessThanOrEqual(wanted);
    if (nextBytes !== undefined) expect(nextBytes).toBeGreaterThan(from);
    ranges.push(...more);
    from = nextBytes;
  }
  return ranges;
}

/** The blocks of ranges, which must be ascending and apart. */
function blocksOf(ranges: readonly Range[]): Set<number> {
  const blocks = new Set<number>();
  let end = 0;
  for (const { offsetBytes, lengthBytes } of ranges) {
    expect(offsetBytes).toBeGreaterThanOrEqual(end);
    expect(lengthBytes).toBeGreaterThan(0);
    end = offsetBytes + lengthBytes;
    for (let block = Math.floor(offsetBytes / blockBytes); block * blockBytes < end; block++) blocks.add(block);
  }
  return blocks;
}

interface Tally {
  pairs: number;
  changed: number;
  reported: number;
  missed: number;
}

/** Compares one pair byte by byte, in pages of random length, and again from a random offset. */
async function comparePair(
  base: SnapshotRef,
  target: SnapshotRef,
  bytes: ReadonlyMap<string, Buffer>,
  random: Random,
  tally: Tally,
): Promise<void> {
  const before = bytes.get(base.snapshotId);
  const after = bytes.get(target.snapshotId);
  if (!before || !after) throw new Error('a kept snapshot is not in the pool');
  const pageOf = (fromBytes: number, limit: number) => diff.changed(base, target, { fromBytes, limit });
  const reported = blocksOf(await allPages(pageOf, 0, () => 1 + random.below(200)));
  tally.pairs++;
  tally.reported += reported.size;
  for (let block = 0; block * blockBytes < Math.max(before.length, after.length); block++) {
    if (blockOf(before, block).equals(blockOf(after, block))) continue;
    tally.changed++;
    if (!reported.has(block)) tally.missed++;
  }
  const start = random.below(after.length / blockBytes) * blockBytes;
  const resumed = blocksOf(await allPages(pageOf, start, () => 1 + random.below(50)));
  const expected = [...reported].filter((block) => block * blockBytes >= start);
  expect([...resumed].filter((block) => block * blockBytes >= start)).toEqual(expected);
}

async function compareAllocated(
  snapshot: SnapshotRef,
  bytes: ReadonlyMap<string, Buffer>,
  random: Random,
): Promise<number> {
  const content = bytes.get(snapshot.snapshotId) ?? Buffer.alloc(0);
  const allocated = blocksOf(
    await allPages(
      (fromBytes, limit) => diff.allocated(snapshot, { fromBytes, limit }),
      0,
      () => 1 + random.below(100),
    ),
  );
  let missed = 0;
  for (let block = 0; block * blockBytes < content.length; block++)
    if (!allocated.has(block) && !blockOf(content, block).equals(zeroBlock)) missed++;
  return missed;
}

/** Writes that go on while snapshots are cut, in a process of their own; resolves once it writes. */
async function startLoad(device: string): Promise<{ stop(): Promise<void> }> {
  const args = [
    '--name=load',
    '--thread',
    `--filename=${device}`,
    '--rw=randrw',
    '--rwmixwrite=70',
    '--bsrange=4k-64k',
    '--direct=1',
    '--ioengine=libaio',
    '--iodepth=4',
    `--size=${firstBytes}`,
    '--time_based',
    '--runtime=600',
    '--randrepeat=0',
    '--rate_iops=2000',
  ];
  const before = writesOf(device);
  const child = spawn('fio', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let complaint = '';
  child.stderr.on('data', (data: Buffer) => (complaint += data.toString()));
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  // On a busy machine fio takes longer to begin than all the snapshots below.
  while (writesOf(device) === before) {
    if (child.exitCode !== null) throw new Error(`fio ended with ${child.exitCode}: ${complaint}`);
    await setTimeout(20);
  }
  return {
    stop: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** How many writes a block device has completed: the fifth field of its statistics (kernel, block/stat.rst). */
function writesOf(device: string): number {
  const fields = readFileSync(`/sys/class/block/${path.basename(device)}/stat`, 'utf8')
    .trim()
    .split(/ +/);
  return Number(fields[4]);
}

describe(`changed blocks (seed ${seed})`, () => {
  for (const provisioning of ['thin', 'thick'] as const) {
    it(`misses none, for a ${provisioning} volume that is written, punched, zeroed, grown and restored`, {
      timeout: 900_000,
    }, async () => {
      const random = seededRandom(seed + provisioning.length);
      const volume = await lab.createVolume(pool, { sizeBytes: firstBytes, provisioning });
      let sizeBytes = firstBytes;
      let device = await lab.attach(volume);
      const kept: SnapshotRef[] = [];
      const tally: Tally = { pairs: 0, changed: 0, reported: 0, missed: 0 };
      let allocatedMissed = 0;
      for (let phase = 0; phase < phases; phase++) {
        changeDevice(device, sizeBytes, random, 1 + random.below(30));
        if (random.chance(0.15) && sizeBytes < largestBytes) {
          sizeBytes = Math.min(largestBytes, sizeBytes + blockBytes * (1 + random.below(2048)));
          await lab.engine.volumes.expand(volume, sizeBytes);
          changeDevice(device, sizeBytes, random, random.below(5));
        }
        const victim = kept[random.below(Math.max(1, kept.length))];
        if (victim && random.chance(0.1) && lab.engine.snapshots?.restore) {
          // Going back to a snapshot that was smaller also empties what was grown since: a truncate.
          await lab.engine.volumes.detach(volume);
          await lab.engine.snapshots.restore(victim);
          sizeBytes = (await lab.engine.volumes.observe(volume)).sizeBytes;
          device = await lab.attach(volume);
          changeDevice(device, sizeBytes, random, random.below(5));
        }
        const snapshot = await lab.snapshot(volume, { prepare: random.chance(0.7) });
        kept.push(snapshot);
        if (kept.length > 6) {
          const [gone] = kept.splice(random.below(kept.length - 1), 1);
          if (gone) await lab.engine.snapshots?.delete(gone);
        }
        const bytes = await contents(volume);
        const previous = kept.at(-2);
        const other = kept[random.below(kept.length)];
        if (previous) await comparePair(previous, snapshot, bytes, random, tally);
        if (other) await comparePair(other, snapshot, bytes, random, tally);
        if (other && previous) await comparePair(snapshot, other, bytes, random, tally);
        allocatedMissed += await compareAllocated(snapshot, bytes, random);
      }
      await lab.engine.volumes.detach(volume);
      await lab.engine.volumes.delete(volume);
      console.log(`${provisioning}: ${JSON.stringify(tally)}`);
      expect(tally.changed).toBeGreaterThan(1_000);
      expect({ missed: tally.missed, allocatedMissed }).toEqual({ missed: 0, allocatedMissed: 0 });
    });
  }

  it('misses none under load', { timeout: 300_000 }, async () => {
    const random = seededRandom(seed + 1);
    const volume = await lab.createVolume(pool, { sizeBytes: firstBytes });
    const device = await lab.attach(volume);
    const load = await startLoad(device);
    const tally: Tally = { pairs: 0, changed: 0, reported: 0, missed: 0 };
    let allocatedMissed = 0;
    try {
      let previous: SnapshotRef | undefined;
      for (let turn = 0; turn < phases / 2; turn++) {
        const { offsetBytes, lengthBytes } = randomRange(random, firstBytes);
        run('blkdiscard', '--force', '--offset', String(offsetBytes), '--length', String(lengthBytes), device);
        // A processor that others want may give the load no turn between two snapshots, which then would prove nothing.
        for (const before = writesOf(device); writesOf(device) < before + 50; ) await setTimeout(5);
        const snapshot = await lab.snapshot(volume);
        const bytes = await contents(volume);
        if (previous) await comparePair(previous, snapshot, bytes, random, tally);
        allocatedMissed += await compareAllocated(snapshot, bytes, random);
        if (previous) await lab.engine.snapshots?.delete(previous);
        previous = snapshot;
      }
    } finally {
      await load.stop();
    }
    await lab.engine.volumes.detach(volume);
    await lab.engine.volumes.delete(volume);
    console.log(`under load: ${JSON.stringify(tally)}`);
    expect(tally.changed).toBeGreaterThan(1_000);
    expect({ missed: tally.missed, allocatedMissed }).toEqual({ missed: 0, allocatedMissed: 0 });
  });

  it('reports nothing between two snapshots without a write between them', async () => {
    const volume = await lab.createVolume(pool, { sizeBytes: firstBytes });
    const device = await lab.attach(volume);
    changeDevice(device, firstBytes, seededRandom(seed), 50);
    const first = await lab.snapshot(volume);
    const second = await lab.snapshot(volume);
    expect(await diff.changed(first, second, { fromBytes: 0, limit: 100 })).toEqual({ ranges: [] });
    expect(await diff.changed(second, second, { fromBytes: 0, limit: 100 })).toEqual({ ranges: [] });
    await lab.engine.volumes.detach(volume);
    await lab.engine.volumes.delete(volume);
  });
});
