import { afterAll, beforeAll, describe, it } from 'vitest';
import { ensureBuilt } from '../../lab/daemon.ts';
import { type Lab, startMachines } from '../../lab/machines/index.ts';
import { runInside } from './run-inside.ts';

/* The engine lvm on a kernel with device-mapper. Each file of inside/ runs in the machine, on disks that it may spoil. */
let lab: Lab;
beforeAll(async () => {
  ensureBuilt();
  lab = await startMachines({ memory: '1536M', disks: ['6G', '2G', '3G'] });
});
afterAll(() => lab.down());

const timeout = 20 * 60_000;

describe('the engine lvm on a real kernel', () => {
  // Each crash of an operation costs seconds in a machine: a fourth of them in a run, others in the next.
  const crashes = process.env.AZEKURA_LONG === '1' ? '1' : '4';
  it(
    `keeps the engine contract, with ${crashes === '1' ? 'each' : `one in ${crashes}`} of its crash points`,
    { timeout },
    () => runInside(lab.machine(1), 'engine-lvm.ts', ['/dev/ubda', '/dev/ubdc'], { AZEKURA_CRASH_STRIDE: crashes }),
  );

  it('shows no stale bytes, and comes back from a pool full of data or metadata', { timeout }, () =>
    runInside(lab.machine(1), 'lvm-limits.ts', ['/dev/ubdb']),
  );
});
