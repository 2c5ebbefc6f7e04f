import { afterAll, beforeAll, describe } from 'vitest';
import type { EngineDefinition } from './contract.ts';
import { describeCrashes } from './contract-suite/crashes.ts';
import { describeDiff } from './contract-suite/diff.ts';
import { type ContractEnv, ContractKit } from './contract-suite/kit.ts';
import { describePools } from './contract-suite/pools.ts';
import { describeSnapshots } from './contract-suite/snapshots.ts';
import { describeSources } from './contract-suite/sources.ts';
import { describeVolumes } from './contract-suite/volumes.ts';

export type { ContractEnv } from './contract-suite/kit.ts';

/**
 * Every rule of contract.ts, checked for real. What an engine says it cannot do is not asked of it; what it says it can
 * do is.
 *
 * @param makeEnv a machine with a place for a pool, and one for a second pool when volumes can move; called once
 */
export function describeEngineContract(
  title: string,
  definition: EngineDefinition,
  makeEnv: () => Promise<ContractEnv>,
): void {
  describe(title, () => {
    const kit = new ContractKit(definition);
    beforeAll(async () => kit.begin(await makeEnv()));
    afterAll(() => kit.end());

    describePools(kit);
    describeVolumes(kit);
    if (definition.capabilities.snapshots) describeSnapshots(kit);
    if (definition.capabilities.changedBlocks) describeDiff(kit);
    describeSources(kit);
    describeCrashes(kit);
  });
}
