import type { Engine, VolumeRef } from '../../engines/contract.ts';
import { formatBytes } from '../../lib/quantity.ts';
import type { Steps } from '../../lib/steps.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { Replica } from '../../model/kinds.ts';
import type { AgentContext } from '../context.ts';
import { poolIsShort, poolRoom } from '../pool/room.ts';

/** A check of a large file system takes its time; it is contained to its volume. */
const deadlineMs = 6 * 3_600_000;

/**
 * Checks and repairs the file system of a detached volume.
 *
 * Never while the pool is short of space: a repair that cannot write clears what it cannot keep.
 *
 * @returns one sentence on what was found
 * @throws AzekuraError ResourceExhausted with blame PoolFull; FailedPrecondition for raw block volumes
 */
export async function repairFilesystem(
  context: AgentContext,
  steps: Steps,
  engine: Engine,
  replica: Replica,
  volume: VolumeRef,
): Promise<string> {
  const { spec } = replica;
  if (spec.mode === 'block')
    throw new AzekuraError(
      'FailedPrecondition',
      `volume ${spec.volumeName} is a raw block volume: it has no file system of ours`,
    );
  if (poolIsShort(context, spec.poolName)) {
    const free = formatBytes(poolRoom(context, spec.poolName)?.spareBytes ?? 0);
    throw blamed(
      'ResourceExhausted',
      makeCause('PoolFull', { pool: spec.poolName, wanted: 'room for a repair', free }),
    );
  }
  const { device } = await steps.run('agent.repair.attach', () => engine.volumes.attach(volume, { readOnly: false }));
  try {
    const found = await context.volumeKernel(spec.volumeId).probeFilesystem(device);
    const filesystem = found?.filesystem ?? spec.policy.filesystem;
    if (filesystem === 'ext4')
      return await steps.run('agent.repair.check', () => repairExt4(context, spec.volumeId, device));
    if (filesystem === 'xfs')
      return await steps.run('agent.repair.check', () => repairXfs(context, replica, device, found?.clean ?? false));
    throw new AzekuraError(
      'FailedPrecondition',
      `volume ${spec.volumeName} holds ${filesystem}, which Azekura cannot repair`,
    );
  } finally {
    await steps.run('agent.repair.detach', () => engine.volumes.detach(volume));
  }
}

/** Exit codes of e2fsck(8): 0 clean, 1 and 2 corrected, 4 not corrected, 8 and above did not work. */
async function repairExt4(context: AgentContext, volumeId: string, device: string): Promise<string> {
  const argv = ['e2fsck', '-f', '-y', device] as const;
  const { exitCode } = await context.deps.host.exec(argv, {
    deadlineMs,
    domain: `volume/${volumeId}`,
    okExitCodes: [1, 2, 4],
  });
  if (exitCode === 0) return 'the file system is clean';
  return exitCode === 4 ? 'errors are left that e2fsck could not correct' : 'errors were found and corrected';
}

/** xfs_repair(8) wants the journal replayed by a mount first; it says what it does to standard error. */
async function repairXfs(context: AgentContext, replica: Replica, device: string, clean: boolean): Promise<string> {
  const { volumeId } = replica.spec;
  const { host } = context.deps;
  if (!clean) await replay(context, volumeId, device);
  const options = { deadlineMs, domain: `volume/${volumeId}` };
  const check = await host.exec(['xfs_repair', '-n', device], { ...options, okExitCodes: [1, 2] });
  if (check.exitCode === 0) return 'the file system is clean';
  await host.exec(['xfs_repair', device], options);
  return 'errors were found and corrected';
}

const replayPoint = (context: AgentContext, volumeId: string) => `${context.runDir}/repair-${volumeId}`;

/** Takes away the mount of a replay that was interrupted; does nothing when there is none. */
export async function unmountReplay(context: AgentContext, volumeId: string): Promise<void> {
  const kernel = context.volumeKernel(volumeId);
  await kernel.unmount(replayPoint(context, volumeId));
  await kernel.removeMountPoint(replayPoint(context, volumeId));
}

async function replay(context: AgentContext, volumeId: string, device: string): Promise<void> {
  const kernel = context.volumeKernel(volumeId);
  const target = replayPoint(context, volumeId);
  await kernel.makeMountPoint(target, 'directory');
  try {
    await kernel.mount({ source: device, target, filesystem: 'xfs', options: ['nouuid'] });
    await kernel.unmount(target);
  } catch (err) {
    context.deps.log.warn({ err, volumeId }, 'the journal cannot be replayed; xfs_repair decides');
  } finally {
    await kernel.removeMountPoint(target);
  }
}
