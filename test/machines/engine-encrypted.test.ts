import { afterAll, beforeAll, describe, it } from 'vitest';
import { ensureBuilt } from '../../lab/daemon.ts';
import { type Lab, startMachines } from '../../lab/machines/index.ts';
import { runInside } from './run-inside.ts';

/* LUKS2 above the engines file and lvm, on a kernel with device-mapper: ten minutes or more, by hand. */
const long = process.env.AZEKURA_LONG === '1';
const timeout = 20 * 60_000;
/** Each crash costs seconds in a machine: one in eight in a run, others in the next. */
const crashes = { AZEKURA_CRASH_STRIDE: '8' };

describe.skipIf(!long)(`encryption above the engines${long ? '' : ' (skipped: AZEKURA_LONG=1 runs it)'}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    ensureBuilt();
    lab = await startMachines({ memory: '1536M', disks: ['6G', '6G', '2G'] });
  });
  afterAll(() => lab.down());

  it('keeps the engine contract above file', { timeout }, () =>
    runInside(lab.machine(1), 'encrypted-file.ts', ['/dev/ubda'], crashes),
  );

  it('keeps the engine contract above lvm', { timeout }, () =>
    runInside(lab.machine(1), 'encrypted-lvm.ts', ['/dev/ubdb', '/dev/ubdc'], crashes),
  );
});
