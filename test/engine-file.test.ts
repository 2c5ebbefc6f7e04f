import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { describe } from 'vitest';
import { engineDeps, poolAt } from '../lab/engine-parts.ts';
import type { PoolRef } from '../src/engines/contract.ts';
import { releaseAll } from '../src/engines/contract-suite/release.ts';
import { type ContractEnv, describeEngineContract } from '../src/engines/contract-suite.ts';
import { fileEngine } from '../src/engines/file/engine.ts';
import { createHost } from '../src/host/linux.ts';
import { systemClock } from '../src/lib/clock.ts';
import { silentLogger } from '../src/lib/log.ts';

const whyNot = process.getuid?.() === 0 ? undefined : 'not root, so no loop devices can be made';
const gibibyte = 2 ** 30;

/** Two pool images; with `directories` the pools are folders on the file systems of two more images. */
async function makeEnv(directories: boolean): Promise<ContractEnv> {
  const scratch = mkdtempSync('/dev/shm/azekura-contract-');
  const host = createHost({ log: silentLogger, clock: systemClock });
  const runtimeDir = `${scratch}/run`;
  const images = ['first', 'second'].map((name) =>
    poolAt(name, { kind: 'image', path: `${scratch}/${name}.img`, sizeBytes: 2 * gibibyte }),
  );
  const pools: PoolRef[] = [];
  const engine = fileEngine.create(engineDeps(host, runtimeDir));
  for (const image of images) {
    if (!directories) {
      pools.push(image);
      continue;
    }
    const { path } = await engine.pools.open(image);
    mkdirSync(`${path}/folder`);
    pools.push(poolAt(`${image.name}-folder`, { kind: 'directory', path: `${path}/folder` }));
  }
  const [pool, otherPool] = pools;
  if (!pool || !otherPool) throw new Error('two pools are needed');
  return {
    host,
    runtimeDir,
    pool,
    otherPool,
    scratch,
    async end() {
      await releaseAll(host, scratch);
      await host.close();
      rmSync(scratch, { recursive: true, force: true });
    },
  };
}

describe.skipIf(whyNot)(`the engine file keeps the contract${whyNot ? ` (skipped: ${whyNot})` : ''}`, () => {
  describeEngineContract('in a pool image', fileEngine, () => makeEnv(false));
  describeEngineContract('in a directory on XFS', fileEngine, () => makeEnv(true));
});
