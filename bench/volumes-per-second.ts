import { mkdirSync } from 'node:fs';
import { LabEngine } from '../lab/engine.ts';
import { median, run, runAsync } from '../lab/workbench.ts';
import type { Bench, BenchContext, Measurement } from './bench.ts';

const volumeBytes = 2 ** 30;
const concurrency = 8;
/** Volumes that are made before it is measured. */
const warmUp = 48;

/** Runs the work for 0 … count−1, eight at a time; returns how many per second. */
async function perSecond(count: number, work: (index: number) => Promise<void>): Promise<number> {
  let next = 0;
  const start = performance.now();
  const worker = async () => {
    for (let index = next++; index < count; index = next++) await work(index);
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return count / ((performance.now() - start) / 1_000);
}

/** From nothing to a mounted ext4 volume: through the engine, and by the four commands that a script would run. */
async function measure({ cleanup, scratch, quick }: BenchContext): Promise<readonly Measurement[]> {
  run('truncate', '--size', '40G', `${scratch}/disk`);
  const device = cleanup.loop(`${scratch}/disk`);
  run('mkfs.xfs', '-q', '-K', '-m', 'reflink=1', '-s', 'size=4096', device);
  const directory = `${scratch}/pool`;
  cleanup.mount(device, directory);
  const lab = LabEngine.open(`${scratch}/run`, cleanup);
  const pool = await lab.pool('bench', { kind: 'directory', path: directory }, cleanup);
  // The template of this size and file system is made once in the life of a pool.
  const first = await lab.createVolume(pool, { sizeBytes: volumeBytes, filesystem: 'ext4' });
  await lab.engine.volumes.delete(first);

  const ours: number[] = [];
  const spawned: number[] = [];
  // The first burst finds no helper process; they start while it runs, and stay as long as there is work.
  const cold = await engineRate(lab, pool, `${scratch}/mounts-cold`, warmUp);
  for (let round = 0; round < 3; round++) {
    spawned.push(await spawnedRate(`${directory}/spawned-${round}`, quick ? 16 : 48));
    // What the spawned round took may have let helpers end that a burst of any length would have kept.
    await engineRate(lab, pool, `${scratch}/mounts-warm-${round}`, warmUp);
    ours.push(await engineRate(lab, pool, `${scratch}/mounts-${round}`, quick ? 100 : 300));
  }
  return [
    {
      name: 'volumes-per-second/cold',
      value: cold,
      unit: `per s, the first ${warmUp} of an idle process`,
      baseline: median(spawned),
    },
    {
      name: 'volumes-per-second',
      value: median(ours),
      unit: 'create+attach+mkfs+mount per s',
      baseline: median(spawned),
      goal: { of: 'value', is: 'at least', than: 800 },
    },
  ];
}

async function engineRate(
  lab: LabEngine,
  pool: Parameters<LabEngine['createVolume']>[0],
  mounts: string,
  count: number,
): Promise<number> {
  mkdirSync(mounts);
  const made: (() => Promise<void>)[] = [];
  const rate = await perSecond(count, async (index) => {
    const target = `${mounts}/${index}`;
    const volume = await lab.createVolume(pool, { sizeBytes: volumeBytes, filesystem: 'ext4' });
    const kernel = lab.host.kernel(`volume/${volume.volumeId}`);
    made.push(async () => {
      await kernel.unmount(target);
      await lab.engine.volumes.detach(volume);
      await lab.engine.volumes.delete(volume);
    });
    const device = await lab.attach(volume);
    // As the agent does it.
    await kernel.batch([
      { call: 'makeMountPoint', args: [target, 'directory'] },
      { call: 'mount', args: [{ source: device, target, filesystem: 'ext4' }] },
    ]);
  });
  await perSecond(made.length, async (index) => made[index]?.());
  return rate;
}

async function spawnedRate(directory: string, count: number): Promise<number> {
  mkdirSync(directory);
  const made: [string, string][] = [];
  const rate = await perSecond(count, async (index) => {
    const file = `${directory}/${index}.img`;
    const target = `${directory}/${index}`;
    await runAsync('truncate', '--size', String(volumeBytes), file);
    const device = await runAsync('losetup', '--find', '--show', '--direct-io=on', '--sector-size', '4096', file);
    made.push([target, device]);
    await runAsync('mkfs.ext4', '-q', '-b', '4096', '-E', 'nodiscard,assume_storage_prezeroed=1', device);
    mkdirSync(target);
    await runAsync('mount', device, target);
  });
  for (const [target, device] of made) {
    run('umount', target);
    run('losetup', '--detach', device);
  }
  return rate;
}

export const volumesPerSecond: Bench = {
  name: 'volumes-per-second',
  title: 'from nothing to a mounted volume, eight at a time',
  run: measure,
};
