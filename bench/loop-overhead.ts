import { readFileSync, writeFileSync } from 'node:fs';
import { LabEngine } from '../lab/engine.ts';
import { eventually, median, run } from '../lab/workbench.ts';
import type { Bench, BenchContext, Measurement } from './bench.ts';
import { fio } from './fio.ts';

const fileBytes = 512 * 2 ** 20;
const poolBytes = 4 * 2 ** 30;

/**
 * A block device that answers in no time: zram that holds only zeroes keeps no data at all, so that what remains is
 * software. Without zram, a loop device on a file in memory.
 */
function instantDevice({ cleanup, scratch, note }: BenchContext): string {
  let index: string;
  try {
    index = readFileSync('/sys/class/zram-control/hot_add', 'utf8').trim();
  } catch {
    note('no zram: a file in memory stands for the disk');
    run('truncate', '--size', String(poolBytes), `${scratch}/disk`);
    return cleanup.loop(`${scratch}/disk`);
  }
  // Whoever copied the mount table meanwhile (a new mount namespace) may hold the device a moment longer.
  cleanup.add(() =>
    eventually(() => {
      writeFileSync(`/sys/block/zram${index}/reset`, '1');
      writeFileSync('/sys/class/zram-control/hot_remove', index);
    }),
  );
  writeFileSync(`/sys/block/zram${index}/disksize`, String(poolBytes));
  return `/dev/zram${index}`;
}

/** The time that one volume (a loop device on a file of the pool) adds to a 4 KiB request, against a file of the same pool. */
async function measure(context: BenchContext): Promise<readonly Measurement[]> {
  const { cleanup, scratch, quick } = context;
  const device = instantDevice(context);
  run('mkfs.xfs', '-q', '-K', '-m', 'reflink=1', '-s', 'size=4096', device);
  const directory = `${scratch}/pool`;
  cleanup.mount(device, directory);
  const lab = LabEngine.open(`${scratch}/run`, cleanup);
  const pool = await lab.pool('bench', { kind: 'directory', path: directory }, cleanup);
  const volume = await lab.createVolume(pool, { sizeBytes: fileBytes, provisioning: 'thick' });
  const attached = await lab.attach(volume);
  cleanup.add(() => lab.engine.volumes.detach(volume));
  const plain = `${directory}/plain`;
  for (const file of [plain, attached])
    run(
      'dd',
      'if=/dev/zero',
      `of=${file}`,
      'bs=1M',
      `count=${fileBytes / 2 ** 20}`,
      'oflag=direct',
      'conv=notrunc,fsync',
    );

  // A neighbour on the processor only ever adds time, so of many short runs in turn the quietest of either tells what the
  // software costs; the median tells how quiet the machine was.
  const rounds = quick ? 6 : 20;
  const measurements: Measurement[] = [];
  for (const kind of ['randread', 'randwrite'] as const) {
    const volumeUs: number[] = [];
    const plainUs: number[] = [];
    for (let round = 0; round < rounds; round++) {
      plainUs.push(fio({ file: plain, kind, seconds: 1, sizeBytes: fileBytes }).latencyUs);
      volumeUs.push(fio({ file: attached, kind, seconds: 1, sizeBytes: fileBytes }).latencyUs);
    }
    const short = kind === 'randread' ? 'read' : 'write';
    measurements.push(
      {
        name: `loop-overhead/${short}-added`,
        value: Math.min(...volumeUs) - Math.min(...plainUs),
        unit: `µs per 4 KiB, quietest of ${rounds}`,
        goal: { of: 'value', is: 'at most', than: 5 },
      },
      {
        name: `loop-overhead/${short}`,
        value: median(volumeUs),
        unit: 'µs per 4 KiB, median',
        baseline: median(plainUs),
      },
    );
  }
  return measurements;
}

export const loopOverhead: Bench = {
  name: 'loop-overhead',
  title: 'time that a volume adds to a 4 KiB request of an instant disk',
  run: measure,
};
