import type { BlockNode } from '../../host/host.ts';
import { type LvmArgv, lvchangeTags, mappedUuid } from '../../host/lvm/argv.ts';
import { lvmFailed, runLvm } from '../../host/lvm/run.ts';
import { formatBytes } from '../../lib/quantity.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { EngineDeps, PoolRef, SnapshotRef, VolumeRef } from '../contract.ts';
import type { Entry } from './entries.ts';
import { type FoundGroup, findPool } from './find.ts';
import { changeTags, type LvTags, writeTags } from './tags.ts';

/** What every part of the engine works with: the dependencies of one operation, and how to change a group. */
export interface LvmContext {
  readonly deps: EngineDeps;
  /** @throws AzekuraError Unavailable with blame PoolMissing; FailedPrecondition with blame PoolForeign */
  find(pool: PoolRef): Promise<FoundGroup>;
  /** Runs one LVM command on the group as a named step. */
  run(step: string, pool: PoolRef, found: FoundGroup, argv: LvmArgv, options?: RunOptions): Promise<string>;
  /** The same as part of a larger step. */
  runQuietly(pool: PoolRef, found: FoundGroup, argv: LvmArgv, options?: RunOptions): Promise<string>;
  /** Brings the tags of a logical volume to what they should be: one command, one commit. */
  retag(step: string, pool: PoolRef, found: FoundGroup, entry: Entry, tags: LvTags): Promise<void>;
}

export interface RunOptions {
  readonly deadlineMs?: number;
  /** Devices that do not belong to the group yet. */
  readonly moreDevices?: readonly string[];
}

export function makeContext(deps: EngineDeps): LvmContext {
  const runQuietly: LvmContext['runQuietly'] = async (pool, found, argv, options = {}) => {
    const { moreDevices = [], ...rest } = options;
    const call = {
      ...rest,
      group: found.group.name,
      domain: `pool/${pool.name}`,
      devices: [...[...found.devices.values()].map(({ path }) => path), ...moreDevices],
      backupDir: `${deps.runtimeDir}/backup`,
    };
    try {
      return (await runLvm(deps, argv, call)).stdout;
    } catch (error) {
      throw blamePool(error, pool);
    }
  };
  const run: LvmContext['run'] = (step, ...rest) => deps.steps.run(`lvm.${step}`, () => runQuietly(...rest));
  return {
    deps,
    find: (pool) => findPool(deps, pool),
    run,
    runQuietly,
    async retag(step, pool, found, { lv }, tags) {
      const change = changeTags(lv.tags, writeTags(tags));
      if (change.add.length + change.remove.length === 0) return;
      await run(step, pool, found, lvchangeTags(found.group.name, lv.name, change));
    },
  };
}

/** What LVM said, as the cause that a person reads. */
function blamePool(error: unknown, pool: PoolRef): unknown {
  if (!(error instanceof AzekuraError) || error.blame) return error;
  if (lvmFailed(error, 'no-space', 'metadata-full')) {
    const cause = makeCause('PoolFull', {
      pool: pool.name,
      wanted: 'more',
      free: 'too little',
      problem: error.message,
    });
    return blamed('ResourceExhausted', cause, { cause: error, details: error.details });
  }
  if (lvmFailed(error, 'read-only'))
    return blamed('FailedPrecondition', makeCause('PoolReadOnly', { pool: pool.name, problem: error.message }), {
      cause: error,
      details: error.details,
    });
  return error;
}

export function poolFull(pool: PoolRef, wantedBytes: number, freeBytes: number): AzekuraError {
  const values = { pool: pool.name, wanted: formatBytes(wantedBytes), free: formatBytes(freeBytes) };
  return blamed('ResourceExhausted', makeCause('PoolFull', values));
}

/** A logical volume as the kernel has it now; undefined while it is not active. */
export async function mappedNode(
  deps: EngineDeps,
  found: FoundGroup,
  volumeLvId: string,
  layer?: string,
): Promise<BlockNode | undefined> {
  const wanted = mappedUuid(found.group.id, volumeLvId, layer);
  return (await deps.host.blockNodes({ mappedOnly: true, mapped: (uuid) => uuid === wanted }))[0];
}

/** All logical volumes of the group that are active, by the uuid of the kernel. */
export async function mappedNodes(deps: EngineDeps, found: FoundGroup): Promise<ReadonlyMap<string, BlockNode>> {
  const prefix = mappedUuid(found.group.id, '');
  const nodes = await deps.host.blockNodes({ mappedOnly: true, mapped: (uuid) => uuid.startsWith(prefix) });
  return new Map(nodes.map((node) => [node.mapped?.uuid ?? '', node]));
}

/** Free bytes of the group, as LVM can give them to a volume. */
export function roundUp(found: FoundGroup, sizeBytes: number): number {
  return Math.ceil(sizeBytes / found.group.extentBytes) * found.group.extentBytes;
}

export function inUse(what: string, holder: string): AzekuraError {
  return blamed('FailedPrecondition', makeCause('InUse', { what, holder }));
}

export function volumeMissing(volume: VolumeRef): AzekuraError {
  return new AzekuraError('NotFound', `volume ${volume.volumeId} is not in pool ${volume.pool.name}`);
}

export function snapshotMissing(snapshot: SnapshotRef): AzekuraError {
  return new AzekuraError(
    'NotFound',
    `snapshot ${snapshot.snapshotId} of volume ${snapshot.volumeId} is not in pool ${snapshot.pool.name}`,
  );
}

/** @throws AzekuraError FailedPrecondition with blame InUse */
export async function requireDetached(deps: EngineDeps, found: FoundGroup, volume: VolumeRef, entry: Entry) {
  const node = await mappedNode(deps, found, entry.lv.id);
  if (node) throw inUse(`volume ${volume.volumeId}`, `its device ${node.path}`);
}
