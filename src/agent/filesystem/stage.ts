import { createHash } from 'node:crypto';
import type { FilesystemStat, Kernel, ProbedFilesystem } from '../../host/kernel.ts';
import type { Steps } from '../../lib/steps.ts';
import { type Cause, makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed, toAzekuraError } from '../../model/errors.ts';
import type { AgentContext } from '../context.ts';
import { growUnmounted } from './growth.ts';

/** The file system of a volume on its device, and how it is to be mounted. */
export interface StageRequest {
  readonly volumeId: string;
  readonly volumeName: string;
  readonly device: string;
  /** What is on it, when somebody has just looked. */
  readonly found?: ProbedFilesystem | undefined;
  readonly deviceBytes: number;
  readonly target: string;
  readonly readOnly: boolean;
  readonly options: readonly string[];
  /** Made from another volume's bytes: it needs a UUID of its own, or XFS will not mount it beside its origin. */
  readonly clone: boolean;
  /** Whether the pool is into its reserve: then nothing is repaired. */
  readonly poolShort: boolean;
}

export type MountableFilesystem = 'xfs' | 'ext4';

/** What was mounted. */
export interface Staged {
  readonly filesystem: MountableFilesystem;
  /** As the superblock says; a journal that was replayed since may have made it larger. */
  readonly sizeBytes: number;
  readonly causes: readonly Cause[];
  /** As it is seen after the mount. */
  readonly space: FilesystemStat;
}

/**
 * Mounts the volume's file system at the staging path.
 *
 * @returns the kind of file system, its size in bytes before it was mounted, and what is worth knowing
 * @throws AzekuraError FailedPrecondition with blame FilesystemNeedsCheck or MountFailed
 */
export async function stage(context: AgentContext, steps: Steps, request: StageRequest): Promise<Staged> {
  const { volumeId, volumeName, device, readOnly } = request;
  const kernel = context.volumeKernel(volumeId);
  const found = request.found ?? (await kernel.probeFilesystem(device));
  if (found?.filesystem !== 'xfs' && found?.filesystem !== 'ext4') {
    const problem = found
      ? `it holds ${found.filesystem}, which is not one that Azekura makes`
      : 'no file system is found on its device';
    throw blamed('FailedPrecondition', makeCause('FilesystemNeedsCheck', { volume: volumeName, problem }));
  }
  const { filesystem } = found;
  const causes: Cause[] = [];
  if (!readOnly) {
    if (request.clone && found.uuid !== freshUuid(volumeId))
      await steps.run('agent.mount.fresh-uuid', () => giveFreshUuid(context, kernel, request, filesystem, found.clean));
    if (filesystem === 'ext4' && found.sizeBytes < request.deviceBytes)
      causes.push(...(await growUnmounted(context, steps, request)));
  }
  const space = await steps.run('agent.mount.stage', () => mountWithFallback(kernel, request, filesystem));
  return { filesystem, sizeBytes: found.sizeBytes, causes, space };
}

/**
 * The UUID that a clone's file system gets: made from the volume's id, so that it can be seen at any time whether it has
 * been given already (RFC 9562, version 8).
 */
export function freshUuid(volumeId: string): string {
  const hex = createHash('sha256').update(`filesystem of ${volumeId}`).digest('hex');
  const variant = ((Number.parseInt(hex.slice(16, 18), 16) & 0x3f) | 0x80).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(18, 20)}-${hex.slice(20, 32)}`;
}

/** A journal holds the old UUID, so it must be replayed first, which takes a mount. Without success the mount goes by nouuid. */
async function giveFreshUuid(
  context: AgentContext,
  kernel: Kernel,
  request: StageRequest,
  filesystem: MountableFilesystem,
  clean: boolean,
): Promise<void> {
  const { volumeId, device, target } = request;
  try {
    if (!clean)
      await kernel.batch([
        { call: 'makeMountPoint', args: [target, 'directory'] },
        {
          call: 'mount',
          args: [{ source: device, target, filesystem, options: filesystem === 'xfs' ? ['nouuid'] : [] }],
        },
        { call: 'unmount', args: [target] },
      ]);
    await kernel.setFilesystemUuid(device, filesystem, freshUuid(volumeId));
  } catch (err) {
    if (toAzekuraError(err).blame?.code === 'HungCall') throw err;
    context.deps.log.warn({ err, volumeId }, 'the clone keeps the UUID of its origin');
  }
}

async function mountWithFallback(
  kernel: Kernel,
  request: StageRequest,
  filesystem: MountableFilesystem,
): Promise<FilesystemStat> {
  const { device, target, readOnly, volumeName } = request;
  const base = [...request.options.filter((option) => option !== 'ro' && option !== 'rw'), ...(readOnly ? ['ro'] : [])];
  const attempts: string[][] = [base];
  if (filesystem === 'xfs') attempts.push([...base, 'nouuid']);
  // A read-only device cannot take the journal's replay: it is shown as it lies there.
  if (readOnly) attempts.push([...base, ...(filesystem === 'xfs' ? ['nouuid', 'norecovery'] : ['noload'])]);
  let failure: AzekuraError | undefined;
  for (const options of attempts) {
    try {
      const [, , space] = await kernel.batch([
        { call: 'makeMountPoint', args: [target, 'directory'] },
        { call: 'mount', args: [{ source: device, target, filesystem, options }] },
        { call: 'statfs', args: [target] },
      ]);
      return space;
    } catch (error) {
      failure = toAzekuraError(error);
      if (failure.details.errno !== 'EINVAL' && failure.details.errno !== 'EROFS') break;
    }
  }
  throw mountError(volumeName, failure ?? new AzekuraError('Internal', 'nothing was tried'));
}

function mountError(volume: string, error: AzekuraError): AzekuraError {
  if (error.blame?.code === 'HungCall') return error;
  const damaged = error.details.errno === 'EUCLEAN';
  const cause = makeCause(damaged ? 'FilesystemNeedsCheck' : 'MountFailed', { volume, problem: error.message });
  return blamed('FailedPrecondition', cause, { cause: error });
}
