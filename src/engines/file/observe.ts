import { type Cause, makeCause } from '../../model/cause.ts';
import type { VolumeObservation, VolumeRef } from '../contract.ts';
import { describeAttached } from './attach.ts';
import { type FileContext, lookIn, volumeLabel } from './context.ts';
import { decodeVolume } from './format.ts';
import { isId, recycledPlace, type VolumePlace, volumePlace } from './layout.ts';

/** Looks at a volume where it is, in the pool or in its recycle bin. */
export async function observeVolume(context: FileContext, volume: VolumeRef): Promise<VolumeObservation> {
  const path = context.poolPath(volume.pool);
  const inUse = await observePlace(context, volume, volumePlace(path, volume.volumeId), false);
  if (inUse) return inUse;
  const inBin = await observePlace(context, volume, recycledPlace(path, volume.volumeId), true);
  return inBin ?? { present: false, recycled: false, sizeBytes: 0, snapshotIds: [], causes: [] };
}

async function observePlace(
  context: FileContext,
  volume: VolumeRef,
  place: VolumePlace,
  recycled: boolean,
): Promise<VolumeObservation | undefined> {
  const kernel = context.volumeKernel(volume);
  const [folder, data, text, snapshotIds, loop] = await lookIn(context, volume.pool, kernel, [
    { call: 'stat', args: [place.folder] },
    { call: 'stat', args: [place.data] },
    { call: 'readTextFile', args: [place.identity] },
    { call: 'listDirectory', args: [place.snapshots] },
    { call: 'findLoop', args: [place.data] },
  ]);
  if (!folder) return undefined;
  const identity = decodeVolume(text);
  const label = volumeLabel(volume, identity.ok ? identity.value.name : undefined);
  const causes: Cause[] = [];
  if (data?.kind !== 'file') causes.push(makeCause('BackingMissing', { volume: label, path: place.data }));
  if (!identity.ok)
    causes.push(makeCause('IdentityDamaged', { volume: label, problem: identity.problem, path: place.identity }));
  const attached = loop && describeAttached(label, place.data, loop);
  return {
    present: !recycled,
    recycled,
    sizeBytes: data?.sizeBytes ?? 0,
    ...(identity.ok ? { identity: identity.value } : {}),
    ...(attached ? { attached } : {}),
    snapshotIds: (snapshotIds ?? []).filter(isId),
    causes: [...causes, ...(attached?.causes ?? [])],
  };
}
