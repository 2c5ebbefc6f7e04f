import type { BlockNode } from '../../host/host.ts';
import { dmStatus, lvextend, lvextendPoolMetadata, mappedUuid } from '../../host/lvm/argv.ts';
import { freeExtents } from '../../host/lvm/group.ts';
import { lvmEnv } from '../../host/lvm/run.ts';
import { parseRaidStatus, type ThinPoolStatus } from '../../host/lvm/status.ts';
import { type Cause, makeCause } from '../../model/cause.ts';
import { toAzekuraError } from '../../model/errors.ts';
import type { PoolObservation, PoolRef } from '../contract.ts';
import { type LvmContext, mappedNodes } from './context.ts';
import type { Entry } from './entries.ts';
import { type FoundGroup, findPool, foreignCause, lookFor, missingCause } from './find.ts';
import { changeDisks, describeDisks, planDisks } from './pool-disks.ts';
import { diskMissing } from './pool-open.ts';
import { stoppedBecause, thinPoolStatus } from './repair.ts';
import { capacityOf, thinGrowth } from './sizing.ts';

/** From this fill on the thin pool's metadata is extended, and when it cannot be, that is a cause. */
const metadataWarnPercent = 70;

/** Looks after a pool; see EnginePools.observe. */
export async function observePool(context: LvmContext, pool: PoolRef): Promise<PoolObservation> {
  try {
    const found = await lookFor(context.deps, pool);
    if (!found) return absent(missingCause(pool));
    const foreign = foreignCause(pool, found);
    return foreign ? absent(foreign) : await look(context, pool, found);
  } catch (error) {
    const known = toAzekuraError(error);
    const cause = known.blame ?? { ...missingCause(pool), evidence: { problem: known.message } };
    return absent(cause);
  }
}

async function look(context: LvmContext, pool: PoolRef, found: FoundGroup): Promise<PoolObservation> {
  const { group, entries, missing } = found;
  const causes: Cause[] = [];
  for (const { deviceHint } of missing) {
    const problem = found.unreadable.get(deviceHint);
    if (problem)
      causes.push(
        problem.blame ?? makeCause('DiskFailing', { pool: pool.name, disk: deviceHint, problem: problem.message }),
      );
  }
  if (missing.length > 0) causes.push(diskMissing(pool, group, missing));
  if (!group.status.includes('WRITE')) causes.push(makeCause('PoolReadOnly', { pool: pool.name }));
  const failing = await failingDisks(context, found);
  causes.push(...(await raidCauses(context, pool, found)));
  for (const [id, problem] of failing) causes.push(diskFailing(pool, found, id, problem));
  causes.push(...(await planDisks(context, pool, found)).causes);
  const { capacityBytes: onDisks, freeBytes: freeInGroup } = capacityOf(group);
  const path = `/dev/${group.name}`;
  const deviceClass = classOf([...found.devices.values()]);
  const disks = describeDisks(pool, found);
  const told = { path, filesystem: 'lvm', disks, ...(deviceClass ? { deviceClass } : {}) };
  const thin = entries.thinPool;
  const status = thin && (await thinPoolStatus(context, pool, found, thin));
  // Not active, after a reboot: open() brings it up.
  if (!thin || !status)
    return {
      ...absent(causes[0] ?? missingCause(pool)),
      disks,
      causes: causes.length > 0 ? causes : [missingCause(pool)],
    };
  const problem = stoppedBecause(status);
  if (problem !== undefined) {
    const volumes = (await attachedLabels(context, found)).join(', ') || 'the volumes of the pool';
    return { ...absent(makeCause('PoolNeedsRepair', { pool: pool.name, problem, volumes })), ...told };
  }
  // Bytes of data: what lies twice on the disks is there once.
  const layers = overhead(found, thin);
  const capacityBytes = Math.floor(onDisks / layers);
  const freeBytes = Math.min(capacityBytes, Math.floor(freeInGroup / layers) + freeBytesOf(thin, status));
  causes.push(...metadataCauses(pool, found, thin, status));
  return {
    ...told,
    present: true,
    capacityBytes,
    freeBytes,
    // The thin pool gives nothing of its own back to the group.
    thickFreeBytes: Math.min(freeInGroup, freeBytes),
    causes,
  };
}

function absent(cause: Cause): PoolObservation {
  return { present: false, capacityBytes: 0, freeBytes: 0, causes: [cause] };
}

function freeBytesOf({ lv }: Entry, status: ThinPoolStatus): number {
  if (status.state === 'failed') return 0;
  return (status.chunks - status.usedChunks) * (lv.segments[0]?.chunkBytes ?? 0);
}

/** Volumes that are in use just now, as their users call them. */
async function attachedLabels(context: LvmContext, found: FoundGroup): Promise<readonly string[]> {
  const active = await mappedNodes(context.deps, found);
  return found.entries.all.flatMap(({ lv, tags }) =>
    tags.kind === 'volume' && active.has(mappedUuid(found.group.id, lv.id))
      ? [tags.label ?? tags.volumeId ?? lv.name]
      : [],
  );
}

function metadataCauses(pool: PoolRef, found: FoundGroup, thin: Entry, status: ThinPoolStatus): Cause[] {
  if (status.state === 'failed') return [];
  const percent = Math.round((status.usedMetadataBlocks / status.metadataBlocks) * 100);
  if (percent < metadataWarnPercent || metadataGrowthBytes(found, thin, status) > 0) return [];
  return [makeCause('PoolMetadataNearFull', { pool: pool.name, percent })];
}

/** Health of everything that lies redundantly. */
async function raidCauses(context: LvmContext, pool: PoolRef, found: FoundGroup): Promise<Cause[]> {
  const redundant = found.group.volumes.filter((lv) => lv.segments.some(({ type }) => type.startsWith('raid')));
  if (redundant.length === 0) return [];
  const active = await mappedNodes(context.deps, found);
  const degraded: string[] = [];
  for (const lv of redundant) {
    const node = [...active.entries()].find(([uuid]) => uuid.startsWith(mappedUuid(found.group.id, lv.id)))?.[1];
    const name = node?.mapped?.name;
    if (name === undefined) continue;
    const { stdout } = await context.deps.host.exec(dmStatus(name), { domain: `pool/${pool.name}`, env: lvmEnv });
    if (/[D-]/.test(parseRaidStatus(stdout)?.legs ?? '')) degraded.push(lv.name);
  }
  return degraded.length > 0 ? [makeCause('PoolDegraded', { pool: pool.name, which: degraded.join(', ') })] : [];
}

/** Disks that report errors, by id, with one clause each: errors since boot, of a kind that counts them, or SMART. */
async function failingDisks(context: LvmContext, { devices }: FoundGroup): Promise<ReadonlyMap<string, string>> {
  const failing = new Map<string, string>();
  for (const [id, { path, ioErrors }] of devices) {
    const problem =
      ioErrors !== undefined && ioErrors > 0
        ? `${ioErrors} I/O errors since boot`
        : await context.deps.host.diskProblem(path);
    if (problem !== undefined) failing.set(id, problem);
  }
  return failing;
}

function diskFailing(pool: PoolRef, { devices }: FoundGroup, id: string, problem: string): Cause {
  return makeCause('DiskFailing', { pool: pool.name, disk: devices.get(id)?.path ?? id, problem });
}

/** The slowest disk decides. */
export function classOf(nodes: readonly Pick<BlockNode, 'rotational' | 'transport'>[]): string | undefined {
  if (nodes.length === 0) return undefined;
  if (nodes.some(({ rotational }) => rotational)) return 'hdd';
  return nodes.every(({ transport }) => transport === 'nvme') ? 'nvme' : 'ssd';
}

function metadataGrowthBytes(
  { group }: FoundGroup,
  { lv }: Entry,
  status: Extract<ThinPoolStatus, { state: 'ok' }>,
): number {
  const percent = (status.usedMetadataBlocks / status.metadataBlocks) * 100;
  const sizeBytes = group.volumes.find(({ name }) => name === lv.segments[0]?.metadata)?.sizeBytes ?? 0;
  const mostBytes = 15 * 2 ** 30;
  if (percent < metadataWarnPercent || sizeBytes >= mostBytes) return 0;
  const wanted = Math.min(sizeBytes, mostBytes - sizeBytes);
  // The spare grows with it.
  return freeExtents(group) * group.extentBytes >= 2 * wanted ? wanted : 0;
}

/** Extends the thin pool ahead of its writers; see EnginePools.maintain. */
export async function maintainPool(context: LvmContext, pool: PoolRef): Promise<readonly string[]> {
  const found = await findPool(context.deps, pool);
  const thin = found.entries.thinPool;
  const status = thin && (await thinPoolStatus(context, pool, found, thin));
  if (!thin || !status || found.missing.length > 0 || stoppedBecause(status) !== undefined || status.state === 'failed')
    return [];
  const failing = await failingDisks(context, found);
  const plan = await planDisks(context, pool, found, new Set(failing.keys()));
  const changed = await changeDisks(context, pool, found, plan);
  if (changed.length > 0) return changed;
  const { group } = found;
  const done: string[] = [];
  const moreMetadata = metadataGrowthBytes(found, thin, status);
  if (moreMetadata > 0) {
    await context.run('maintain.metadata', pool, found, lvextendPoolMetadata(group.name, thin.lv.name, moreMetadata));
    done.push(`extended the metadata of the thin pool in ${group.name}`);
  }
  const now = moreMetadata > 0 ? await findPool(context.deps, pool) : found;
  const { capacityBytes } = capacityOf(now.group);
  const layers = overhead(now, thin);
  const grow = thinGrowth({
    capacityExtents: Math.floor(capacityBytes / group.extentBytes / layers),
    freeThinExtents: Math.floor(freeBytesOf(thin, status) / group.extentBytes),
    freeGroupExtents: Math.floor(freeExtents(now.group) / layers),
    extentBytes: group.extentBytes,
  });
  if (grow > 0) {
    const extents = thin.lv.sizeBytes / group.extentBytes + grow;
    await context.run('maintain.data', pool, now, lvextend(group.name, thin.lv.name, extents));
    done.push(`extended the thin pool in ${group.name} to ${extents} extents`);
  }
  return done;
}

/** How many bytes of disks one byte of the thin pool takes. */
function overhead({ group }: FoundGroup, { lv }: Entry): number {
  const data = group.volumes.find(({ name }) => name === lv.segments[0]?.data);
  const segment = data?.segments[0];
  if (!segment?.type.startsWith('raid') && segment?.type !== 'mirror') return 1;
  const legs = segment.areas.length > 1 && segment.type.startsWith('raid') ? segment.areas.length / 2 : 2;
  if (segment.type === 'raid1' || segment.type === 'mirror') return legs;
  if (segment.type.startsWith('raid10')) return 2;
  return legs / (legs - (segment.type.startsWith('raid6') ? 2 : 1));
}
