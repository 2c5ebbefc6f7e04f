import type { Registry } from 'prom-client';
import { poolRef } from '../agent/context.ts';
import { type ChangedBlocks, type Csi, type CsiDeps, type CsiPart, csiSocketPath, startCsi } from '../csi/index.ts';
import type { EngineDefinition, EngineDiff, SnapshotRef } from '../engines/contract.ts';
import { diffOfVolumes } from '../engines/encrypted/index.ts';
import type { Host } from '../host/host.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import { makeSteps } from '../lib/steps.ts';
import { AzekuraError } from '../model/errors.ts';
import type { Snapshot } from '../model/kinds.ts';

/** What the driver of this machine is made of. */
export interface CsiWiring extends Omit<CsiDeps, 'changedBlocks' | 'nodeHost'> {
  readonly host: Host;
  readonly engines: (kind: string) => EngineDefinition;
  readonly dataDir: string;
  readonly registry: Registry;
  /** Below the data folder unless told. */
  readonly socketPath?: string;
  readonly parts?: readonly CsiPart[];
}

/** Serves CSI for this machine. */
export async function serveCsi(wiring: CsiWiring): Promise<Csi> {
  const { host, registry, dataDir } = wiring;
  return startCsi(
    {
      ...wiring,
      changedBlocks: changedBlocks(wiring),
      nodeHost: {
        filesystemUsage: async (volumeId, path) => {
          const { sizeBytes, freeBytes, availableBytes, files, filesFree } = await host
            .kernel(`volume/${volumeId}`)
            .statfs(path);
          return { sizeBytes, availableBytes, usedBytes: sizeBytes - freeBytes, files, filesFree };
        },
        removeMountPoint: (path) => host.kernel('csi').removeMountPoint(path),
      },
    },
    {
      socketPath: wiring.socketPath ?? csiSocketPath(dataDir),
      registry,
      ...(wiring.parts ? { parts: wiring.parts } : {}),
    },
  );
}

/** Asks the engine that holds the snapshots; on one machine that is this process'. */
function changedBlocks(wiring: CsiWiring): ChangedBlocks {
  const locks = new KeyedLock();
  const diffOf = async (snapshot: Snapshot): Promise<{ diff: EngineDiff; ref: SnapshotRef }> => {
    const { volumeId, snapshotId, poolName } = snapshot.spec;
    const pool = poolName === undefined ? undefined : wiring.view.pools.get(poolName);
    if (!pool || volumeId === undefined || snapshotId === undefined)
      throw new AzekuraError('FailedPrecondition', `snapshot ${snapshot.metadata.name} has no place on a pool`);
    const { host, clock, log, nodeName, dataDir } = wiring;
    const { engine: kind } = pool.spec;
    const engine = wiring.engines(kind).create({
      host,
      clock,
      log,
      steps: makeSteps(),
      locks,
      nodeName,
      runtimeDir: `${dataDir}/run/engine-${kind}`,
    });
    if (!engine.diff) throw new AzekuraError('Unimplemented', `engine ${kind} cannot tell blocks`);
    return { diff: diffOfVolumes(engine, engine.diff), ref: { pool: poolRef(pool), volumeId, snapshotId } };
  };
  return {
    allocated: async (snapshot, page) => {
      const { diff, ref } = await diffOf(snapshot);
      return diff.allocated(ref, page);
    },
    changed: async (base, target, page) => {
      const { diff, ref } = await diffOf(target);
      return diff.changed((await diffOf(base)).ref, ref, page);
    },
  };
}
