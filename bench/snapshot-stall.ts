import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { LabEngine } from '../lab/engine.ts';
import { median, run, sleep } from '../lab/workbench.ts';
import type { VolumeRef } from '../src/engines/contract.ts';
import type { Bench, BenchContext, Measurement } from './bench.ts';
import { fioBeside } from './fio.ts';

const blockBytes = 4096;
const writerBytes = 16 * 2 ** 20;

/**
 * The longest write while a snapshot is taken of a volume of many extents: with the engine's first pass before the cut,
 * and as one whole-file clone; then the same for a volume sixteen times as large with as many extents.
 */
async function measure({ cleanup, scratch, quick, note }: BenchContext): Promise<readonly Measurement[]> {
  const extents = quick ? 50_000 : 350_000;
  run('truncate', '--size', '100G', `${scratch}/disk`);
  const device = cleanup.loop(`${scratch}/disk`);
  run('mkfs.xfs', '-q', '-K', '-m', 'reflink=1', '-s', 'size=4096', device);
  const directory = `${scratch}/pool`;
  cleanup.mount(device, directory);
  const lab = LabEngine.open(`${scratch}/run`, cleanup);
  const pool = await lab.pool('bench', { kind: 'directory', path: directory }, cleanup);

  const rounds = quick ? 1 : 3;
  const stallOf = async (sizeBytes: number, prepare: boolean) => {
    const stalls: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const volume = await lab.createVolume(pool, { sizeBytes });
      await shatter(lab, volume, sizeBytes, extents);
      const attached = await lab.attach(volume);
      try {
        stalls.push(await longestWrite(lab, volume, attached, prepare));
      } finally {
        await lab.engine.volumes.detach(volume);
        await lab.engine.volumes.delete(volume);
      }
    }
    return median(stalls);
  };
  const small = 4 * 2 ** 30;
  const twoPass = await stallOf(small, true);
  const onePass = await stallOf(small, false);
  const large = await stallOf(16 * small, true);
  note(`${extents} extents`);
  return [
    {
      name: 'snapshot-stall',
      value: twoPass,
      unit: 'ms, longest write',
      baseline: onePass,
      goal: { of: 'value', is: 'at most', than: 100 },
    },
    // Flat: sixteen times the size may not cost even twice the time; 20 ms are the noise of a quiet writer.
    {
      name: 'snapshot-stall/16x-size',
      value: large,
      unit: 'ms, longest write',
      baseline: Math.max(twoPass, 20),
      goal: { of: 'ratio', is: 'at most', than: 2 },
    },
  ];
}

/** Writes single blocks with gaps between them into the data file, so that each becomes an extent of its own. */
async function shatter(lab: LabEngine, volume: VolumeRef, sizeBytes: number, extents: number): Promise<void> {
  const onDisk = (await lab.engine.pools.list(volume.pool)).find((one) => one.volumeId === volume.volumeId);
  if (!onDisk) throw new Error('the volume is not in its pool');
  // The extent size hint would allocate a whole MiB at each of these writes.
  run('xfs_io', '-c', 'extsize 0', onDisk.dataPath);
  const step = Math.floor((sizeBytes - writerBytes) / extents / blockBytes) * blockBytes;
  const fd = openSync(onDisk.dataPath, 'r+');
  const block = Buffer.alloc(blockBytes, 1);
  for (let index = 0; index < extents; index++) writeSync(fd, block, 0, blockBytes, writerBytes + index * step);
  fsyncSync(fd);
  closeSync(fd);
}

/** A writer of 1,000 requests a second, beside the snapshot. */
async function longestWrite(lab: LabEngine, volume: VolumeRef, device: string, prepare: boolean): Promise<number> {
  const seconds = 10;
  const writer = fioBeside({ file: device, kind: 'randwrite', seconds, sizeBytes: writerBytes, rate: 1_000 });
  await sleep(1_000);
  await lab.snapshot(volume, { prepare });
  return (await writer).maxLatencyMs;
}

export const snapshotStall: Bench = {
  name: 'snapshot-stall',
  title: 'the longest write while a fragmented volume is snapshotted',
  run: measure,
};
