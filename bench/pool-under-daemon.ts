import { Daemon, releaseLeftovers } from '../lab/daemon.ts';
import { run } from '../lab/workbench.ts';
import type { BenchContext } from './bench.ts';

/** A daemon with one pool, `main`, on a loop device of its own. */
export async function daemonWithPool({ cleanup, scratch }: BenchContext, poolSize: string): Promise<Daemon> {
  run('truncate', '--size', poolSize, `${scratch}/disk`);
  const device = cleanup.loop(`${scratch}/disk`);
  run('mkfs.xfs', '-q', '-K', '-m', 'reflink=1', '-s', 'size=4096', device);
  cleanup.mount(device, `${scratch}/pool`);
  cleanup.add(() => releaseLeftovers(scratch));
  const daemon = await Daemon.start({ dataDir: `${scratch}/data` });
  cleanup.add(() => daemon.stop());
  await daemon.create('Pool', 'main', { source: { kind: 'directory', path: `${scratch}/pool` }, overcommitRatio: 100 });
  await daemon.until('Pool', 'main', (pool) => pool?.status.phase === 'Ready');
  return daemon;
}
