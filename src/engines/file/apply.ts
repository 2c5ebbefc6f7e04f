import type { BatchCall, Kernel } from '../../host/kernel.ts';
import { newUid } from '../../lib/id.ts';
import { AzekuraError, hasCode } from '../../model/errors.ts';
import type { PoolRef } from '../contract.ts';
import { blamePoolFull, type FileContext } from './context.ts';
import { catchUp, copyChanges, copyFile, copyOn } from './copy.ts';
import type { Effect, Plan, Step } from './effects.ts';
import { encodeNote } from './move-note.ts';
import { thinExtentBytes } from './template-options.ts';
import { ensureTemplate } from './templates.ts';
import { clonePieces } from './two-pass.ts';

/**
 * Carries out a plan, one named step after the other.
 *
 * @param kernel of the volume or pool that the plan is about
 * @throws AzekuraError ResourceExhausted with blame PoolFull when the pool has no room; others as Kernel's
 */
export async function runPlan(context: FileContext, pool: PoolRef, kernel: Kernel, plan: Plan): Promise<void> {
  for (let at = 0; at < plan.length; ) {
    const name = plan[at]?.name ?? '';
    let end = at + 1;
    while (plan[end]?.name === name) end++;
    const effects = plan.slice(at, end).map((step) => step.effect);
    await context.deps.steps.run(name, () => applyAll(context, pool, kernel, effects));
    at = end;
  }
}

/** One step of a plan, alone. */
export async function runStep(context: FileContext, pool: PoolRef, kernel: Kernel, step: Step): Promise<void> {
  await runPlan(context, pool, kernel, [step]);
}

async function applyAll(
  context: FileContext,
  pool: PoolRef,
  kernel: Kernel,
  effects: readonly Effect[],
): Promise<void> {
  try {
    const calls = effects.map(callOf);
    if (calls.every((call) => call !== undefined)) await applyBatch(context, pool, kernel, effects, calls);
    else for (const effect of effects) await apply(context, pool, kernel, effect);
  } catch (error) {
    if (hasCode(error, 'Unimplemented') && effects.some((effect) => effect.do === 'allocate'))
      throw needsXfs(pool, error);
    throw blamePoolFull(error, pool, wantedBytes(effects));
  }
}

function needsXfs(pool: PoolRef, cause: unknown): AzekuraError {
  return new AzekuraError(
    'Unimplemented',
    `pool ${pool.name} cannot give a clone blocks of its own, which a thick volume needs`,
    {
      next: 'make the volume thin, or use a pool on XFS',
      cause,
    },
  );
}

/** All effects in one round trip. When a template was missing it is made, and all of them are repeated. */
async function applyBatch(
  context: FileContext,
  pool: PoolRef,
  kernel: Kernel,
  effects: readonly Effect[],
  calls: readonly BatchCall[],
): Promise<void> {
  try {
    await kernel.batch(calls);
  } catch (error) {
    const template = effects.find((effect) => effect.do === 'template');
    if (!template || !hasCode(error, 'NotFound')) throw error;
    await ensureTemplate(context, pool, template.filesystem, template.sizeBytes);
    await kernel.batch(calls);
  }
}

async function apply(context: FileContext, pool: PoolRef, kernel: Kernel, effect: Effect): Promise<void> {
  const call = callOf(effect);
  if (call) return applyBatch(context, pool, kernel, [effect], [call]);
  const { progress } = context.deps.steps;
  if (effect.do === 'clone') await cloneLive(kernel, effect);
  else if (effect.do === 'copy') await copyFile(kernel, effect, hint(effect.hinted), progress);
  else if (effect.do === 'copyChanges') await copyChanges(kernel, effect, hint(effect.hinted), progress);
  else if (effect.do === 'catchUp') await catchUp(kernel, effect, progress);
  else if (effect.do === 'copyOn') {
    const { path, token } = effect.note;
    const note = (copiedBytes: number) =>
      context.deps.steps.run('file.create.move-note', () =>
        kernel.writeTextFile(path, encodeNote({ token, copiedBytes, snapshotIds: [] })),
      );
    await copyOn(kernel, effect, hint(effect.hinted), progress, note);
  } else if (effect.do === 'freshUuid') await freshUuidWhenClean(kernel, effect);
}

/** In two passes; the hint has to be set while the file is empty. */
async function cloneLive(kernel: Kernel, effect: EffectOf<'clone'>): Promise<void> {
  await kernel.createSparse(effect.to, (await kernel.stat(effect.from))?.sizeBytes ?? 0, hint(effect.hinted));
  await clonePieces(kernel, effect.from, effect.to);
  await kernel.clone(effect.from, effect.to, hint(effect.hinted));
}

/** The kernel call of an effect that is no more than one. */
function callOf(effect: Effect): BatchCall | undefined {
  switch (effect.do) {
    case 'folder':
      return { call: 'makeDirectory', args: [effect.path, 0o755, { sync: effect.durable }] };
    case 'sparse':
      return { call: 'createSparse', args: [effect.path, effect.sizeBytes, hint(effect.hinted)] };
    case 'allocate':
      return { call: 'allocate', args: [effect.path, effect.sizeBytes, { unshare: effect.unshare }] };
    case 'truncate':
      return { call: 'truncate', args: [effect.path, effect.sizeBytes] };
    case 'template':
      return { call: 'clone', args: [effect.from, effect.to, { sync: false, touch: true, ...hint(effect.hinted) }] };
    case 'clone':
      return effect.live ? undefined : { call: 'clone', args: [effect.from, effect.to, hint(effect.hinted)] };
    case 'freshUuid':
      if (!effect.fresh) return undefined;
      return { call: 'setFilesystemUuid', args: [effect.path, effect.filesystem, newUid(), { sync: false }] };
    case 'write':
      return { call: 'writeTextFile', args: [effect.path, effect.text, 0o644, { sync: effect.durable }] };
    case 'rename':
      return {
        call: 'rename',
        args: [effect.from, effect.to, { replace: effect.replace ?? false, contents: effect.contents ?? false }],
      };
    case 'remove':
      return { call: 'removeTree', args: [effect.path] };
    case 'resizeLoop':
      return { call: 'resizeLoop', args: [effect.device] };
    case 'copy':
    case 'copyOn':
    case 'copyChanges':
    case 'catchUp':
      return undefined;
  }
}

function hint(hinted: boolean): { readonly extentSizeBytes?: number } {
  return hinted ? { extentSizeBytes: thinExtentBytes } : {};
}

function wantedBytes(effects: readonly Effect[]): number {
  return Math.max(0, ...effects.map((effect) => ('sizeBytes' in effect ? effect.sizeBytes : 0)));
}

type EffectOf<K extends Effect['do']> = Extract<Effect, { do: K }>;

/**
 * Two file systems with one UUID cannot be mounted at once. A clone whose log is not replayed keeps the UUID: the agent
 * changes it after the replay.
 */
async function freshUuidWhenClean(kernel: Kernel, effect: EffectOf<'freshUuid'>): Promise<void> {
  const found = await kernel.probeFilesystem(effect.path);
  if (found?.filesystem !== effect.filesystem || !found.clean) return;
  try {
    await kernel.setFilesystemUuid(effect.path, effect.filesystem, newUid());
  } catch (error) {
    // A clone of a file system that was made elsewhere, without what a change of UUID needs, stays usable as it is.
    if (!hasCode(error, 'FailedPrecondition')) throw error;
  }
}
