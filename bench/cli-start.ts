import { spawnSync } from 'node:child_process';
import { Daemon, launcher } from '../lab/daemon.ts';
import { median } from '../lab/workbench.ts';
import type { Bench, BenchContext, Measurement } from './bench.ts';

function millisecondsOf(args: readonly string[], env: Readonly<Record<string, string>> = {}): number {
  const start = performance.now();
  const { status } = spawnSync(process.execPath, args, { stdio: 'ignore', env: { ...process.env, ...env } });
  if (status !== 0) throw new Error(`node ${args.join(' ')} ended with ${status}`);
  return performance.now() - start;
}

/** A command from its start to its end, against the start of Node.js itself. */
async function measure({ cleanup, scratch, quick }: BenchContext): Promise<readonly Measurement[]> {
  const dataDir = `${scratch}/data`;
  const daemon = await Daemon.start({ dataDir });
  cleanup.add(() => daemon.stop());
  const commands = {
    version: [launcher, '--version'],
    'volume-list': [launcher, 'volume', 'list', '-o', 'name'],
  };
  const times: Record<string, number[]> = { node: [], version: [], 'volume-list': [] };
  for (let round = 0; round < (quick ? 5 : 25); round++) {
    times.node?.push(millisecondsOf(['-e', '0']));
    for (const [name, args] of Object.entries(commands))
      times[name]?.push(millisecondsOf(args, { AZEKURA_DATA_DIR: dataDir }));
  }
  const baseline = median(times.node ?? []);
  return [
    {
      name: 'cli-start/version',
      value: median(times.version ?? []),
      unit: 'ms',
      baseline,
      goal: { of: 'ratio', is: 'at most', than: 1.3 },
    },
    { name: 'cli-start/volume-list', value: median(times['volume-list'] ?? []), unit: 'ms, with a daemon', baseline },
  ];
}

export const cliStart: Bench = {
  name: 'cli-start',
  title: 'a command from start to end, against `node -e 0`',
  run: measure,
};
