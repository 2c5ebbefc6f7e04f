import { mkdirSync } from 'node:fs';
import { cpuTicks, processTree, statusField } from '../lab/daemon.ts';
import { sleep } from '../lab/workbench.ts';
import type { Bench, BenchContext, Measurement } from './bench.ts';
import { daemonWithPool } from './pool-under-daemon.ts';

const volumes = 100;
const ticksPerSecond = 100;

/** Memory and processor time of the whole daemon while nothing happens to its mounted volumes. */
async function measure(context: BenchContext): Promise<readonly Measurement[]> {
  const { cleanup, scratch, quick, note } = context;
  const daemon = await daemonWithPool(context, '40G');
  const names = Array.from({ length: volumes }, (_, index) => `idle-${index}`);
  cleanup.add(async () => {
    for (const name of names) await daemon.post('Volume', name, 'unmount', {});
    for (const name of names) await daemon.until('Volume', name, (volume) => volume?.status.attachedTo.length === 0);
  });
  for (const name of names) {
    mkdirSync(`${scratch}/mnt/${name}`, { recursive: true });
    await daemon.create('Volume', name, { sizeBytes: 300 * 2 ** 20, filesystem: 'ext4' });
    await daemon.post('Volume', name, 'mount', { path: `${scratch}/mnt/${name}` });
  }
  for (const name of names)
    await daemon.until('Volume', name, (volume) => volume?.status.attachedTo.length === 1, 120_000);
  // Start-up memory is given back and caches of the last work end.
  // Figures of the volumes are read 15 s after they changed (agent/volume/usage.ts), helpers end 5 s later.
  await sleep(quick ? 30_000 : 60_000);
  const seconds = quick ? 20 : 120;
  const tree = processTree(daemon.pid);
  const ticks = () => processTree(daemon.pid).reduce((sum, pid) => sum + cpuTicks(pid), 0);
  const before = ticks();
  await sleep(seconds * 1_000);
  const corePercent = ((ticks() - before) / ticksPerSecond / seconds) * 100;
  const rssMiB = processTree(daemon.pid).reduce((sum, pid) => sum + (statusField(pid, 'VmRSS') ?? 0), 0) / 1024;
  note(`${tree.length} processes, ${volumes} mounted volumes, ${seconds} s`);
  return [
    {
      name: 'idle-daemon/rss',
      value: rssMiB,
      unit: `MiB, all processes, ${volumes} volumes`,
      goal: { of: 'value', is: 'at most', than: 80 },
    },
    {
      name: 'idle-daemon/cpu',
      value: corePercent,
      unit: '% of a core',
      goal: { of: 'value', is: 'at most', than: 0.1 },
    },
  ];
}

export const idleDaemon: Bench = {
  name: 'idle-daemon',
  title: 'memory and processor time of the daemon with 100 mounted volumes',
  run: measure,
};
