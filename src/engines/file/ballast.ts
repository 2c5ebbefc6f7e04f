import type { FilesystemStat } from '../../host/kernel.ts';
import { hasCode } from '../../model/errors.ts';
import type { PoolRef } from '../contract.ts';
import type { FileContext } from './context.ts';
import { ballastFile } from './layout.ts';

/**
 * Room set aside while there is plenty, given back at once when a pool runs full: then there is still room to delete
 * snapshots, to write identities and to let a file system finish what it began.
 */
export function ballastBytes(capacityBytes: number): number {
  return Math.min(2 ** 30, Math.floor(capacityBytes / 100 / 4096) * 4096);
}

/** Whether to fill or to release it: it comes back only when there is far more room than it takes. */
export function ballastDecision(
  present: boolean,
  { sizeBytes, availableBytes }: Pick<FilesystemStat, 'sizeBytes' | 'availableBytes'>,
): 'fill' | 'release' | 'keep' {
  const wanted = ballastBytes(sizeBytes);
  if (present) return availableBytes < wanted / 2 ? 'release' : 'keep';
  return availableBytes > wanted * 4 ? 'fill' : 'keep';
}

/** Fills or releases the ballast as the space in the pool demands. */
export async function fillBallast(context: FileContext, pool: PoolRef): Promise<'fill' | 'release' | 'keep'> {
  const kernel = context.poolKernel(pool);
  const path = context.poolPath(pool);
  const ballast = `${path}/${ballastFile}`;
  const [stat, filesystem] = await Promise.all([kernel.stat(ballast), kernel.statfs(path)]);
  const wanted = ballastBytes(filesystem.sizeBytes);
  const decision = ballastDecision(stat !== undefined && stat.allocatedBytes > 0, filesystem);
  if (decision === 'release')
    await context.deps.steps.run('file.pool.release-ballast', () => kernel.removeTree(ballast));
  if (decision === 'fill') {
    await context.deps.steps.run('file.pool.fill-ballast', async () => {
      try {
        await kernel.removeTree(ballast);
        await kernel.allocate(ballast, wanted);
      } catch (error) {
        // Somebody needed the room first.
        if (!hasCode(error, 'ResourceExhausted')) throw error;
      }
    });
  }
  return decision;
}
