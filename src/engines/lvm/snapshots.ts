import { lvcreateSnapshot, lvextend, lvremove } from '../../host/lvm/argv.ts';
import { pageOf } from '../../host/lvm/thin-tools.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { EngineDiff, EngineSnapshots, SnapshotIdentity, SnapshotRef } from '../contract.ts';
import { type LvmContext, mappedNode, requireDetached, snapshotMissing, volumeMissing } from './context.ts';
import { type Entry, snapshotName, volumeName } from './entries.ts';
import type { FoundGroup } from './find.ts';
import { refuseSuspended } from './suspend.ts';
import { packSnapshot, unpackSnapshot, writeTags } from './tags.ts';
import { changedRanges, mappedRanges, usageOf } from './thin.ts';

/**
 * Snapshots of thin volumes: logical volumes that share all chunks with their origin, inactive until somebody reads them.
 * LVM holds the origin still for the cut itself and lets it go afterwards.
 */
export function lvmSnapshots(context: LvmContext): EngineSnapshots {
  return {
    async prepare(ref) {
      // Nothing can be done ahead; but what cannot be cut is told before anything is frozen.
      await needOrigin(context, ref);
    },
    cut: (ref) => cut(context, ref),
    commit: (ref, identity) => commit(context, ref, identity),
    abandon: (ref) => abandon(context, ref),
    observe: (ref) => observe(context, ref),
    async usage(ref) {
      const { found, entry } = await needSnapshot(context, ref);
      return usageOf(context, ref.pool, found, entry);
    },
    delete: (ref) => remove(context, ref),
    restore: (ref) => restore(context, ref),
  };
}

/** @throws AzekuraError NotFound; Unimplemented for a thick volume */
async function needOrigin(context: LvmContext, ref: SnapshotRef): Promise<{ found: FoundGroup; entry: Entry }> {
  const found = await context.find(ref.pool);
  const entry = found.entries.volume(ref.volumeId);
  if (entry?.tags.state !== 'ready') throw volumeMissing(ref);
  if (entry.lv.segments[0]?.type !== 'thin')
    throw new AzekuraError(
      'Unimplemented',
      `volume ${entry.tags.label ?? ref.volumeId} is thick, and thick volumes of the engine lvm have no snapshots`,
      { next: 'use a class with thin volumes, or copy the volume while it is detached: make a clone of it' },
    );
  return { found, entry };
}

async function cut(context: LvmContext, ref: SnapshotRef): Promise<void> {
  const { found, entry } = await needOrigin(context, ref);
  const present = found.entries.snapshot(ref.volumeId, ref.snapshotId);
  if (present?.tags.state === 'ready') return;
  refuseSuspended(await mappedNode(context.deps, found, entry.lv.id), `volume ${entry.tags.label ?? ref.volumeId}`);
  if (present) await context.run('snapshot.recut', ref.pool, found, lvremove(found.group.name, [present.lv.name]));
  const tags = writeTags({
    kind: 'snapshot',
    state: 'cut',
    volumeId: ref.volumeId,
    snapshotId: ref.snapshotId,
    generation: 0,
    blank: entry.tags.blank,
  });
  const name = snapshotName(ref.volumeId, ref.snapshotId);
  await context.run('snapshot.cut', ref.pool, found, lvcreateSnapshot(found.group.name, entry.lv.name, name, { tags }));
}

async function commit(context: LvmContext, ref: SnapshotRef, identity: SnapshotIdentity): Promise<void> {
  const found = await context.find(ref.pool);
  const entry = found.entries.snapshot(ref.volumeId, ref.snapshotId);
  if (!entry)
    throw new AzekuraError('FailedPrecondition', `snapshot ${ref.snapshotId} has not been cut`, {
      next: 'take the snapshot anew',
    });
  if (entry.tags.state === 'ready') return;
  const wanted = { ...entry.tags, state: 'ready', label: identity.name, packed: packSnapshot(identity) } as const;
  await context.retag('snapshot.publish', ref.pool, found, entry, wanted);
}

async function abandon(context: LvmContext, ref: SnapshotRef): Promise<void> {
  const found = await context.find(ref.pool);
  const entry = found.entries.snapshot(ref.volumeId, ref.snapshotId);
  if (entry?.tags.state !== 'cut') return;
  await context.run('snapshot.abandon', ref.pool, found, lvremove(found.group.name, [entry.lv.name]));
}

async function observe(context: LvmContext, ref: SnapshotRef) {
  const found = await context.find(ref.pool);
  const entry = found.entries.snapshot(ref.volumeId, ref.snapshotId);
  if (entry?.tags.state !== 'ready') return { present: false, sizeBytes: 0, causes: [] };
  const identity = unpackSnapshot(entry.tags.packed);
  const volume = `${ref.volumeId}, snapshot ${ref.snapshotId}`;
  return {
    present: true,
    sizeBytes: entry.lv.sizeBytes,
    ...(identity.ok ? { identity: identity.value } : {}),
    causes: identity.ok ? [] : [makeCause('IdentityDamaged', { volume, problem: identity.problem })],
  };
}

async function needSnapshot(context: LvmContext, ref: SnapshotRef): Promise<{ found: FoundGroup; entry: Entry }> {
  const found = await context.find(ref.pool);
  const entry = found.entries.snapshot(ref.volumeId, ref.snapshotId);
  if (entry?.tags.state !== 'ready') throw snapshotMissing(ref);
  return { found, entry };
}

async function remove(context: LvmContext, ref: SnapshotRef): Promise<void> {
  const found = await context.find(ref.pool);
  const entry = found.entries.snapshot(ref.volumeId, ref.snapshotId);
  if (entry?.tags.state !== 'ready') return;
  await context.run('snapshot-delete.remove', ref.pool, found, lvremove(found.group.name, [entry.lv.name]));
}

/**
 * A writable snapshot of the snapshot takes the volume's place: it is made beside it, and counts from the moment when its
 * tags say so, since its generation is higher.
 */
async function restore(context: LvmContext, ref: SnapshotRef): Promise<void> {
  const { pool, volumeId } = ref;
  const { found, entry: snapshot } = await needSnapshot(context, ref);
  const { group } = found;
  const volume = found.entries.volume(volumeId);
  if (volume?.tags.state !== 'ready') throw volumeMissing(ref);
  await requireDetached(context.deps, found, ref, volume);
  for (const { lv, tags } of found.entries.family(volumeId))
    if (tags.kind === 'volume' && lv.name !== volume.lv.name)
      await context.run('restore.clean', pool, found, lvremove(group.name, [lv.name]));
  const generation = volume.tags.generation + 1;
  const name = volumeName(volumeId, generation);
  const wanted = { ...volume.tags, generation, blank: snapshot.tags.blank };
  const early = writeTags({ ...wanted, state: 'new' });
  await context.run(
    'restore.clone',
    pool,
    found,
    lvcreateSnapshot(group.name, snapshot.lv.name, name, { tags: early }),
  );
  if (volume.lv.sizeBytes > snapshot.lv.sizeBytes)
    await context.run('restore.size', pool, found, lvextend(group.name, name, volume.lv.sizeBytes / group.extentBytes));
  const now = await context.find(pool);
  const made = now.entries.all.find(({ lv }) => lv.name === name);
  if (!made) throw new AzekuraError('HostFailure', `logical volume ${name} was made and is not there`);
  await context.retag('restore.replace', pool, now, made, wanted);
  await context.run('restore.end', pool, now, lvremove(group.name, [volume.lv.name]));
}

/** What changed between snapshots, from the thin pool's own metadata: in whole chunks. */
export function lvmDiff(context: LvmContext): EngineDiff {
  return {
    async allocated(ref, page) {
      const { found, entry } = await needSnapshot(context, ref);
      return pageOf(await mappedRanges(context, ref.pool, found, entry), page, entry.lv.sizeBytes);
    },
    async changed(base, target, page) {
      const { found, entry } = await needSnapshot(context, target);
      const { entry: from } = await needSnapshot(context, base);
      return pageOf(await changedRanges(context, target.pool, found, from, entry), page, entry.lv.sizeBytes);
    },
  };
}
