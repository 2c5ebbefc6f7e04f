import type { Host, LoopDevice } from '../host/host.ts';
import type { FileStat, Kernel } from '../host/kernel.ts';
import { AzekuraError, hasCode } from '../model/errors.ts';
import { openGroup } from './group.ts';
import type { Session } from './holdings.ts';
import { defaultScratchDir } from './holdings.ts';
import type { RescueDeps } from './report.ts';
import type { Candidate, PoolView } from './view.ts';

/**
 * Makes a pool readable. A folder is read as it is. An image or disk that is mounted is read through that mount, since a
 * second look below a mounted file system would see a torn state. Else it is mounted for the time of the session on a
 * read-only loop device, without journal replay: nothing can reach the disk.
 *
 * @throws AzekuraError FailedPrecondition when it is mounted where this process cannot see it; HostFailure when the
 *   file system cannot be mounted
 */
export async function openPool(candidate: Candidate, session: Session, deps: RescueDeps): Promise<PoolView> {
  if (candidate.kind === 'group') return openGroup(candidate, deps);
  const kernel = deps.host.kernel(`rescue${candidate.place}`);
  if (candidate.kind === 'directory')
    return { candidate, root: candidate.place, kernel, journalDirty: false, live: true };
  const { host } = deps;
  const writer = await writableLoopOf(host, candidate.place, kernel);
  const mounted = await mountOf(host, candidate, writer, kernel);
  if (mounted !== undefined) return { candidate, root: mounted, kernel, journalDirty: false, live: true };
  if (writer) {
    throw new AzekuraError(
      'FailedPrecondition',
      `${candidate.place} is in use as ${writer.device}, and its mount cannot be seen from here`,
      { next: 'run the command in the mount namespace of the program that uses it, or stop that program first' },
    );
  }

  const probe = await kernel.probeFilesystem(candidate.place);
  const writable = deps.writable === true;
  const root = `${deps.scratchDir ?? defaultScratchDir}/${session.id}-pool`;
  const { device } = await kernel.attachLoop(candidate.place, { readOnly: !writable, directIo: writable });
  await session.note({ poolLoop: { device, file: candidate.place }, poolMount: root });
  await kernel.makeMountPoint(root, 'directory');
  const options = writable ? ['nouuid'] : ['ro', 'norecovery', 'nouuid'];
  try {
    await kernel.mount({ source: device, target: root, filesystem: 'xfs', options });
  } catch (error) {
    throw new AzekuraError(
      'HostFailure',
      `the file system of ${candidate.place} cannot be mounted: ${(error as Error).message}`,
      {
        next: 'copy the disk with a tool that skips bad blocks, then try xfs_repair -n and this command on the copy',
        cause: error,
      },
    );
  }
  return { candidate, root, kernel, journalDirty: !writable && probe?.clean === false, live: false };
}

async function writableLoopOf(host: Host, place: string, kernel: Kernel): Promise<LoopDevice | undefined> {
  const wanted = await kernel.stat(place);
  for (const loop of await host.loops()) {
    if (!loop.readOnly && wanted && (await isSameFile(kernel, loop.backingFile, wanted))) return loop;
  }
  return undefined;
}

/** Whether a loop device's backing file is the file; its path may be one of another mount namespace. */
export async function isSameFile(kernel: Kernel, path: string, wanted: FileStat): Promise<boolean> {
  try {
    const found = await kernel.stat(path);
    if (!found) return false;
    if (wanted.deviceNumber !== undefined) return found.deviceNumber === wanted.deviceNumber;
    return found.inode === wanted.inode && found.filesystemId === wanted.filesystemId;
  } catch (error) {
    if (hasCode(error, 'Internal')) throw error;
    return false;
  }
}

async function mountOf(
  host: Host,
  candidate: Candidate,
  writer: LoopDevice | undefined,
  kernel: Kernel,
): Promise<string | undefined> {
  const deviceNumber = writer?.deviceNumber ?? (await kernel.stat(candidate.place))?.deviceNumber;
  if (deviceNumber === undefined) return undefined;
  return (await host.mounts()).find((mount) => mount.device === deviceNumber && mount.root === '/')?.target;
}

/** Tells that a pool is seen without what its journal holds. */
export function journalWarning({ candidate }: PoolView): string {
  return (
    `${candidate.place} was not unmounted cleanly; it is read without replaying its journal, so the newest changes may be ` +
    'missing or torn. Use --writable on a copy of the disk, or when the disk may be changed, to replay it'
  );
}
