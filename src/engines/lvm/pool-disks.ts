import {
  pvchangeAllocatable,
  pvcreate,
  pvmove,
  pvmoveResume,
  pvremove,
  pvresize,
  vgextend,
  vgreduce,
} from '../../host/lvm/argv.ts';
import { freeExtents, type PhysicalVolume, usedExtents, usedRanges, type VolumeGroup } from '../../host/lvm/group.ts';
import { formatBytes } from '../../lib/quantity.ts';
import { type Cause, makeCause } from '../../model/cause.ts';
import { toAzekuraError } from '../../model/errors.ts';
import { type PoolDisk, pathsOf } from '../../model/pool.ts';
import type { PoolRef } from '../contract.ts';
import type { LvmContext } from './context.ts';
import { checkDisks, type NewDisk, ownPvUuid, preparedIds } from './disks.ts';
import { type FoundGroup, findPool } from './find.ts';
import { extentBytes, groupMetadataBytes } from './sizing.ts';

/** What one command moves: the group is locked for others no longer than a slow disk takes for it. */
const pieceBytes = 2 ** 30;
const pieceDeadlineMs = 10 * 60_000;
/** After that somebody else has a look at the pool, and it goes on. */
const budgetMs = 20_000;

/** What is to be done with the disks of a pool, and what stands in the way. */
export interface DiskPlan {
  readonly add: readonly NewDisk[];
  readonly leave: readonly PhysicalVolume[];
  /** Grown since they were taken. */
  readonly grown: readonly PhysicalVolume[];
  /** Failing, and still given away. */
  readonly cordon: readonly PhysicalVolume[];
  readonly causes: readonly Cause[];
}

/** @param failing ids of disks that report errors */
export async function planDisks(
  context: LvmContext,
  pool: PoolRef,
  found: FoundGroup,
  failing: ReadonlySet<string> = new Set(),
): Promise<DiskPlan> {
  const { group } = found;
  const causes: Cause[] = [];
  const add: NewDisk[] = [];
  for (const path of newPaths(pool, found)) {
    try {
      add.push(...(await acceptable(context, pool, path)));
    } catch (error) {
      causes.push(makeCause('DiskRefused', { pool: pool.name, disk: path, problem: toAzekuraError(error).message }));
    }
  }
  const leaving = leavingOf(pool, group);
  const coming = add.reduce(
    (sum, { info }) => sum + Math.floor((info.sizeBytes - groupMetadataBytes) / group.extentBytes),
    0,
  );
  const leave: PhysicalVolume[] = [];
  for (const pv of leaving) {
    const problem = whyItStays(found, pv, leaving, coming);
    if (problem === undefined) leave.push(pv);
    else causes.push(makeCause('DiskStays', { pool: pool.name, disk: pathOfDisk(found, pv), problem }));
  }
  const here = group.physical.filter((pv) => !found.missing.includes(pv));
  return {
    add,
    leave,
    grown: here.filter((pv) => (found.devices.get(pv.id)?.sizeBytes ?? 0) - pv.deviceBytes >= extentBytes),
    cordon: here.filter((pv) => pv.allocatable && failing.has(pv.id)),
    causes,
  };
}

function leavingOf(pool: PoolRef, group: VolumeGroup): readonly PhysicalVolume[] {
  return group.physical.filter(({ id }) => pool.leavingDisks?.includes(id));
}

/** Disks of the source that the group does not have. A disk that it has is known by its id, whatever its path is now. */
function newPaths(pool: PoolRef, { group, devices }: FoundGroup): readonly string[] {
  const present = new Set(group.physical.map(({ id }) => id));
  const taken = new Set(group.physical.map(({ id }) => devices.get(id)?.path));
  return pathsOf(pool.source).filter((path) => !present.has(ownPvUuid(pool, path)) && !taken.has(path));
}

async function acceptable(context: LvmContext, pool: PoolRef, path: string): Promise<readonly NewDisk[]> {
  const { source } = pool;
  const confirmed = source.kind === 'disks' || source.kind === 'volumeGroup' ? (source.confirmedIds ?? []) : [];
  return checkDisks(context.deps, pool, [path], [...confirmed, ...(await preparedIds(context, pool, [path]))]);
}

/**
 * One clause, when the others have no room for what lies on a disk.
 *
 * @param coming extents of the disks that are added at the same time
 */
function whyItStays(
  found: FoundGroup,
  pv: PhysicalVolume,
  leaving: readonly PhysicalVolume[],
  coming: number,
): string | undefined {
  const { group } = found;
  if (found.missing.includes(pv)) return 'it is not there';
  const used = usedExtents(group, pv.key);
  if (used === 0) return group.physical.length === 1 && coming === 0 ? 'it is the only one' : undefined;
  const others = { ...group, physical: group.physical.filter((one) => !leaving.includes(one)) };
  const free = freeExtents(others) + coming;
  if (used <= free) return undefined;
  const bytes = (extents: number) => formatBytes(extents * group.extentBytes);
  return `it holds ${bytes(used)}, and the other disks have ${bytes(free)} free`;
}

function pathOfDisk({ devices }: FoundGroup, pv: PhysicalVolume): string {
  return devices.get(pv.id)?.path ?? pv.deviceHint;
}

/** The disks of a pool as its status tells of them. */
export function describeDisks(pool: PoolRef, found: FoundGroup): readonly PoolDisk[] {
  const { group, devices, missing } = found;
  return group.physical.map((pv): PoolDisk => {
    const node = devices.get(pv.id);
    const source = pathsOf(pool.source).find((path) => ownPvUuid(pool, path) === pv.id);
    const leaving = pool.leavingDisks?.includes(pv.id) === true;
    return {
      path: pathOfDisk(found, pv),
      id: pv.id,
      ...(source === undefined ? {} : { source }),
      ...(node?.serial === undefined ? {} : { serial: node.serial }),
      sizeBytes: node?.sizeBytes ?? pv.deviceBytes,
      usedBytes: usedExtents(group, pv.key) * group.extentBytes,
      state: missing.includes(pv) ? 'Missing' : leaving ? 'Leaving' : pv.allocatable ? 'InUse' : 'Cordoned',
    };
  });
}

/** What would be done, for people. */
export function describePlan(found: FoundGroup, plan: DiskPlan): readonly string[] {
  const { group } = found;
  return [
    ...plan.add.map(
      ({ info, overwrite }) =>
        `make ${info.path} (${formatBytes(info.sizeBytes)}) a physical volume of ${group.name}${overwrite ? `; everything on it (${info.signature ?? 'data'}) is lost` : ''}`,
    ),
    ...plan.leave.map((pv) => {
      const bytes = formatBytes(usedExtents(group, pv.key) * group.extentBytes);
      return `move ${bytes} from ${pathOfDisk(found, pv)} to the other disks of ${group.name}, and take it out`;
    }),
  ];
}

/** Does a part of what is to be done; see EnginePools.maintain. */
export async function changeDisks(
  context: LvmContext,
  pool: PoolRef,
  found: FoundGroup,
  plan: DiskPlan,
): Promise<readonly string[]> {
  const done: string[] = [];
  const interrupted = movingFrom(found);
  if (interrupted) {
    const path = pathOfDisk(found, interrupted);
    await context.run('disk.resume', pool, found, pvmoveResume(path), { deadlineMs: pieceDeadlineMs });
    return [`went on with a move from ${path} that was interrupted`];
  }
  for (const pv of plan.cordon) {
    await context.run('disk.cordon', pool, found, pvchangeAllocatable(pathOfDisk(found, pv), false));
    done.push(`stopped using the failing disk ${pathOfDisk(found, pv)} for anything new`);
  }
  for (const pv of plan.grown) {
    await context.run('disk.grow', pool, found, pvresize(pathOfDisk(found, pv)));
    done.push(`took over the new size of ${pathOfDisk(found, pv)}`);
  }
  for (const disk of plan.add) done.push(await takeDisk(context, pool, found, disk));
  // One command for each of these changes the group: what follows looks at it anew.
  if (done.length > 0) return done;
  const [pv] = plan.leave;
  return pv ? [await emptyDisk(context, pool, pv)] : [];
}

/** The disk that a move, which LVM has noted in the group, is emptying: the first of the two that hold its data. */
export function movingFrom({ group }: Pick<FoundGroup, 'group'>): PhysicalVolume | undefined {
  const move = group.volumes.find(({ name }) => /^pvmove\d+$/.test(name));
  const from = move?.segments[0]?.areas[0]?.on;
  return group.physical.find(({ key }) => key === from);
}

async function takeDisk(context: LvmContext, pool: PoolRef, found: FoundGroup, disk: NewDisk): Promise<string> {
  const { path } = disk.info;
  await prepareDisk(context, pool, found, disk);
  await context.run('disk.add', pool, found, vgextend(found.group.name, path), { moreDevices: [path] });
  return `made ${path} part of ${found.group.name}`;
}

/** Makes a disk a physical volume; does nothing to one that was made for this pool already. */
export async function prepareDisk(
  context: LvmContext,
  pool: PoolRef,
  found: FoundGroup,
  { info, overwrite, prepared }: NewDisk,
): Promise<void> {
  if (prepared) return;
  if (overwrite)
    await context.deps.steps.run('lvm.pool.wipe', () =>
      context.deps.host.exec(['wipefs', '--all', '--force', info.path], { domain: `pool/${pool.name}` }),
    );
  const argv = pvcreate(info.path, { uuid: ownPvUuid(pool, info.path), metadataBytes: groupMetadataBytes });
  await context.run('pool.disk', pool, found, argv, { moreDevices: [info.path] });
}

/** Moves data away piece by piece while there is time, and takes the disk out when nothing is left on it. */
async function emptyDisk(context: LvmContext, pool: PoolRef, { id }: PhysicalVolume): Promise<string> {
  const { deps } = context;
  const untilMs = deps.clock.nowMs() + budgetMs;
  for (;;) {
    const found = await findPool(deps, pool);
    const pv = found.group.physical.find((one) => one.id === id);
    const path = pv && found.devices.get(id)?.path;
    if (!pv || path === undefined) return 'a disk that was to leave has gone';
    if (pv.allocatable) await context.run('disk.close', pool, found, pvchangeAllocatable(path, false));
    const [range] = usedRanges(found.group, pv.key);
    if (!range) {
      await context.run('disk.remove', pool, found, vgreduce(found.group.name, path));
      await context.run('disk.clear', pool, found, pvremove(path));
      return `took ${path} out of ${found.group.name}`;
    }
    const most = Math.max(1, Math.floor(pieceBytes / found.group.extentBytes));
    const argv = pvmove(path, range.startExtent, Math.min(range.extents, most));
    await context.run('disk.move', pool, found, argv, { deadlineMs: pieceDeadlineMs });
    if (deps.clock.nowMs() >= untilMs) return `moved a part of what lies on ${path}`;
  }
}
