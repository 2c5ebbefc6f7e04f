import { lvdeactivate, lvremove, mappedUuid } from '../../host/lvm/argv.ts';
import type { PoolRef, VolumeOnDisk } from '../contract.ts';
import { type LvmContext, mappedNodes } from './context.ts';
import { type Entries, type Entry, pathOf } from './entries.ts';
import { type FoundGroup, findPool } from './find.ts';
import { resumeAll } from './suspend.ts';
import { unpackSnapshot, unpackVolume } from './tags.ts';

/** All volumes of a pool with their snapshots; see EnginePools.list. */
export async function listPool(context: LvmContext, pool: PoolRef): Promise<readonly VolumeOnDisk[]> {
  return volumesIn((await findPool(context.deps, pool)).entries);
}

/** What a group holds, from its metadata alone: neither LVM nor the kernel is asked. */
export function volumesIn(entries: Entries): readonly VolumeOnDisk[] {
  return entries.volumeIds().flatMap((volumeId) => {
    const entry = entries.volume(volumeId);
    return entry ? [describe(entries, volumeId, entry)] : [];
  });
}

function describe(entries: Entries, volumeId: string, { lv, tags }: Entry): VolumeOnDisk {
  const identity = unpackVolume(tags.packed);
  return {
    volumeId,
    ...(identity.ok ? { identity: identity.value } : { problem: identity.problem }),
    dataPath: pathOf(entries.group, lv.name),
    sizeBytes: lv.sizeBytes,
    recycled: tags.state === 'bin',
    snapshots: entries.snapshots(volumeId).map((snapshot) => {
      const own = unpackSnapshot(snapshot.tags.packed);
      return {
        snapshotId: snapshot.tags.snapshotId ?? '',
        ...(own.ok ? { identity: own.value } : { problem: own.problem }),
        dataPath: pathOf(entries.group, snapshot.lv.name),
        sizeBytes: snapshot.lv.sizeBytes,
      };
    }),
  };
}

/** Removes what interrupted operations have left; see EnginePools.sweep. */
export async function sweepPool(
  context: LvmContext,
  pool: PoolRef,
  options: { readonly idle?: boolean } = {},
): Promise<readonly string[]> {
  // Logical volumes carry no time of their last change: while something may be at work, all of them are spared.
  if (!options.idle) return [];
  const found = await findPool(context.deps, pool);
  if (found.missing.length > 0) return [];
  const swept = [...(await resumeAll(context, found))];
  const leftovers = found.entries.leftovers();
  const active = await mappedNodes(context.deps, found);
  await stopSnapshots(context, pool, found, new Set(leftovers.map(({ lv }) => lv.id)));
  for (const entry of inOrder(leftovers)) {
    const { name, id } = entry.lv;
    if (active.has(mappedUuid(found.group.id, id)))
      await context.run('sweep.deactivate', pool, found, lvdeactivate(found.group.name, [name]));
    await context.run('sweep.remove', pool, found, lvremove(found.group.name, [name]));
    swept.push(pathOf(found.group, name));
  }
  return swept;
}

/** A snapshot is active only while something reads it. */
async function stopSnapshots(
  context: LvmContext,
  pool: PoolRef,
  found: FoundGroup,
  except: ReadonlySet<string>,
): Promise<void> {
  const active = await mappedNodes(context.deps, found);
  for (const { lv, tags } of found.entries.all)
    if (tags.kind === 'snapshot' && !except.has(lv.id) && active.has(mappedUuid(found.group.id, lv.id)))
      await context.run('sweep.deactivate', pool, found, lvdeactivate(found.group.name, [lv.name]));
}

/** A volume that is being deleted marks its snapshots as leftovers too: it goes last. */
function inOrder(entries: readonly Entry[]): readonly Entry[] {
  return [
    ...entries.filter(({ tags }) => tags.kind !== 'volume'),
    ...entries.filter(({ tags }) => tags.kind === 'volume'),
  ];
}
