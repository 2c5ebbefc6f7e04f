import { mkdtempSync, rmSync } from 'node:fs';
import type { PoolRef } from '../../../src/engines/contract.ts';
import { releaseAll } from '../../../src/engines/contract-suite/release.ts';
import { type ContractEnv, describeEngineContract } from '../../../src/engines/contract-suite.ts';
import { lvmEngine } from '../../../src/engines/lvm/engine.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { KeyedLock } from '../../../src/lib/keyed-lock.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { makeSteps } from '../../../src/lib/steps.ts';
import { machineHost } from './parts/host.ts';

/*
 * Runs inside a machine of the lab, which has LVM, the device mapper and disks of its own to spend: their paths are in
 * AZEKURA_LAB_DISKS, separated by commas. AZEKURA_CRASH_STRIDE: each so many-th crash point is tried.
 */
const disks = (process.env.AZEKURA_LAB_DISKS ?? '').split(',').filter((path) => path !== '');

async function makeEnv(): Promise<ContractEnv> {
  const [disk, other] = disks;
  if (disk === undefined || other === undefined) throw new Error('AZEKURA_LAB_DISKS does not name two disks');
  const scratch = mkdtempSync('/tmp/azekura-contract-');
  const host = machineHost();
  const runtimeDir = `${scratch}/run`;
  const pool: PoolRef = {
    name: 'contract',
    source: { kind: 'disks', disks: [disk] },
    reservePercent: 5,
    acceptNoJournal: true,
    trial: false,
  };
  const otherPool: PoolRef = { ...pool, name: 'other', source: { kind: 'disks', disks: [other] } };
  const engine = lvmEngine.create({
    host,
    clock: systemClock,
    log: silentLogger,
    steps: makeSteps(),
    locks: new KeyedLock(),
    nodeName: 'contract',
    runtimeDir,
  });
  return {
    host,
    runtimeDir,
    pool,
    otherPool,
    scratch,
    crashStride: Number(process.env.AZEKURA_CRASH_STRIDE ?? 1),
    async devices(of) {
      const attached: string[] = [];
      for (const { volumeId } of await engine.pools.list(of)) {
        const seen = await engine.volumes.observe({ pool: of, volumeId });
        if (seen.attached) attached.push(seen.attached.device);
      }
      return attached;
    },
    async end() {
      await releaseAll(host, scratch);
      for (const each of [pool, otherPool]) {
        for (const { volumeId } of await engine.pools.list(each)) {
          await engine.volumes.detach({ pool: each, volumeId });
          await engine.volumes.delete({ pool: each, volumeId });
        }
        await engine.pools.destroy(each);
      }
      await host.close();
      rmSync(scratch, { recursive: true, force: true });
    },
  };
}

describeEngineContract('the engine lvm keeps the contract', lvmEngine, makeEnv);
