import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import type { Host } from '../../../../src/host/host.ts';
import { createHost } from '../../../../src/host/linux.ts';
import { systemClock } from '../../../../src/lib/clock.ts';
import { silentLogger } from '../../../../src/lib/log.ts';

const builtWorker = path.resolve(import.meta.dirname, '../../../../dist/kernel-worker.mjs');

/** The machine as a host. Its helpers are those of the build: from the sources each takes seconds to start in here. */
export function machineHost(worker = builtWorker): Host {
  mkdirSync('/run/lock/lvm', { recursive: true });
  if (!existsSync(worker)) throw new Error(`${worker} is missing: npm run build`);
  return createHost({
    log: silentLogger,
    clock: systemClock,
    workerArgv: [process.execPath, '--max-semi-space-size=1', '--v8-pool-size=0', worker],
  });
}
