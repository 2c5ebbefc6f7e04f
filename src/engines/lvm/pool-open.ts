import { randomUUID } from 'node:crypto';
import {
  lvactivate,
  lvconvertThinPool,
  lvcreatePart,
  lvcreateThinPool,
  lvdeactivate,
  lvremove,
  pvremove,
  vgcreate,
  vgremove,
  vgTags,
} from '../../host/lvm/argv.ts';
import type { VolumeGroup } from '../../host/lvm/group.ts';
import { freeExtents } from '../../host/lvm/group.ts';
import { lvmFailed } from '../../host/lvm/run.ts';
import { formatBytes } from '../../lib/quantity.ts';
import { makeCause } from '../../model/cause.ts';
import { overheadOf, spread } from '../../model/disk-layout.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { PoolInspection, PoolRef } from '../contract.ts';
import { inUse, type LvmContext, mappedNode, mappedNodes } from './context.ts';
import { checkDisks, type NewDisk, preparedIds, unusable } from './disks.ts';
import { Entries, thinPoolName } from './entries.ts';
import { type FoundGroup, findPool, foreignCause, groupNameOf, lookFor, missingCause } from './find.ts';
import { describePlan, planDisks, prepareDisk } from './pool-disks.ts';
import { repairPool } from './repair.ts';
import { capacityOf, extentBytes, firstThinExtents, groupMetadataBytes, thinPoolSizes } from './sizing.ts';
import { resumeAll } from './suspend.ts';
import { type LvTags, poolIdOf, poolTag, writeTags } from './tags.ts';

/** Looks at a place without changing it; see EnginePools.inspect. */
export async function inspectPool(context: LvmContext, pool: PoolRef): Promise<PoolInspection> {
  const { deps } = context;
  const found = await lookFor(deps, pool);
  if (found) return inspectGroup(context, pool, found);
  if (pool.poolId !== undefined || pool.source.kind !== 'disks')
    throw blamed('NotFound', missingCause(pool), {
      next: 'look for the volume group with vgs, and for its disks with pvs',
    });
  const disks = await newDisks(context, pool);
  const { source } = pool;
  spread({ type: source.layout ?? 'linear' }, disks.length);
  const bytes = disks.reduce((sum, { info }) => sum + info.sizeBytes - groupMetadataBytes, 0);
  const name = groupNameOf(deps, pool);
  const plan = [
    ...disks.map(
      ({ info, overwrite }) =>
        `make ${info.path} (${formatBytes(info.sizeBytes)}) a physical volume${overwrite ? `; everything on it (${info.signature ?? 'data'}) is lost` : ''}`,
    ),
    `make volume group ${name} of ${disks.length === 1 ? 'it' : 'them'}, and in it a thin pool${source.layout ? ` on ${source.layout}` : ''}`,
  ];
  return { plan, capacityBytes: bytes, existing: false, warnings: [] };
}

async function inspectGroup(context: LvmContext, pool: PoolRef, found: FoundGroup): Promise<PoolInspection> {
  const { group, entries } = found;
  checkGroup(pool, found);
  const foreign = foreignCause(pool, found);
  if (foreign) throw blamed('FailedPrecondition', foreign);
  const ours = poolIdOf(group.tags) !== undefined;
  const others = group.volumes.filter((lv) => lv.visible && !entries.all.some((entry) => entry.lv === lv));
  const { capacityBytes, freeBytes } = capacityOf(group);
  const plan = ours
    ? [`open the pool in volume group ${group.name}`]
    : [
        `mark volume group ${group.name} as a pool`,
        `make a thin pool in its free ${formatBytes(freeBytes)}`,
        ...(others.length > 0
          ? [`leave its other volumes as they are: ${others.map(({ name }) => name).join(', ')}`]
          : []),
      ];
  const disks = await planDisks(context, pool, found);
  const changes = describePlan(found, disks);
  return {
    plan: ours && changes.length > 0 ? changes : [...plan, ...changes],
    capacityBytes,
    existing: ours,
    warnings: disks.causes,
  };
}

/** @throws AzekuraError FailedPrecondition for a group that is not this machine's to use */
function checkGroup(pool: PoolRef, { group, missing }: FoundGroup): void {
  if (group.lockType !== 'none' || group.status.includes('CLUSTERED'))
    throw unusable(
      `volume group ${group.name} belongs to a cluster (lock type ${group.lockType})`,
      'use a group of this machine',
    );
  if (group.status.includes('EXPORTED'))
    throw unusable(
      `volume group ${group.name} is exported, for another machine`,
      `import it with vgimport ${group.name}`,
    );
  if (group.systemId !== '')
    throw unusable(
      `volume group ${group.name} belongs to the machine ${group.systemId}`,
      'take it over with vgchange --systemid',
    );
  if (!group.status.includes('WRITE'))
    throw blamed('FailedPrecondition', makeCause('PoolReadOnly', { pool: pool.name }));
  if (missing.length > 0 && pool.poolId === undefined)
    throw blamed('FailedPrecondition', diskMissing(pool, group, missing));
}

export function diskMissing(pool: PoolRef, group: VolumeGroup, missing: FoundGroup['missing']) {
  return makeCause('PoolDiskMissing', {
    pool: pool.name,
    missing: missing.length,
    disks: group.physical.length,
    which: missing.map(({ deviceHint, id }) => `${deviceHint} (${id})`).join(', '),
  });
}

/** The disks of a pool that does not exist yet. Those that an interrupted attempt has prepared count as blank. */
async function newDisks(context: LvmContext, pool: PoolRef): Promise<readonly NewDisk[]> {
  const { source } = pool;
  if (source.kind !== 'disks') throw new AzekuraError('Internal', 'only a pool of disks has new disks');
  const prepared = await preparedIds(context, pool, source.disks);
  return checkDisks(context.deps, pool, source.disks, [...(source.confirmedIds ?? []), ...prepared]);
}

/** Makes or opens a pool; see EnginePools.open. */
export async function openPool(
  context: LvmContext,
  pool: PoolRef,
): Promise<{ readonly poolId: string; readonly path: string }> {
  const name = groupNameOf(context.deps, pool);
  return context.deps.locks.run(`lvm/pool/${name}`, async () => {
    if (!(await lookFor(context.deps, pool))) {
      await inspectPool(context, pool);
      await makeGroup(context, pool, name);
    }
    const poolId = await markGroup(context, pool);
    const known = { ...pool, poolId };
    await makeThinPool(context, known);
    await resumeAll(context, await findPool(context.deps, known));
    await startThinPool(context, known);
    return { poolId, path: `/dev/${name}` };
  });
}

async function makeGroup(context: LvmContext, pool: PoolRef, name: string): Promise<void> {
  const disks = await newDisks(context, pool);
  const paths = disks.map(({ info }) => info.path);
  const nothing: VolumeGroup = {
    name,
    id: '',
    seqno: 0,
    writtenMs: 0,
    extentBytes,
    status: [],
    tags: [],
    systemId: '',
    lockType: 'none',
    physical: [],
    volumes: [],
  };
  const blank: FoundGroup = {
    group: nothing,
    entries: new Entries(nothing),
    devices: new Map(),
    missing: [],
    unreadable: new Map(),
  };
  for (const disk of disks) await prepareDisk(context, pool, blank, disk);
  const moreDevices = paths;
  const tags = [poolTag(randomUUID())];
  const argv = vgcreate(name, paths, { tags, extentBytes, metadataBytes: groupMetadataBytes });
  await context.run('pool.group', pool, blank, argv, { moreDevices });
}

/** @returns the pool's id, which the group has from now on */
async function markGroup(context: LvmContext, pool: PoolRef): Promise<string> {
  const found = await findPool(context.deps, pool);
  checkGroup(pool, found);
  const id = poolIdOf(found.group.tags);
  if (id !== undefined) return id;
  const poolId = randomUUID();
  const argv = vgTags(found.group.name, { add: [poolTag(poolId)], remove: [] });
  await context.run('pool.mark', pool, found, argv);
  return poolId;
}

async function makeThinPool(context: LvmContext, pool: PoolRef): Promise<void> {
  const found = await findPool(context.deps, pool);
  const { group, entries, missing } = found;
  if (entries.thinPool || missing.length > 0) return;
  if (entries.unmarkedThinPool) return markThinPool(context, pool, found);
  for (const { lv } of entries.all.filter(({ tags }) => tags.kind === 'part'))
    await context.run('pool.clean', pool, found, lvremove(group.name, [lv.name]));
  const { source } = pool;
  const wanted = source.kind === 'disks' || source.kind === 'volumeGroup' ? (source.layout ?? 'linear') : 'linear';
  const layout = spread({ type: wanted }, group.physical.length);
  const free = freeExtents(group);
  const { chunkBytes, metadataBytes } = thinPoolSizes(free * group.extentBytes);
  const metadataExtents = Math.ceil(metadataBytes / group.extentBytes);
  const overhead = overheadOf(layout);
  // Metadata lies on two disks when data does, and LVM keeps a spare of it.
  const usable = Math.floor((free - metadataExtents * (overhead > 1 ? 3 : 2)) / overhead);
  if (usable < 8)
    throw new AzekuraError('ResourceExhausted', `volume group ${group.name} has no room for a thin pool`, {
      next: 'add a disk to it, or remove volumes that are not needed',
    });
  const extents = firstThinExtents(usable);
  if (layout.type === 'linear') {
    const options = { extents, metadataBytes, chunkBytes, tags: writeTags(poolTags) };
    await context.run('pool.thin', pool, found, lvcreateThinPool(group.name, thinPoolName, options));
    return;
  }
  const part = writeTags({ kind: 'part', state: 'new', generation: 0, blank: false });
  const safe = overhead > 1 ? spread({ type: 'raid1' }, group.physical.length) : ({ type: 'linear' } as const);
  await context.run('pool.data', pool, found, lvcreatePart(group.name, thinPoolName, { extents, layout, tags: part }));
  const metadata = `${thinPoolName}_meta0`;
  const metadataOptions = { extents: metadataExtents, layout: safe, tags: part };
  await context.run('pool.metadata', pool, found, lvcreatePart(group.name, metadata, metadataOptions));
  await context.run('pool.thin', pool, found, lvconvertThinPool(group.name, thinPoolName, metadata, chunkBytes));
  await markThinPool(context, pool, await findPool(context.deps, pool));
}

const poolTags: LvTags = { kind: 'pool', state: 'ready', generation: 0, blank: false };

/** A thin pool put together of parts has no tags: with this it counts. */
async function markThinPool(context: LvmContext, pool: PoolRef, found: FoundGroup): Promise<void> {
  const lv = found.entries.unmarkedThinPool;
  if (lv) await context.retag('pool.thin-mark', pool, found, { lv, tags: poolTags }, poolTags);
}

/** Activates the thin pool, so that its state can be observed; one that the kernel has given up is repaired first. */
async function startThinPool(context: LvmContext, pool: PoolRef): Promise<void> {
  const found = await findPool(context.deps, pool);
  const { group, entries, missing } = found;
  const thin = entries.thinPool;
  if (!thin || missing.length > 0) return;
  await repairPool(context, pool, found, thin);
  if (await mappedNode(context.deps, found, thin.lv.id, 'tpool')) return;
  try {
    await context.run('pool.activate', pool, found, lvactivate(group.name, [thin.lv.name]));
  } catch (error) {
    if (!lvmFailed(error, 'pool-damaged')) throw error;
    await repairPool(context, pool, found, thin, true);
    await context.run('pool.activate', pool, found, lvactivate(group.name, [thin.lv.name]));
  }
}

/** Deactivates everything of the pool; see EnginePools.close. */
export async function closePool(context: LvmContext, pool: PoolRef): Promise<void> {
  const found = await findPool(context.deps, pool);
  const active = await mappedNodes(context.deps, found);
  for (const { lv, tags } of found.entries.all) {
    const node = active.get(uuidOf(found, lv.id));
    if (!node || tags.kind === 'pool') continue;
    if (tags.kind === 'volume' && tags.state === 'ready')
      throw inUse(`pool ${pool.name}`, `volume ${tags.label ?? tags.volumeId ?? lv.name}, attached as ${node.path}`);
    await context.run('pool.deactivate', pool, found, lvdeactivate(found.group.name, [lv.name]));
  }
  const thin = found.entries.thinPool;
  if (thin && (await mappedNode(context.deps, found, thin.lv.id, 'tpool')))
    await context.run('pool.deactivate', pool, found, lvdeactivate(found.group.name, [thin.lv.name]));
}

function uuidOf({ group }: FoundGroup, volumeId: string): string {
  return `LVM-${group.id.replaceAll('-', '')}${volumeId.replaceAll('-', '')}`;
}

/** Removes an empty pool; a group that was there before stays, without our thin pool and mark. See EnginePools.destroy. */
export async function destroyPool(context: LvmContext, pool: PoolRef): Promise<void> {
  const found = await lookFor(context.deps, pool);
  if (!found || foreignCause(pool, found)) return;
  const { group, entries } = found;
  const held = entries.volumeIds();
  if (held.length > 0)
    throw inUse(
      `pool ${pool.name}`,
      `${held.length} volumes, among them ${entries.volume(held[0] ?? '')?.tags.label ?? held[0]}`,
    );
  const own = entries.all.map(({ lv }) => lv.name);
  if (own.length > 0) await context.run('pool.remove-volumes', pool, found, lvremove(group.name, own));
  const others = group.volumes.some((lv) => lv.visible && !own.includes(lv.name));
  const id = poolIdOf(group.tags);
  if (pool.source.kind === 'volumeGroup' || others) {
    if (id !== undefined)
      await context.run('pool.unmark', pool, found, vgTags(group.name, { add: [], remove: [poolTag(id)] }));
    return;
  }
  const now = await findPool(context.deps, pool);
  await context.run('pool.remove-group', pool, now, vgremove(group.name));
  for (const { path } of now.devices.values()) await context.run('pool.remove-disk', pool, now, pvremove(path));
}
