import { lvcreateSnapshot, lvcreateThin, lvdeactivate, lvextend, lvremove } from '../../host/lvm/argv.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import { sectorBytes } from '../../model/volume.ts';
import type { CreateVolume, PoolRef, VolumeIdentity } from '../contract.ts';
import { copyInto, zeroDevice } from './bytes.ts';
import { inUse, type LvmContext, mappedNode, roundUp } from './context.ts';
import { type Entry, volumeName } from './entries.ts';
import type { FoundGroup } from './find.ts';
import { createMoved } from './move.ts';
import { refuseLayout } from './parameters.ts';
import { refuseSuspended } from './suspend.ts';
import { type LvTags, packVolume, unpackSnapshot, unpackVolume, writeTags } from './tags.ts';
import { allocateThick } from './thick.ts';

const minimumBytes = { xfs: 300 * 2 ** 20, ext4: 8 * 2 ** 20 } as const;

/** Where a new volume's bytes come from. */
interface Source {
  readonly entry: Entry;
  /** What was asked for when it was made; its device may be larger. */
  readonly sizeBytes: number;
}

/** Makes a volume; see EngineVolumes.create. */
export async function createVolume(context: LvmContext, request: CreateVolume): Promise<void> {
  const { volume, identity, parameters } = request;
  const found = await context.find(volume.pool);
  const present = found.entries.volume(volume.volumeId);
  if (present?.tags.state === 'ready') return;
  if (present)
    throw new AzekuraError('FailedPrecondition', `volume ${volume.volumeId} rests in the recycle bin of its pool`, {
      next: 'take it back with `azekura volume undelete`',
    });
  if (request.source?.kind === 'move') {
    checkSize(identity, undefined);
    return createMoved(context, request, request.source.volume);
  }
  const source = sourceOf(request, found);
  checkSize(identity, source);
  if (identity.provisioning === 'thin') refuseLayout(parameters);
  await clean(context, volume.pool, found, volume.volumeId);
  if (identity.provisioning === 'thick') await createThick(context, request, found, source);
  else if (!source) await createBlank(context, request, found);
  else if (isThin(source.entry)) await createShared(context, request, found, source);
  else await createCopy(context, request, found, source);
}

function isThin({ lv }: Entry): boolean {
  return lv.segments[0]?.type === 'thin';
}

/** @throws AzekuraError NotFound with blame SourceNotFound; Unimplemented for a source in another pool */
function sourceOf({ source, volume }: CreateVolume, found: FoundGroup): Source | undefined {
  if (!source) return undefined;
  const from = source.kind === 'snapshot' ? source.snapshot : source.volume;
  if (from.pool.name !== volume.pool.name)
    throw new AzekuraError('Unimplemented', 'volumes of the engine lvm are made from what lies in their own pool', {
      next: 'make it in the pool of its source, and move it with `azekura pool drain`',
    });
  if (source.kind !== 'snapshot') {
    const entry = found.entries.volume(source.volume.volumeId);
    if (entry?.tags.state !== 'ready') throw sourceGone(`volume ${source.volume.volumeId}`);
    const identity = unpackVolume(entry.tags.packed);
    return { entry, sizeBytes: identity.ok ? identity.value.sizeBytes : entry.lv.sizeBytes };
  }
  const { volumeId, snapshotId } = source.snapshot;
  const entry = found.entries.snapshot(volumeId, snapshotId);
  if (entry?.tags.state !== 'ready') throw sourceGone(`snapshot ${snapshotId}`);
  const identity = unpackSnapshot(entry.tags.packed);
  const told = identity.ok && identity.value.sizeBytes > 0 ? identity.value.sizeBytes : entry.lv.sizeBytes;
  return { entry, sizeBytes: Math.min(told, entry.lv.sizeBytes) };
}

function sourceGone(source: string): AzekuraError {
  return blamed('NotFound', makeCause('SourceNotFound', { source }));
}

/** @throws AzekuraError OutOfRange */
function checkSize(identity: VolumeIdentity, source: Source | undefined): void {
  const { sizeBytes, filesystem, mode } = identity;
  if (sizeBytes <= 0 || sizeBytes % sectorBytes !== 0)
    throw new AzekuraError('OutOfRange', `the size ${sizeBytes} is not a positive multiple of ${sectorBytes} bytes`);
  if (source && sizeBytes < source.sizeBytes)
    throw new AzekuraError(
      'OutOfRange',
      `the size ${sizeBytes} is smaller than that of its source, ${source.sizeBytes}`,
    );
  if (source || mode !== 'filesystem' || !filesystem || sizeBytes >= minimumBytes[filesystem]) return;
  throw new AzekuraError(
    'OutOfRange',
    `a volume with ${filesystem} needs at least ${minimumBytes[filesystem] / 2 ** 20}Mi`,
    {
      next: filesystem === 'xfs' ? 'ask for more, or use ext4 or a raw block volume' : 'ask for more',
    },
  );
}

/** What an earlier attempt has left under this id. Snapshots of a volume that is no more are none of it. */
async function clean(context: LvmContext, pool: PoolRef, found: FoundGroup, volumeId: string): Promise<void> {
  for (const { lv, tags } of found.entries.family(volumeId)) {
    if (tags.kind !== 'volume' || (tags.state !== 'new' && tags.state !== 'gone')) continue;
    if (await mappedNode(context.deps, found, lv.id))
      await context.run('create.clean', pool, found, lvdeactivate(found.group.name, [lv.name]));
    await context.run('create.clean', pool, found, lvremove(found.group.name, [lv.name]));
  }
}

function tagsFor(identity: VolumeIdentity, state: LvTags['state'], blank: boolean): LvTags {
  return {
    kind: 'volume',
    state,
    volumeId: identity.volumeId,
    generation: 0,
    blank,
    label: identity.name,
    packed: packVolume(identity),
  };
}

function thinPoolOf(pool: PoolRef, found: FoundGroup): string {
  const thin = found.entries.thinPool;
  if (thin) return thin.lv.name;
  throw new AzekuraError('FailedPrecondition', `pool ${pool.name} has no thin pool yet`, {
    next: 'wait until it is ready',
  });
}

/** One command: the volume is there with all that it is, or it is not. */
async function createBlank(context: LvmContext, request: CreateVolume, found: FoundGroup): Promise<void> {
  const { volume, identity } = request;
  const tags = writeTags(tagsFor(identity, 'ready', identity.mode === 'filesystem'));
  const name = volumeName(volume.volumeId, 0);
  const options = { sizeBytes: roundUp(found, identity.sizeBytes), tags };
  const argv = lvcreateThin(found.group.name, thinPoolOf(volume.pool, found), name, options);
  await context.run('create.publish', volume.pool, found, argv);
}

/** A snapshot made writable; one that is to be larger counts only when it is. */
async function createShared(
  context: LvmContext,
  { volume, identity }: CreateVolume,
  found: FoundGroup,
  source: Source,
): Promise<void> {
  const { group } = found;
  refuseSuspended(await mappedNode(context.deps, found, source.entry.lv.id), 'what is to be cloned');
  const name = volumeName(volume.volumeId, 0);
  const sizeBytes = roundUp(found, identity.sizeBytes);
  const { blank } = source.entry.tags;
  const wanted = tagsFor(identity, 'ready', blank);
  if (sizeBytes <= source.entry.lv.sizeBytes) {
    const argv = lvcreateSnapshot(group.name, source.entry.lv.name, name, { tags: writeTags(wanted) });
    await context.run('create.publish', volume.pool, found, argv);
    return;
  }
  const early = writeTags({ ...wanted, state: 'new' });
  const argv = lvcreateSnapshot(group.name, source.entry.lv.name, name, { tags: early });
  await context.run('create.clone', volume.pool, found, argv);
  await context.run('create.size', volume.pool, found, lvextend(group.name, name, sizeBytes / group.extentBytes));
  await publish(context, volume.pool, name, wanted);
}

async function publish(context: LvmContext, pool: PoolRef, name: string, wanted: LvTags): Promise<void> {
  const now = await context.find(pool);
  const made = now.entries.all.find(({ lv }) => lv.name === name);
  if (!made) throw new AzekuraError('HostFailure', `logical volume ${name} was made and is not there`);
  await context.retag('create.publish', pool, now, made, wanted);
}

/** A thick volume counts only when none of the bytes that others have left on the disks can be seen. */
async function createThick(
  context: LvmContext,
  request: CreateVolume,
  found: FoundGroup,
  source: Source | undefined,
): Promise<void> {
  const { volume, identity } = request;
  if (source && !isThin(source.entry)) await requireStill(context, found, source.entry);
  const wanted = tagsFor(identity, 'ready', !source && identity.mode === 'filesystem');
  const name = await allocateThick(context, 'create.allocate', request, found, wanted);
  await fill(context, volume.pool, name, source);
  await context.run('create.deactivate', volume.pool, found, lvdeactivate(found.group.name, [name]));
  await publish(context, volume.pool, name, wanted);
}

/** A thin volume with the bytes of a thick one. */
async function createCopy(
  context: LvmContext,
  request: CreateVolume,
  found: FoundGroup,
  source: Source,
): Promise<void> {
  const { volume, identity } = request;
  await requireStill(context, found, source.entry);
  const wanted = tagsFor(identity, 'ready', source.entry.tags.blank);
  const name = volumeName(volume.volumeId, 0);
  const options = { sizeBytes: roundUp(found, identity.sizeBytes), tags: writeTags({ ...wanted, state: 'new' }) };
  const argv = lvcreateThin(found.group.name, thinPoolOf(volume.pool, found), name, options);
  await context.run('create.allocate', volume.pool, found, argv);
  await fill(context, volume.pool, name, source);
  await context.run('create.deactivate', volume.pool, found, lvdeactivate(found.group.name, [name]));
  await publish(context, volume.pool, name, wanted);
}

/** A volume without snapshots has no instant to copy while somebody writes to it. */
async function requireStill(context: LvmContext, found: FoundGroup, { lv, tags }: Entry): Promise<void> {
  const node = await mappedNode(context.deps, found, lv.id);
  if (node)
    throw inUse(
      `thick volume ${tags.label ?? lv.name}, which has no snapshots to copy from,`,
      `its device ${node.path}`,
    );
}

async function fill(context: LvmContext, pool: PoolRef, name: string, source: Source | undefined): Promise<void> {
  const now = await context.find(pool);
  const made = now.entries.all.find(({ lv }) => lv.name === name);
  if (!made) throw new AzekuraError('HostFailure', `logical volume ${name} was made and is not there`);
  if (!isThin(made)) await zeroDevice(context, pool, now, made, 0);
  if (source) await copyInto(context, pool, now, source.entry, made);
}
