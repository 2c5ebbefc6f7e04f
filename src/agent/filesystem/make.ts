import { makeFilesystem } from '../../host/mkfs.ts';
import type { Steps } from '../../lib/steps.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { AgentContext } from '../context.ts';

/** A volume that has never been formatted. */
export interface BlankVolume {
  readonly volumeId: string;
  readonly volumeName: string;
  readonly device: string;
  readonly readOnly: boolean;
  readonly filesystem: 'xfs' | 'ext4';
  /**
   * What stands on it. discardable: nothing, once it is discarded. noise: whatever decryption makes of it, also after a
   * discard. remains: what others have left.
   */
  readonly content: 'discardable' | 'noise' | 'remains';
  /** Notes durably that the volume has a file system. */
  markFormatted(): Promise<void>;
}

const clearDeadlineMs = 60_000;

/**
 * Formats a volume whose engine says that nobody has ever mounted it, over whatever an interrupted attempt has left, and
 * has that noted before it can be mounted. Nothing else in Azekura runs mkfs on a volume.
 *
 * @throws AzekuraError FailedPrecondition when it may not be written to
 */
export async function formatBlank(context: AgentContext, steps: Steps, volume: BlankVolume): Promise<void> {
  const { device, filesystem, readOnly, volumeId, volumeName } = volume;
  const { host } = context.deps;
  if (readOnly)
    throw new AzekuraError(
      'FailedPrecondition',
      `volume ${volumeName} has no file system yet, and it is attached read-only`,
      { next: 'mount it for writing first' },
    );
  const domain = `volume/${volumeId}`;
  // A thin volume of which nothing is allocated reads as zeroes; mkfs writes less then.
  const zeroed =
    volume.content === 'discardable' &&
    (await steps.run('agent.filesystem.clear', () => discardAll(context, device, domain)));
  const content = zeroed ? 'zero' : volume.content === 'noise' ? 'noise' : 'remains';
  await steps.run('agent.filesystem.make', () => makeFilesystem(host, { device, filesystem, content, domain }));
  await steps.run('agent.filesystem.sync', () => context.volumeKernel(volumeId).sync(device));
  await steps.run('agent.filesystem.mark', () => volume.markFormatted());
}

/** @returns whether the device takes discards */
async function discardAll(context: AgentContext, device: string, domain: string): Promise<boolean> {
  try {
    await context.deps.host.exec(['blkdiscard', '--force', device], { deadlineMs: clearDeadlineMs, domain });
    return true;
  } catch (err) {
    context.deps.log.debug({ err, device }, 'the device takes no discards');
    return false;
  }
}
