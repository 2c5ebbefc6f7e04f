import type { Daemon } from '../lab/daemon.ts';
import { median } from '../lab/workbench.ts';
import type { Bench, BenchContext, Measurement } from './bench.ts';
import { daemonWithPool } from './pool-under-daemon.ts';

/** Creates, lists and deletes many volumes one after the other; the last hundred may not cost more than the first. */
async function measure(context: BenchContext): Promise<readonly Measurement[]> {
  const count = context.quick ? 200 : 1_000;
  const sample = count / 10;
  const daemon = await daemonWithPool(context, '100G');
  const names = Array.from({ length: count }, (_, index) => `many-${index}`);
  const createOne = async (name: string) => {
    await daemon.create('Volume', name, { sizeBytes: 300 * 2 ** 20 });
    await daemon.until('Volume', name, (volume) => volume?.status.phase === 'Ready', 60_000, 2);
  };
  const createdFirst = await timesOf(names.slice(0, sample), createOne);
  const listedFew = (await listTime(daemon)) / sample;
  const createdRest = await timesOf(names.slice(sample), createOne);
  const listedAll = (await listTime(daemon)) / count;
  const deleted = await timesOf(names, async (name) => {
    await daemon.delete('Volume', name, { skipRecycleBin: true });
    await daemon.until('Volume', name, (volume) => volume === undefined, 60_000, 2);
  });
  const goal = { of: 'ratio', is: 'at most', than: 1.5 } as const;
  const unit = `ms each, ${sample} of ${count}`;
  return [
    {
      name: 'many-volumes/create',
      value: median(createdRest.slice(-sample)),
      unit,
      baseline: median(createdFirst),
      goal,
    },
    // Deletion goes from full to empty: its first are those with all the others still there.
    {
      name: 'many-volumes/delete',
      value: median(deleted.slice(0, sample)),
      unit,
      baseline: median(deleted.slice(-sample)),
      goal,
    },
    { name: 'many-volumes/list', value: listedAll, unit: `ms per volume, of ${count}`, baseline: listedFew, goal },
  ];
}

async function timesOf(names: readonly string[], work: (name: string) => Promise<void>): Promise<number[]> {
  const times: number[] = [];
  for (const name of names) {
    const start = performance.now();
    await work(name);
    times.push(performance.now() - start);
  }
  return times;
}

async function listTime(daemon: Daemon): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < 15; round++) {
    const start = performance.now();
    await daemon.client.list('Volume');
    times.push(performance.now() - start);
  }
  return median(times);
}

export const manyVolumes: Bench = {
  name: 'many-volumes',
  title: '1,000 volumes on one node: cost of each as their number grows',
  run: measure,
};
