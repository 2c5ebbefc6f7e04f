import type { Steps } from '../../lib/steps.ts';
import { type Cause, makeCause } from '../../model/cause.ts';
import { toAzekuraError } from '../../model/errors.ts';
import type { AgentContext } from '../context.ts';

/** ext4's online growth needs this capability (EXT4_IOC_RESIZE_FS); XFS' does not. */
const growCapability = 'CAP_SYS_RESOURCE';
const checkDeadlineMs = 15 * 60_000;

/** Who asks for growth, for messages. */
export interface GrowthSubject {
  readonly volumeId: string;
  readonly volumeName: string;
}

/**
 * Grows a mounted file system to its device; does nothing when it has that size.
 *
 * @returns FilesystemGrowthBlocked when it must wait for the next mount
 */
export async function growMounted(
  context: AgentContext,
  steps: Steps,
  subject: GrowthSubject & { readonly mountPoint: string; readonly filesystem: 'xfs' | 'ext4' },
): Promise<readonly Cause[]> {
  try {
    await steps.run('agent.filesystem.grow', () =>
      context.volumeKernel(subject.volumeId).growFilesystem(subject.mountPoint, subject.filesystem),
    );
    return [];
  } catch (error) {
    const known = toAzekuraError(error);
    if (known.code !== 'PermissionDenied') throw error;
    return [
      makeCause('FilesystemGrowthBlocked', {
        volume: subject.volumeName,
        problem: `this needs ${growCapability}, which this process has not`,
      }),
    ];
  }
}

/**
 * Grows an ext4 file system before it is mounted, where growing it afterwards is not permitted. A file system that is
 * not in order is left as it is; so is everything while the pool is short of space.
 */
export async function growUnmounted(
  context: AgentContext,
  steps: Steps,
  subject: GrowthSubject & { readonly device: string; readonly poolShort: boolean },
): Promise<readonly Cause[]> {
  const { host } = context.deps;
  if ((await host.facts()).capabilities.includes(growCapability)) return [];
  const blocked = (problem: string) => [makeCause('FilesystemGrowthBlocked', { volume: subject.volumeName, problem })];
  if (subject.poolShort) return blocked('its pool is short of space, and a check before growth may need some');
  const domain = `volume/${subject.volumeId}`;
  const options = { deadlineMs: checkDeadlineMs, domain };
  const check = await steps.run('agent.filesystem.check', () =>
    // 1: errors were corrected. 4 and above: it takes a person's decision.
    host.exec(['e2fsck', '-f', '-p', subject.device], { ...options, okExitCodes: [1, 4, 8, 12] }),
  );
  if (check.exitCode >= 4) return blocked(`a check found what it may not mend by itself: ${lastLine(check.stdout)}`);
  await steps.run('agent.filesystem.grow-unmounted', () => host.exec(['resize2fs', '-f', subject.device], options));
  return [];
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
