import { z } from 'zod';
import type { Steps } from '../../lib/steps.ts';
import type { RunResult } from '../../lib/work-queue.ts';
import { makeCause } from '../../model/cause.ts';
import { blamed, toAzekuraError } from '../../model/errors.ts';
import { type AgentContext, keys } from '../context.ts';
import { topMount } from '../filesystem/mount-table.ts';

/** A freeze never lasts longer; what cannot be cut within it is given up. */
export const freezeDeadlineMs = 10_000;
const sweepEveryMs = 30_000;
/** While a freeze hangs in the kernel it may still come true: it is looked after more often. */
const sweepHungMs = 2_000;

/** A mounted file system that is to be held still. */
export interface FreezeTarget {
  readonly volumeId: string;
  readonly volumeName: string;
  readonly mountPoint: string;
}

/** Written before a file system is frozen, removed after it is thawed. */
const FreezeIntent = z.object({ version: z.literal(1), volumeId: z.string(), mountPoint: z.string(), at: z.string() });

const folder = (context: AgentContext) => `${context.runDir}/freezes`;
const intentPath = (context: AgentContext, volumeId: string) => `${folder(context)}/${volumeId}.json`;

/**
 * Writes down that these file systems will be frozen, so that a sweep finds them after a crash. An intent that is there
 * already is of a freeze that has been given up: it must be over first, or it would be taken for somebody else's.
 *
 * @throws AzekuraError Aborted with blame FreezeTimedOut while an earlier freeze has not come back
 */
export async function recordFreezes(context: AgentContext, targets: readonly FreezeTarget[]): Promise<void> {
  for (const { volumeId, volumeName: volume, mountPoint } of targets) {
    const earlier = await context.ownKernel.readTextFile(intentPath(context, volumeId));
    if (earlier !== undefined && !(await thawOne(context, volumeId, mountPoint)))
      throw blamed('Aborted', makeCause('FreezeTimedOut', { volume, seconds: freezeDeadlineMs / 1_000 }));
    context.activeFreezes.add(volumeId);
    const text = `${JSON.stringify({ version: 1, volumeId, mountPoint, at: context.now })}\n`;
    await context.ownKernel.writeTextFile(intentPath(context, volumeId), text, 0o600);
  }
  if (targets.length > 0) context.trigger(keys.sweep, sweepEveryMs);
}

/**
 * Freezes all at once. When one fails, the caller thaws all of them.
 *
 * @throws AzekuraError Aborted with blame FreezeTimedOut; FailedPrecondition with blame Frozen
 */
export async function freezeAll(context: AgentContext, steps: Steps, targets: readonly FreezeTarget[]): Promise<void> {
  const outcomes = await Promise.allSettled(
    targets.map((target) => steps.run('agent.snapshot.freeze', () => freezeOne(context, target))),
  );
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}

async function freezeOne(context: AgentContext, target: FreezeTarget): Promise<void> {
  const { volumeId, volumeName: volume, mountPoint: path } = target;
  try {
    await context.deps.host.kernel(`freeze/${volumeId}`, { deadlineMs: freezeDeadlineMs }).freeze(path);
  } catch (error) {
    const known = toAzekuraError(error);
    if (known.blame?.code === 'HungCall')
      throw blamed('Aborted', makeCause('FreezeTimedOut', { volume, seconds: freezeDeadlineMs / 1_000 }), {
        cause: error,
      });
    if (known.details.errno === 'EBUSY') {
      // Somebody else's freeze is not ours to thaw.
      await forget(context, volumeId);
      throw blamed('FailedPrecondition', makeCause('Frozen', { volume, path }), { cause: error });
    }
    throw error;
  }
}

/** Thaws all that are written down; what cannot be thawed now is left to the sweep. Never throws. */
export async function thawAll(context: AgentContext, steps: Steps, targets: readonly FreezeTarget[]): Promise<void> {
  await Promise.all(
    targets.map(async ({ volumeId, mountPoint }) => {
      try {
        if (!context.activeFreezes.has(volumeId)) return;
        await steps.run('agent.snapshot.thaw', () => thawOne(context, volumeId, mountPoint));
      } catch (err) {
        context.deps.log.error({ err, volumeId }, 'a file system could not be thawed; the sweep tries again');
        context.trigger(keys.sweep, sweepHungMs);
      } finally {
        context.activeFreezes.delete(volumeId);
      }
    }),
  );
}

/** @returns whether the freeze is surely over */
async function thawOne(context: AgentContext, volumeId: string, mountPoint: string): Promise<boolean> {
  const { host } = context.deps;
  if (topMount(await host.mounts(), mountPoint))
    await host.kernel(`thaw/${volumeId}`, { deadlineMs: freezeDeadlineMs }).thaw(mountPoint);
  // A freeze that was abandoned can still be granted after the thaw: the intent stays until the kernel has answered.
  if (host.hungCalls().some((call) => call.domain === `freeze/${volumeId}`)) {
    context.trigger(keys.sweep, sweepHungMs);
    return false;
  }
  await forget(context, volumeId);
  return true;
}

async function forget(context: AgentContext, volumeId: string): Promise<void> {
  context.activeFreezes.delete(volumeId);
  await context.ownKernel.removeTree(intentPath(context, volumeId));
}

/** Thaws what a crash or a hang has left frozen; comes back while there is something left. */
export async function sweepFreezes(context: AgentContext): Promise<RunResult> {
  const names = (await context.ownKernel.listDirectory(folder(context))) ?? [];
  let left = 0;
  let hung = false;
  for (const name of names.filter((one) => one.endsWith('.json'))) {
    const volumeId = name.slice(0, -'.json'.length);
    if (context.activeFreezes.has(volumeId)) {
      left++;
      continue;
    }
    try {
      const text = await context.ownKernel.readTextFile(`${folder(context)}/${name}`);
      const mountPoint = text === undefined ? undefined : intentOf(text)?.mountPoint;
      if (mountPoint === undefined) await forget(context, volumeId);
      else if (await thawOne(context, volumeId, mountPoint))
        context.deps.log.warn({ volumeId, mountPoint }, 'thawed a freeze that was left behind');
      else hung = true;
    } catch (err) {
      hung = true;
      context.deps.log.error({ err, volumeId }, 'a freeze that was left behind could not be thawed');
    }
  }
  if (hung) return { againAfterMs: sweepHungMs };
  return left > 0 ? { againAfterMs: sweepEveryMs } : undefined;
}

/** A half-written intent was never followed by a freeze. */
function intentOf(text: string): z.infer<typeof FreezeIntent> | undefined {
  try {
    return FreezeIntent.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
