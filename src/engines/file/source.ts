import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { CreateVolume, VolumeRef } from '../contract.ts';
import { type FileContext, inUse, requirePool } from './context.ts';
import { decodeSnapshot } from './format.ts';
import { isId, recycledPlace, snapshotPlace, volumePlace } from './layout.ts';
import type { CreateSource, MovedSnapshot } from './plan-create.ts';

/**
 * Looks at what a new volume is made from.
 *
 * @throws AzekuraError NotFound with blame SourceNotFound; FailedPrecondition for a clone across pools or a move of an
 *   attached volume
 */
export async function readCreateSource(context: FileContext, request: CreateVolume): Promise<CreateSource> {
  const { source } = request;
  if (!source) return { kind: 'blank' };
  const from = source.kind === 'snapshot' ? source.snapshot : source.volume;
  const path = await requirePool(context, from.pool);
  const kernel = context.volumeKernel(from);
  const volume = volumePlace(path, from.volumeId);
  if (source.kind === 'move') return readMoved(context, from, path);
  if (path !== context.poolPath(request.volume.pool)) {
    throw new AzekuraError(
      'FailedPrecondition',
      `a clone shares blocks with its source, so it must be made in pool ${from.pool.name}`,
      {
        next: 'place the new volume in the pool of its source and move it afterwards',
      },
    );
  }
  const recycled = recycledPlace(path, from.volumeId);
  const candidates =
    source.kind === 'volume'
      ? [volume.data]
      : [
          snapshotPlace(volume, source.snapshot.snapshotId).data,
          snapshotPlace(recycled, source.snapshot.snapshotId).data,
        ];
  for (const data of candidates) {
    const stat = await kernel.stat(data);
    if (!stat) continue;
    const live = source.kind === 'volume' && (await kernel.findLoop(data)) !== undefined;
    return { kind: 'clone', data, sizeBytes: stat.sizeBytes, live };
  }
  const name = source.kind === 'volume' ? `volume ${from.volumeId}` : `snapshot ${source.snapshot.snapshotId}`;
  throw blamed('NotFound', makeCause('SourceNotFound', { source: name }));
}

/** A move copies the volume while nobody writes to it, and all of its snapshots. */
async function readMoved(context: FileContext, from: VolumeRef, path: string): Promise<CreateSource> {
  const kernel = context.volumeKernel(from);
  const volume = volumePlace(path, from.volumeId);
  const [stat, loop, names] = await Promise.all([
    kernel.stat(volume.data),
    kernel.findLoop(volume.data),
    kernel.listDirectory(volume.snapshots),
  ]);
  if (!stat) throw blamed('NotFound', makeCause('SourceNotFound', { source: `volume ${from.volumeId}` }));
  if (loop && !loop.readOnly) throw inUse(from, `its loop device ${loop.device}`);
  const snapshots: (MovedSnapshot & { readonly cutAt: string })[] = [];
  for (const snapshotId of (names ?? []).filter(isId)) {
    const place = snapshotPlace(volume, snapshotId);
    const [data, identityText] = await Promise.all([kernel.stat(place.data), kernel.readTextFile(place.identity)]);
    if (!data) continue;
    const identity = decodeSnapshot(identityText);
    snapshots.push({
      snapshotId,
      data: place.data,
      sizeBytes: data.sizeBytes,
      identityText,
      cutAt: identity.ok ? identity.value.cutAt : '',
    });
  }
  snapshots.sort((a, b) => (a.cutAt < b.cutAt ? -1 : 1));
  return { kind: 'move', data: volume.data, sizeBytes: stat.sizeBytes, snapshots };
}
