import { dmStatus, lvdeactivate, lvextendPoolMetadata, lvrepairPool } from '../../host/lvm/argv.ts';
import { freeExtents } from '../../host/lvm/group.ts';
import { lvmEnv, lvmFailed } from '../../host/lvm/run.ts';
import { parseThinPoolStatus, type ThinPoolStatus } from '../../host/lvm/status.ts';
import { makeCause } from '../../model/cause.ts';
import { blamed } from '../../model/errors.ts';
import type { PoolRef } from '../contract.ts';
import { type LvmContext, mappedNode, mappedNodes } from './context.ts';
import type { Entry } from './entries.ts';
import { type FoundGroup, findPool } from './find.ts';

const repairDeadlineMs = 30 * 60_000;

/** The state of the thin pool in the kernel; undefined while it is not active. */
export async function thinPoolStatus(
  context: LvmContext,
  pool: PoolRef,
  found: FoundGroup,
  thin: Entry,
): Promise<(ThinPoolStatus & { readonly mapped: string }) | undefined> {
  const node = await mappedNode(context.deps, found, thin.lv.id, 'tpool');
  const mapped = node?.mapped?.name;
  if (mapped === undefined) return undefined;
  const { stdout } = await context.deps.host.exec(dmStatus(mapped), { domain: `pool/${pool.name}`, env: lvmEnv });
  return { ...parseThinPoolStatus(stdout), mapped };
}

/** Why the kernel does not write to a thin pool any more; undefined while it does. */
export function stoppedBecause(status: ThinPoolStatus): string | undefined {
  if (status.state === 'failed') return 'its metadata cannot be read';
  if (status.needsCheck) return 'its metadata needs a check';
  return status.mode === 'ro' ? 'its metadata is read-only, mostly because it was full' : undefined;
}

/**
 * The way back of a thin pool whose metadata ran full or was damaged: everything that stands on it is taken down, the
 * metadata is given more room and, when the kernel asks for a check, put together anew (thin_repair by lvconvert). Does
 * nothing to one that is well.
 *
 * @param known that it is damaged, for a pool that did not even come up
 * @throws AzekuraError FailedPrecondition with blame PoolNeedsRepair while volumes are in use
 */
export async function repairPool(
  context: LvmContext,
  pool: PoolRef,
  found: FoundGroup,
  thin: Entry,
  known = false,
): Promise<void> {
  const status = await thinPoolStatus(context, pool, found, thin);
  const problem = status ? stoppedBecause(status) : known ? 'it could not be activated' : undefined;
  if (problem === undefined) return;
  const { group } = found;
  const active = await mappedNodes(context.deps, found);
  const busy: string[] = [];
  for (const { lv, tags } of found.entries.all) {
    const uuid = `LVM-${group.id.replaceAll('-', '')}${lv.id.replaceAll('-', '')}`;
    if (tags.kind === 'pool' || !active.has(uuid)) continue;
    try {
      await context.run('repair.deactivate', pool, found, lvdeactivate(group.name, [lv.name]));
    } catch (error) {
      if (!lvmFailed(error, 'in-use')) throw error;
      busy.push(tags.label ?? tags.volumeId ?? lv.name);
    }
  }
  if (busy.length > 0) {
    const volumes = busy.join(', ');
    throw blamed('FailedPrecondition', makeCause('PoolNeedsRepair', { pool: pool.name, problem, volumes }));
  }
  if (status) await context.run('repair.stop', pool, found, lvdeactivate(group.name, [thin.lv.name]));
  // Room first: the tools put the metadata together anew in a copy of the same size, and a full one does not fit.
  await extendMetadata(context, pool, thin);
  if (status?.state === 'ok' && !status.needsCheck) return;
  await context.run(
    'repair.metadata',
    pool,
    await findPool(context.deps, pool),
    lvrepairPool(group.name, thin.lv.name),
    {
      deadlineMs: repairDeadlineMs,
    },
  );
}

/** Doubles the metadata, or gives it what the group has; its spare grows with it. */
async function extendMetadata(context: LvmContext, pool: PoolRef, thin: Entry): Promise<void> {
  const found = await findPool(context.deps, pool);
  const { group } = found;
  const metadata = group.volumes.find(({ name }) => name === thin.lv.segments[0]?.metadata);
  const room = Math.floor(freeExtents(group) / 2) * group.extentBytes;
  const addBytes = Math.min(metadata?.sizeBytes ?? 0, room);
  if (addBytes >= group.extentBytes)
    await context.run('repair.extend', pool, found, lvextendPoolMetadata(group.name, thin.lv.name, addBytes));
}
