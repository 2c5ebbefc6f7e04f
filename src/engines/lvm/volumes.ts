import { lvcreatePart, lvdeactivate, lvextend, lvremove } from '../../host/lvm/argv.ts';
import { freeExtents } from '../../host/lvm/group.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError } from '../../model/errors.ts';
import { sectorBytes } from '../../model/volume.ts';
import type { EngineVolumes, VolumeIdentity, VolumeObservation, VolumeRef } from '../contract.ts';
import { checkId } from '../identity.ts';
import { attachVolume, describeAttached, detachVolume } from './attach.ts';
import { zeroDevice } from './bytes.ts';
import { inUse, type LvmContext, mappedNode, poolFull, requireDetached, roundUp, volumeMissing } from './context.ts';
import { createVolume } from './create.ts';
import type { Entry } from './entries.ts';
import type { FoundGroup } from './find.ts';
import { type LvTags, packVolume, unpackVolume, writeTags } from './tags.ts';
import { usageOf } from './thin.ts';

/** Volumes of an LVM pool. Each method looks at the group's metadata, then changes it. */
export function lvmVolumes(
  context: LvmContext,
): Required<Omit<EngineVolumes, 'configure' | 'glance' | 'takeOver' | 'changeKey'>> {
  return {
    create: (request) => createVolume(context, request),
    observe: (volume) => observe(context, volume),
    usage: (volume) => usage(context, volume),
    setIdentity: (volume, identity) => setIdentity(context, volume, identity),
    expand: (volume, sizeBytes) => expand(context, volume, sizeBytes),
    attach: async (volume, options) => {
      await finishZeroing(context, volume);
      return attachVolume(context, volume, options);
    },
    markFormatted: (volume) => markFormatted(context, volume),
    detach: (volume) => detachVolume(context, volume),
    delete: (volume) => remove(context, volume),
    companionFolder: (volume) => companionFolder(context, volume),
    recycle: (volume, until) => recycle(context, volume, until),
    restoreRecycled: (volume, identity) => restoreRecycled(context, volume, identity),
  };
}

async function observe(context: LvmContext, volume: VolumeRef): Promise<VolumeObservation> {
  const found = await context.find(volume.pool);
  const entry = found.entries.volume(volume.volumeId);
  if (!entry) return { present: false, recycled: false, sizeBytes: 0, snapshotIds: [], causes: [] };
  const { lv, tags } = entry;
  const identity = unpackVolume(tags.packed);
  const node = await mappedNode(context.deps, found, lv.id);
  const label = tags.label ?? volume.volumeId;
  const lost = partsOnMissing(found, entry);
  return {
    present: tags.state === 'ready',
    recycled: tags.state === 'bin',
    sizeBytes: lv.sizeBytes,
    ...(identity.ok ? { identity: identity.value } : {}),
    ...(node ? { attached: describeAttached(found, entry, node) } : {}),
    snapshotIds: found.entries
      .snapshots(volume.volumeId)
      .map((snapshot) => snapshot.tags.snapshotId ?? '')
      .sort(),
    causes: [
      ...(identity.ok ? [] : [makeCause('IdentityDamaged', { volume: label, problem: identity.problem })]),
      ...(lost ? [makeCause('BackingMissing', { volume: label, path: lost })] : []),
    ],
  };
}

/** Where the volume itself lies on a disk that is not there. */
function partsOnMissing({ group, missing }: FoundGroup, { lv }: Entry): string | undefined {
  const keys = new Map(missing.map((pv) => [pv.key, pv.deviceHint]));
  if (keys.size === 0) return undefined;
  const visited = new Set<string>();
  const search = (name: string): string | undefined => {
    if (visited.has(name)) return undefined;
    visited.add(name);
    for (const { areas, type } of group.volumes.find((one) => one.name === name)?.segments ?? []) {
      // One leg of a mirror or RAID may be missing.
      if (type.startsWith('raid') || type === 'mirror') continue;
      for (const { on } of areas) {
        const hint = keys.get(on) ?? search(on);
        if (hint !== undefined) return hint;
      }
    }
    return undefined;
  };
  return search(lv.name);
}

async function usage(context: LvmContext, volume: VolumeRef) {
  const found = await context.find(volume.pool);
  const entry = found.entries.volume(volume.volumeId);
  if (!entry) throw volumeMissing(volume);
  return usageOf(context, volume.pool, found, entry);
}

/** @throws AzekuraError NotFound */
async function need(context: LvmContext, volume: VolumeRef): Promise<{ found: FoundGroup; entry: Entry }> {
  const found = await context.find(volume.pool);
  const entry = found.entries.volume(volume.volumeId);
  if (!entry) throw volumeMissing(volume);
  return { found, entry };
}

async function setIdentity(context: LvmContext, volume: VolumeRef, identity: VolumeIdentity): Promise<void> {
  const { found, entry } = await need(context, volume);
  const wanted = { ...entry.tags, label: identity.name, packed: packVolume(identity) };
  await context.retag('identity.write', volume.pool, found, entry, wanted);
}

async function markFormatted(context: LvmContext, volume: VolumeRef): Promise<void> {
  const { found, entry } = await need(context, volume);
  await context.retag('format.mark', volume.pool, found, entry, { ...entry.tags, blank: false });
}

async function expand(context: LvmContext, volume: VolumeRef, sizeBytes: number): Promise<void> {
  const { found, entry } = await need(context, volume);
  const { lv, tags } = entry;
  const identity = unpackVolume(tags.packed);
  if (sizeBytes % sectorBytes !== 0)
    throw new AzekuraError('OutOfRange', `the size ${sizeBytes} is not a multiple of ${sectorBytes} bytes`);
  const present = identity.ok ? Math.min(identity.value.sizeBytes, lv.sizeBytes) : lv.sizeBytes;
  if (sizeBytes < present)
    throw new AzekuraError('OutOfRange', `the volume has ${present} bytes already; volumes never shrink`);
  const wantedBytes = roundUp(found, sizeBytes);
  if (wantedBytes > lv.sizeBytes) {
    if (lv.segments[0]?.type === 'thin') {
      const argv = lvextend(found.group.name, lv.name, wantedBytes / found.group.extentBytes);
      await context.run('expand.size', volume.pool, found, argv);
    } else await expandThick(context, volume, found, entry, wantedBytes);
  }
  if (!identity.ok || identity.value.sizeBytes === sizeBytes) return;
  const now = await need(context, volume);
  const packed = packVolume({ ...identity.value, sizeBytes });
  await context.retag('expand.identity', volume.pool, now.found, now.entry, { ...now.entry.tags, packed });
}

/**
 * A linear volume grows by extents that were zeroed before they became part of it: a volume in use never shows what
 * others have left. What lies on several disks cannot be told which extents to take, so it is zeroed afterwards, and
 * grows only while it is detached; a tag remembers what is not zeroed yet.
 */
async function expandThick(
  context: LvmContext,
  volume: VolumeRef,
  found: FoundGroup,
  entry: Entry,
  wantedBytes: number,
): Promise<void> {
  const { group } = found;
  const { pool } = volume;
  const { lv } = entry;
  const extents = wantedBytes / group.extentBytes;
  const more = extents - lv.sizeBytes / group.extentBytes;
  const free = freeExtents(group);
  const linear = lv.segments.every(({ type, areas }) => type === 'striped' && areas.length === 1);
  if (more > free) throw poolFull(pool, more * group.extentBytes, free * group.extentBytes);
  if (!linear) {
    const node = await mappedNode(context.deps, found, lv.id);
    if (node)
      throw inUse(
        `volume ${volume.volumeId}, which lies on several disks and grows only while it is detached,`,
        node.path,
      );
    const zeroFrom = entry.tags.zeroFrom ?? lv.sizeBytes;
    await context.retag('expand.begin', pool, found, entry, { ...entry.tags, zeroFrom });
    await context.run('expand.allocate', pool, found, lvextend(group.name, lv.name, extents));
    return finishZeroing(context, volume);
  }
  const name = `azk_x_${volume.volumeId}`;
  const left = found.entries.all.find((one) => one.lv.name === name);
  if (left) await removePart(context, volume, found, left);
  const part: LvTags = { kind: 'part', state: 'new', volumeId: volume.volumeId, generation: 0, blank: false };
  const options = { extents: more, layout: { type: 'linear' as const }, tags: writeTags(part) };
  await context.run('expand.allocate', pool, found, lvcreatePart(group.name, name, options));
  const made = await context.find(pool);
  const piece = made.entries.all.find((one) => one.lv.name === name);
  if (!piece) throw new AzekuraError('HostFailure', `logical volume ${name} was made and is not there`);
  await zeroDevice(context, pool, made, piece, 0);
  const where = rangesOf(made, piece);
  await removePart(context, volume, made, piece);
  const now = await context.find(pool);
  await context.run('expand.size', pool, now, lvextend(group.name, lv.name, extents, { where }));
}

/** Does what an interrupted growth has left undone. The volume is detached afterwards. */
export async function finishZeroing(context: LvmContext, volume: VolumeRef): Promise<void> {
  const { found, entry } = await need(context, volume);
  const { zeroFrom } = entry.tags;
  if (zeroFrom === undefined) return;
  await zeroDevice(context, volume.pool, found, entry, zeroFrom);
  await context.run('expand.deactivate', volume.pool, found, lvdeactivate(found.group.name, [entry.lv.name]));
  await context.retag('expand.end', volume.pool, found, entry, { ...entry.tags, zeroFrom: undefined });
}

async function removePart(context: LvmContext, volume: VolumeRef, found: FoundGroup, { lv }: Entry): Promise<void> {
  if (await mappedNode(context.deps, found, lv.id))
    await context.run('expand.clean', volume.pool, found, lvdeactivate(found.group.name, [lv.name]));
  await context.run('expand.clean', volume.pool, found, lvremove(found.group.name, [lv.name]));
}

/** The extents of a linear volume as LVM takes them: /dev/sdb:10-19. */
function rangesOf({ group, devices }: FoundGroup, { lv }: Entry): readonly string[] {
  return lv.segments.flatMap(({ areas, extents }) =>
    areas.flatMap(({ on, startExtent }) => {
      const id = group.physical.find(({ key }) => key === on)?.id ?? '';
      const path = devices.get(id)?.path;
      return path === undefined ? [] : [`${path}:${startExtent}-${startExtent + extents - 1}`];
    }),
  );
}

/** For good. With snapshots it is marked first, so that after a crash nothing of it counts any more. */
async function remove(context: LvmContext, volume: VolumeRef): Promise<void> {
  const found = await context.find(volume.pool);
  const family = found.entries.family(volume.volumeId);
  const entry = found.entries.volume(volume.volumeId);
  if (entry?.tags.state === 'ready') await requireDetached(context.deps, found, volume, entry);
  if (family.length === 0) return;
  if (entry && family.length > 1)
    await context.retag('delete.hide', volume.pool, found, entry, { ...entry.tags, state: 'gone' });
  const volumes = family.filter(({ tags }) => tags.kind === 'volume');
  const rest = family.filter(({ tags }) => tags.kind !== 'volume');
  const last = [...rest, ...volumes].map(({ lv }) => lv.name);
  await context.deps.host.kernel('engine-lvm').removeTree(companionPath(context, volume));
  await context.run('delete.remove', volume.pool, found, lvremove(found.group.name, last));
}

/** LVM has no room for files: they lie on the machine's disk, beside LVM's own backups of the group. */
const companionPath = ({ deps }: LvmContext, { pool, volumeId }: VolumeRef) =>
  `${deps.runtimeDir}/companions/${pool.poolId ?? pool.name}/${checkId(volumeId)}`;

async function companionFolder(context: LvmContext, volume: VolumeRef): Promise<string> {
  const path = companionPath(context, volume);
  await context.deps.host.kernel('engine-lvm').makeDirectory(path, 0o700);
  return path;
}

async function recycle(
  context: LvmContext,
  volume: VolumeRef,
  until: { readonly deletedAt: string; readonly expiresAt: string },
): Promise<void> {
  const { found, entry } = await need(context, volume);
  if (entry.tags.state === 'bin') return;
  await requireDetached(context.deps, found, volume, entry);
  const identity = unpackVolume(entry.tags.packed);
  const packed = identity.ok ? packVolume({ ...identity.value, recycled: until }) : entry.tags.packed;
  await context.retag('recycle.move', volume.pool, found, entry, { ...entry.tags, state: 'bin', packed });
}

async function restoreRecycled(context: LvmContext, volume: VolumeRef, identity: VolumeIdentity): Promise<void> {
  const { found, entry } = await need(context, volume);
  const { recycled: _, ...taken } = identity;
  const wanted: LvTags = { ...entry.tags, state: 'ready', label: taken.name, packed: packVolume(taken) };
  await context.retag('undelete.move', volume.pool, found, entry, wanted);
}
