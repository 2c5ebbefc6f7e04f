import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Engine, EngineDefinition, PoolRef } from '../../../../src/engines/contract.ts';
import { releaseAll } from '../../../../src/engines/contract-suite/release.ts';
import type { ContractEnv } from '../../../../src/engines/contract-suite.ts';
import { encrypted } from '../../../../src/engines/encrypted/index.ts';
import { mappingName } from '../../../../src/host/luks/mapping.ts';
import { systemClock } from '../../../../src/lib/clock.ts';
import { KeyedLock } from '../../../../src/lib/keyed-lock.ts';
import { silentLogger } from '../../../../src/lib/log.ts';
import { makeSteps } from '../../../../src/lib/steps.ts';
import { machineHost } from './host.ts';

/* What the engine contract needs, with LUKS2 between. Runs inside a machine. */

const key = { bytes: randomBytes(32) };
export const layer = (definition: EngineDefinition): EngineDefinition => {
  const { capabilities, ...rest } = encrypted(definition, {
    keysOf: async () => [key],
    discards: true,
    // Deriving a key is not what is tried here, and takes a machine seconds.
    derivation: ['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000'],
  });
  // A machine's cipher does 50 MB/s, and what differs between file systems is not the layer's: the small one does.
  return { ...rest, capabilities: { ...capabilities, filesystems: ['ext4'] } };
};

/** @param pools makes the places of one pool or two */
export async function encryptedEnv(
  definition: EngineDefinition,
  pools: (scratch: string) => Promise<readonly PoolRef[]>,
): Promise<ContractEnv> {
  const scratch = mkdtempSync('/tmp/azekura-contract-');
  const host = machineHost();
  const runtimeDir = `${scratch}/run`;
  const [pool, otherPool] = await pools(scratch);
  if (!pool) throw new Error('no pool');
  const engine: Engine = layer(definition).create({
    host,
    clock: systemClock,
    log: silentLogger,
    steps: makeSteps(),
    locks: new KeyedLock(),
    nodeName: 'contract',
    runtimeDir,
  });
  const env: ContractEnv = {
    host,
    runtimeDir,
    pool,
    ...(otherPool ? { otherPool } : {}),
    scratch,
    encryption: { kind: 'luks2' },
    crashStride: Number(process.env.AZEKURA_CRASH_STRIDE ?? 1),
    /** What stands on the pool below the layer, and the layer's own. */
    async devices(of) {
      const attached: string[] = [];
      for (const { volumeId } of await engine.pools.list(of)) {
        const seen = await engine.volumes.observe({ pool: of, volumeId });
        if (seen.attached) attached.push(seen.attached.device);
      }
      const ours = mappingName('');
      const nodes = await host.blockNodes({ mappedOnly: true });
      return [...attached, ...nodes.filter((node) => node.mapped?.name.startsWith(ours)).map((node) => node.path)];
    },
    async end() {
      for (const each of [pool, otherPool]) {
        if (!each) continue;
        for (const { volumeId } of await engine.pools.list(each)) {
          await engine.volumes.detach({ pool: each, volumeId });
          await engine.volumes.delete({ pool: each, volumeId });
        }
        await engine.pools.destroy(each);
      }
      await releaseAll(host, scratch);
      await host.close();
      rmSync(scratch, { recursive: true, force: true });
    },
  };
  return env;
}

export const common = { reservePercent: 5, acceptNoJournal: true, trial: false } as const;
