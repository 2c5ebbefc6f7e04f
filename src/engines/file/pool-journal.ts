import type { MountEntry } from '../../host/host.ts';
import { type Cause, makeCause } from '../../model/cause.ts';
import { blamed } from '../../model/errors.ts';
import type { PoolRef } from '../contract.ts';
import type { FileContext } from './context.ts';

/** They lose or damage everything when the power is cut, or have no notion of what came first. */
const neverJournaled = new Set(['ext2', 'tmpfs', 'ramfs', 'vfat', 'msdos', 'exfat']);

/**
 * Whether a power cut can damage the file system below a pool.
 *
 * @param path a directory on it
 * @returns the standing cause when the user accepts the risk
 * @throws AzekuraError FailedPrecondition with blame PoolNoJournal otherwise
 */
export async function requireJournal(context: FileContext, pool: PoolRef, path: string): Promise<Cause[]> {
  const cause = await journalCause(context, pool, path);
  if (!cause) return [];
  if (pool.acceptNoJournal || pool.trial) return [cause];
  throw blamed('FailedPrecondition', cause, { next: `${cause.nextStep}; or accept the risk with --accept-no-journal` });
}

/** The cause PoolNoJournal when it applies to the file system that holds the path. */
export async function journalCause(context: FileContext, pool: PoolRef, path: string): Promise<Cause | undefined> {
  const mount = holdingMount(await context.deps.host.mounts(), path);
  if (!mount) return undefined;
  const { filesystem, source, device } = mount;
  const isUnsafe =
    neverJournaled.has(filesystem) ||
    ((filesystem === 'ext4' || filesystem === 'ext3') && (await context.deps.host.ext4HasJournal(device)) === false);
  return isUnsafe ? makeCause('PoolNoJournal', { pool: pool.name, filesystem, device: source }) : undefined;
}

/** The mount that a path lies on: the last one with the longest target. */
function holdingMount(mounts: readonly MountEntry[], path: string): MountEntry | undefined {
  let best: MountEntry | undefined;
  for (const mount of mounts) {
    const { target } = mount;
    const holds = target === '/' || path === target || path.startsWith(`${target}/`);
    if (holds && target.length >= (best?.target.length ?? 0)) best = mount;
  }
  return best;
}
