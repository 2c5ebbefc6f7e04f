import type { Kernel } from '../../host/kernel.ts';
import { hasCode } from '../../model/errors.ts';
import type { CreateVolume, EngineVolumes, VolumeIdentity, VolumeRef } from '../contract.ts';
import { runPlan, runStep } from './apply.ts';
import { attachVolume, detachVolume, glanceAtVolume, takeOver } from './attach.ts';
import { type FileContext, lookIn, requireDetached, requirePool, volumeMissing } from './context.ts';
import { step } from './effects.ts';
import { decodeVolume, encodeVolume } from './format.ts';
import { movePlace, recycledPlace, volumePlace, workPlace } from './layout.ts';
import { fixSource } from './move.ts';
import { observeVolume } from './observe.ts';
import { type PlaceView, planDelete, planExpand, planRecycle, planRestoreRecycled } from './plan.ts';
import { type CreateSource, planCreate } from './plan-create.ts';
import { readCreateSource } from './source.ts';

/** Volumes of a file pool. Each method looks, plans and carries out. */
export function fileVolumes(
  context: FileContext,
): Required<Omit<EngineVolumes, 'configure' | 'markFormatted' | 'changeKey'>> {
  return {
    create: (request) => createVolume(context, request),
    observe: (volume) => observeVolume(context, volume),
    usage: (volume) => usage(context, volume),
    setIdentity: (volume, identity) => setIdentity(context, volume, identity),
    expand: (volume, sizeBytes) => expand(context, volume, sizeBytes),
    attach: (volume, options) => attachVolume(context, volume, options),
    glance: (volume) => glanceAtVolume(context, volume),
    detach: (volume) => detachVolume(context, volume),
    takeOver: (from, to) => takeOver(context, from, to),
    delete: (volume) => remove(context, volume),
    companionFolder: async (volume) => volumePlace(await requirePool(context, volume.pool), volume.volumeId).folder,
    recycle: (volume, until) => recycle(context, volume, until),
    restoreRecycled: (volume, identity) => restoreRecycled(context, volume, identity),
  };
}

async function createVolume(context: FileContext, request: CreateVolume): Promise<void> {
  const { volume, identity } = request;
  const path = context.poolPath(volume.pool);
  const kernel = context.volumeKernel(volume);
  const view = await look(context, volume, kernel, 'create');
  const source = view.present ? ({ kind: 'blank' } as const) : await sourceOf(context, request);
  await runPlan(context, volume.pool, kernel, planCreate(path, identity, { ...view, source }));
}

async function sourceOf(context: FileContext, request: CreateVolume): Promise<CreateSource> {
  const source = await readCreateSource(context, request);
  if (source.kind !== 'move' || request.source?.kind !== 'move') return source;
  const fixed = await fixSource(context, request.source.volume, request.volume, source);
  return fixed ? { ...source, fixed } : source;
}

/** What stands in the places where the volume can be. */
async function look(
  context: FileContext,
  volume: VolumeRef,
  kernel: Kernel,
  work: 'create' | 'delete',
): Promise<PlaceView & { readonly identityText: string | undefined; readonly unfinished: readonly string[] }> {
  const path = context.poolPath(volume.pool);
  const place = volumePlace(path, volume.volumeId);
  // Of a move that will not come to its end: in the pool that the volume leaves, and in the one to which it was to go.
  const unfinished = [movePlace(path, volume.volumeId).folder, workPlace(path, 'create', volume.volumeId).folder];
  const [present, recycled, leftover, identityText, base, copy] = await lookIn(context, volume.pool, kernel, [
    { call: 'stat', args: [place.folder] },
    { call: 'stat', args: [recycledPlace(path, volume.volumeId).folder] },
    { call: 'stat', args: [workPlace(path, work, volume.volumeId).folder] },
    { call: 'readTextFile', args: [place.identity] },
    { call: 'stat', args: [unfinished[0] ?? ''] },
    { call: 'stat', args: [unfinished[1] ?? ''] },
  ]);
  return {
    present: present !== undefined,
    recycled: recycled !== undefined,
    leftover: leftover !== undefined,
    identityText,
    unfinished: unfinished.filter((_, index) => [base, copy][index] !== undefined),
  };
}

async function usage(context: FileContext, volume: VolumeRef) {
  const path = await requirePool(context, volume.pool);
  const kernel = context.volumeKernel(volume);
  for (const place of [volumePlace(path, volume.volumeId), recycledPlace(path, volume.volumeId)]) {
    if (!(await kernel.stat(place.data))) continue;
    const { exclusiveBytes, sharedBytes, extents } = await kernel.extentUsage(place.data, { sync: true });
    return { exclusiveBytes, sharedBytes, extents };
  }
  throw volumeMissing(volume);
}

async function setIdentity(context: FileContext, volume: VolumeRef, identity: VolumeIdentity): Promise<void> {
  const path = await requirePool(context, volume.pool);
  const kernel = context.volumeKernel(volume);
  const text = encodeVolume(identity);
  for (const place of [volumePlace(path, volume.volumeId), recycledPlace(path, volume.volumeId)]) {
    if (!(await kernel.stat(place.folder))) continue;
    if ((await readOrNothing(kernel.readTextFile(place.identity))) === text) return;
    const effect = { do: 'write', path: place.identity, text, durable: true } as const;
    return runStep(context, volume.pool, kernel, step('identity.write', effect));
  }
  throw volumeMissing(volume);
}

/** An identity file that cannot even be read (too long, no file) is written anew like a damaged one. */
async function readOrNothing(reading: Promise<string | undefined>): Promise<string | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (hasCode(error, 'Unavailable')) throw error;
    return undefined;
  }
}

async function expand(context: FileContext, volume: VolumeRef, sizeBytes: number): Promise<void> {
  const place = volumePlace(context.poolPath(volume.pool), volume.volumeId);
  const kernel = context.volumeKernel(volume);
  const [stat, text, loop] = await lookIn(context, volume.pool, kernel, [
    { call: 'stat', args: [place.data] },
    { call: 'readTextFile', args: [place.identity] },
    { call: 'findLoop', args: [place.data] },
  ]);
  if (!stat) throw volumeMissing(volume);
  const identity = decodeVolume(text);
  const plan = planExpand(place, sizeBytes, {
    sizeBytes: stat.sizeBytes,
    identity: identity.ok ? identity.value : undefined,
    thick: identity.ok && identity.value.provisioning === 'thick',
    loop,
  });
  await runPlan(context, volume.pool, kernel, plan);
}

async function remove(context: FileContext, volume: VolumeRef): Promise<void> {
  const path = context.poolPath(volume.pool);
  const kernel = context.volumeKernel(volume);
  const view = await look(context, volume, kernel, 'delete');
  if (view.present) await requireDetached(context, volume);
  await runPlan(context, volume.pool, kernel, planDelete(path, volume.volumeId, view));
}

async function recycle(
  context: FileContext,
  volume: VolumeRef,
  until: { readonly deletedAt: string; readonly expiresAt: string },
): Promise<void> {
  const path = context.poolPath(volume.pool);
  const kernel = context.volumeKernel(volume);
  const view = await look(context, volume, kernel, 'delete');
  if (!view.present) {
    if (view.recycled) return;
    throw volumeMissing(volume);
  }
  await requireDetached(context, volume);
  const identity = decodeVolume(view.identityText);
  const recycled = identity.ok ? { ...identity.value, recycled: until } : undefined;
  await runPlan(context, volume.pool, kernel, planRecycle(path, volume.volumeId, recycled, view));
}

async function restoreRecycled(context: FileContext, volume: VolumeRef, identity: VolumeIdentity): Promise<void> {
  const kernel = context.volumeKernel(volume);
  const view = await look(context, volume, kernel, 'delete');
  if (!view.present && !view.recycled) throw volumeMissing(volume);
  const { recycled: _, ...taken } = identity;
  const plan = planRestoreRecycled(context.poolPath(volume.pool), taken, view);
  await runPlan(context, volume.pool, kernel, plan);
}
