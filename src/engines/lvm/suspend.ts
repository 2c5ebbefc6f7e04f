import { dmResume, dmSuspend } from '../../host/lvm/argv.ts';
import { lvmEnv } from '../../host/lvm/run.ts';
import type { VolumeRef } from '../contract.ts';
import { type LvmContext, mappedNode, mappedNodes, volumeMissing } from './context.ts';
import type { FoundGroup } from './find.ts';

/**
 * Holds back all writes to an attached volume, and brings the file system on it to rest. Let go at the deadline whatever
 * happens; what a crash leaves held, the next open() or sweep() of the pool lets go.
 *
 * @throws AzekuraError NotFound when it is not attached; DeadlineExceeded
 */
export async function suspendVolume(
  context: LvmContext,
  volume: VolumeRef,
  deadlineMs: number,
): Promise<{ resume(): Promise<void> }> {
  const { deps } = context;
  const found = await context.find(volume.pool);
  const entry = found.entries.volume(volume.volumeId);
  const node = entry && (await mappedNode(deps, found, entry.lv.id));
  const name = node?.mapped?.name;
  if (name === undefined) throw volumeMissing(volume);
  const domain = `volume/${volume.volumeId}`;
  const resume = () => deps.host.exec(dmResume(name), { deadlineMs, domain: `thaw/${volume.volumeId}`, env: lvmEnv });
  try {
    await deps.steps.run('lvm.suspend', () => deps.host.exec(dmSuspend(name), { deadlineMs, domain, env: lvmEnv }));
  } catch (error) {
    await resume().catch(() => {});
    throw error;
  }
  const cancel = deps.clock.after(deadlineMs, () => {
    resume().catch((err: unknown) => deps.log.error({ err, volume: volume.volumeId }, 'writes could not be let go'));
  });
  return {
    async resume() {
      cancel();
      await deps.steps.run('lvm.resume', resume);
    },
  };
}

/** Lets go of whatever is held in the group: nobody holds anything when an agent starts. */
export async function resumeAll(context: LvmContext, found: FoundGroup): Promise<readonly string[]> {
  const { deps } = context;
  const resumed: string[] = [];
  for (const { mapped } of (await mappedNodes(deps, found)).values()) {
    if (!mapped?.suspended) continue;
    await deps.steps.run('lvm.sweep.resume', () =>
      deps.host.exec(dmResume(mapped.name), { domain: `thaw/${mapped.name}`, env: lvmEnv }),
    );
    resumed.push(`let writes to ${mapped.name} go on`);
  }
  return resumed;
}
