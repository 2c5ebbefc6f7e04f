import type { ByteRange } from '../../host/kernel.ts';
import { lvcreateSnapshot, lvcreateThin, lvdeactivate, lvextend, lvremove } from '../../host/lvm/argv.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { CreateVolume, PoolRef, VolumeRef } from '../contract.ts';
import { activateVolume } from './attach.ts';
import { zeroDevice } from './bytes.ts';
import { inUse, type LvmContext, mappedNode, roundUp } from './context.ts';
import { type Entry, snapshotName, volumeName } from './entries.ts';
import type { FoundGroup } from './find.ts';
import { type LvTags, packVolume, writeTags } from './tags.ts';
import { allocateThick } from './thick.ts';
import { changedRanges, mappedRanges } from './thin.ts';

/** Bytes that one command copies: progress is told, and a deadline fits, after each. */
const pieceBytes = 256 * 2 ** 20;
const pieceDeadlineMs = 10 * 60_000;

interface Side {
  readonly pool: PoolRef;
  readonly found: FoundGroup;
}

/**
 * Makes a copy of a detached volume of another pool, with its snapshots, which share among each other what they shared
 * there. Nothing of it counts before all of it is there; interrupted, it begins anew.
 *
 * @throws AzekuraError FailedPrecondition with blame InUse; NotFound; ResourceExhausted with blame PoolFull
 */
export async function createMoved(context: LvmContext, request: CreateVolume, from: VolumeRef): Promise<void> {
  const { volume, identity } = request;
  const { pool } = volume;
  const there = await context.find(from.pool);
  const source = there.entries.volume(from.volumeId);
  if (source?.tags.state !== 'ready')
    throw blamed('NotFound', makeCause('SourceNotFound', { source: `volume ${from.volumeId}` }));
  await refuseWriters(context, there, from, source);
  await cleanUp(context, volume);
  const name = volumeName(volume.volumeId, 0);
  const wanted: LvTags = {
    kind: 'volume',
    state: 'ready',
    volumeId: volume.volumeId,
    generation: 0,
    blank: source.tags.blank,
    label: identity.name,
    packed: packVolume(identity),
  };
  const origin = { pool: from.pool, found: there };
  if (identity.provisioning === 'thick') await copyThick(context, request, origin, source, wanted);
  else await copyThin(context, request, origin, source, wanted);
  await extend(context, pool, name, identity.sizeBytes);
  await deactivate(context, pool, name);
  const copied = await context.find(pool);
  for (const entry of copied.entries.family(volume.volumeId))
    if (entry.tags.kind === 'snapshot')
      await context.retag('move.snapshot', pool, copied, entry, { ...entry.tags, state: 'ready' });
  const { found, entry } = await made(context, pool, name);
  await context.retag('move.publish', pool, found, entry, wanted);
}

/** What we read is active read-only, also after a crash; a volume in use is active for writing. */
async function refuseWriters(context: LvmContext, found: FoundGroup, volume: VolumeRef, { lv }: Entry): Promise<void> {
  const node = await mappedNode(context.deps, found, lv.id);
  if (node && !node.readOnly) throw inUse(`volume ${volume.volumeId}`, `its device ${node.path}`);
}

/** What an interrupted move has left under this id: without a volume that counts nothing of it does. */
async function cleanUp(context: LvmContext, volume: VolumeRef): Promise<void> {
  const { pool } = volume;
  const found = await context.find(pool);
  const left = found.entries.family(volume.volumeId);
  for (const { lv } of left)
    if (await mappedNode(context.deps, found, lv.id))
      await context.run('move.clean', pool, found, lvdeactivate(found.group.name, [lv.name]));
  const names = left.map(({ lv }) => lv.name);
  if (names.length > 0) await context.run('move.clean', pool, found, lvremove(found.group.name, names));
}

/** One snapshot after the other, and then the volume: each is copied as its difference to the one before. */
async function copyThin(
  context: LvmContext,
  { volume }: CreateVolume,
  origin: Side,
  source: Entry,
  wanted: LvTags,
): Promise<void> {
  const { pool, volumeId } = volume;
  const target = await context.find(pool);
  const thin = target.entries.thinPool;
  if (!thin) throw new AzekuraError('FailedPrecondition', `pool ${pool.name} has no thin pool yet`);
  const age = ({ lv }: Entry) => lv.segments[0]?.deviceId ?? 0;
  const snapshots = [...origin.found.entries.snapshots(volumeId)].sort((a, b) => age(a) - age(b));
  const [first = source] = snapshots;
  const name = volumeName(volumeId, 0);
  const early = writeTags({ ...wanted, state: 'new' });
  const options = { sizeBytes: roundUp(target, first.lv.sizeBytes), tags: early };
  await context.run('move.allocate', pool, target, lvcreateThin(target.group.name, thin.lv.name, name, options));
  let before: Entry | undefined;
  for (const snapshot of snapshots) {
    await copyState(context, pool, name, origin, snapshot, before);
    await deactivate(context, pool, name);
    const { found } = await made(context, pool, name);
    const tags = writeTags({ ...snapshot.tags, state: 'cut' });
    const copy = snapshotName(volumeId, snapshot.tags.snapshotId ?? '');
    await context.run('move.cut', pool, found, lvcreateSnapshot(found.group.name, name, copy, { tags }));
    before = snapshot;
  }
  await copyState(context, pool, name, origin, source, before);
}

/** Brings the copy to the contents of one of the source's states. @param before what it has already */
async function copyState(
  context: LvmContext,
  pool: PoolRef,
  name: string,
  origin: Side,
  state: Entry,
  before: Entry | undefined,
): Promise<void> {
  await extend(context, pool, name, state.lv.sizeBytes);
  const ranges = before
    ? await changedRanges(context, origin.pool, origin.found, before, state)
    : state.lv.segments[0]?.type === 'thin'
      ? await mappedRanges(context, origin.pool, origin.found, state)
      : [{ offsetBytes: 0, lengthBytes: state.lv.sizeBytes }];
  // What has never been written reads as zeroes on both sides; later on zeroes may take the place of data.
  await copyRanges(context, pool, name, { ...origin, entry: state }, ranges, before === undefined);
}

async function copyThick(
  context: LvmContext,
  request: CreateVolume,
  origin: Side,
  source: Entry,
  wanted: LvTags,
): Promise<void> {
  const { pool } = request.volume;
  const target = await context.find(pool);
  const name = await allocateThick(context, 'move.allocate', request, target, wanted, source.lv.sizeBytes);
  const all = [{ offsetBytes: 0, lengthBytes: source.lv.sizeBytes }];
  await copyRanges(context, pool, name, { ...origin, entry: source }, all, false);
  const { found, entry } = await made(context, pool, name);
  await zeroDevice(context, pool, found, entry, source.lv.sizeBytes);
}

async function copyRanges(
  context: LvmContext,
  pool: PoolRef,
  name: string,
  from: Side & { readonly entry: Entry },
  ranges: readonly ByteRange[],
  sparse: boolean,
): Promise<void> {
  const { deps } = context;
  const { found, entry } = await made(context, pool, name);
  const domain = `pool/${pool.name}/${name}`;
  const input = await activated(context, from.pool, from.found, from.entry, true);
  const output = await activated(context, pool, found, entry, false);
  const total = ranges.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
  await deps.steps.run('lvm.move.copy', async () => {
    let done = 0;
    for (const { offsetBytes, lengthBytes } of ranges) {
      const endBytes = Math.min(offsetBytes + lengthBytes, from.entry.lv.sizeBytes);
      for (let at = offsetBytes; at < endBytes; at += pieceBytes) {
        const length = Math.min(pieceBytes, endBytes - at);
        const where = [
          `skip=${at}`,
          `seek=${at}`,
          `count=${length}`,
          'iflag=skip_bytes,count_bytes',
          'oflag=seek_bytes',
        ];
        const how = [`conv=notrunc${sparse ? ',sparse' : ''}`, 'bs=1M', 'status=none'];
        await deps.host.exec(['dd', `if=${input}`, `of=${output}`, ...where, ...how], {
          deadlineMs: pieceDeadlineMs,
          domain,
        });
        done += length;
        deps.steps.progress(done, total);
      }
    }
    // fsync of the device, with all that the commands before have left in the page cache.
    await deps.host.exec(['sync', output], { deadlineMs: pieceDeadlineMs, domain });
  });
  await context.run('move.release', from.pool, from.found, lvdeactivate(from.found.group.name, [from.entry.lv.name]));
}

async function activated(
  context: LvmContext,
  pool: PoolRef,
  found: FoundGroup,
  entry: Entry,
  readOnly: boolean,
): Promise<string> {
  const present = await mappedNode(context.deps, found, entry.lv.id);
  return (present ?? (await activateVolume(context, pool, found, entry, { readOnly }))).path;
}

async function made(context: LvmContext, pool: PoolRef, name: string): Promise<{ found: FoundGroup; entry: Entry }> {
  const found = await context.find(pool);
  const entry = found.entries.all.find(({ lv }) => lv.name === name);
  if (entry) return { found, entry };
  throw new AzekuraError('HostFailure', `logical volume ${name} was made and is not there`);
}

async function extend(context: LvmContext, pool: PoolRef, name: string, sizeBytes: number): Promise<void> {
  const { found, entry } = await made(context, pool, name);
  const wantedBytes = roundUp(found, sizeBytes);
  if (wantedBytes <= entry.lv.sizeBytes) return;
  const argv = lvextend(found.group.name, name, wantedBytes / found.group.extentBytes);
  await context.run('move.size', pool, found, argv);
}

async function deactivate(context: LvmContext, pool: PoolRef, name: string): Promise<void> {
  const { found, entry } = await made(context, pool, name);
  if (await mappedNode(context.deps, found, entry.lv.id))
    await context.run('move.deactivate', pool, found, lvdeactivate(found.group.name, [name]));
}
