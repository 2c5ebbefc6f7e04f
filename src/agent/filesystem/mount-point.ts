import { posix } from 'node:path';
import type { MountEntry } from '../../host/host.ts';
import type { FileStat, Kernel } from '../../host/kernel.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { AgentContext } from '../context.ts';
import { topMount } from './mount-table.ts';
import { readRecord } from './record.ts';

const forbidden = [
  '/',
  '/dev',
  '/proc',
  '/sys',
  '/run',
  '/boot',
  '/etc',
  '/usr',
  '/bin',
  '/sbin',
  '/lib',
  '/var',
  '/tmp',
  '/root',
  '/home',
];

/** Below these the kernel's own file systems live, where nobody can make a folder to mount on. */
const kernelFolders = ['/proc', '/sys', '/dev'];

/**
 * Checks a path that a user gave for a volume to be seen at, before anything is written.
 *
 * @throws AzekuraError InvalidArgument; FailedPrecondition with blame MountPointBusy
 */
export async function checkMountPoint(
  context: AgentContext,
  path: string,
  mode: 'filesystem' | 'block',
  volumeId: string,
): Promise<void> {
  checkPath(path, context.deps.dataDir);
  const record = readRecord(context, volumeId);
  if (record.publications.some((publication) => publication.path === path)) return;
  await checkFree(context, path, mode);
}

/** @throws AzekuraError InvalidArgument for a path that no volume may be put on */
export function checkPath(path: string, dataDir: string): void {
  const refuse = (problem: string) =>
    new AzekuraError('InvalidArgument', `"${path.slice(0, 128)}" cannot be a mount point: ${problem}`, {
      next: 'give an absolute path without "." and "..", outside the data folder of Azekura',
    });
  if (!path.startsWith('/')) throw refuse('it is not absolute');
  if (Buffer.byteLength(path) > 4095) throw refuse('it is longer than 4095 bytes');
  if (path.includes('\0')) throw refuse('it contains a zero byte');
  if (posix.normalize(path) !== path || (path !== '/' && path.endsWith('/')))
    throw refuse('it is not in its shortest form');
  if (forbidden.includes(path)) throw refuse('the system needs this folder itself');
  if (kernelFolders.some((folder) => path.startsWith(`${folder}/`)) && !path.startsWith('/dev/shm/'))
    throw refuse("it lies among the kernel's own files");
  if (path === dataDir || path.startsWith(`${dataDir}/`)) throw refuse('it lies in the data folder of Azekura');
}

/**
 * Checks that nothing is mounted at the path and nothing lies in it.
 *
 * @param mounts the mount table, when it has just been read
 * @returns the folders, and the path itself, that must be made for it to exist; outermost first
 * @throws AzekuraError FailedPrecondition with blame MountPointBusy
 */
export async function checkFree(
  context: AgentContext,
  path: string,
  mode: 'filesystem' | 'block',
  mounts?: readonly MountEntry[],
): Promise<readonly string[]> {
  const busy = (problem: string) => blamed('FailedPrecondition', makeCause('MountPointBusy', { path, problem }));
  const mount = topMount(mounts ?? (await context.deps.host.mounts()), path);
  if (mount) throw busy(`${mount.source} (${mount.filesystem}) is mounted there`);
  const kernel = context.ownKernel;
  // All at once, each for what is there mostly: an empty folder, or nothing in a folder.
  const looks = [
    { call: 'stat', args: [path] },
    { call: 'stat', args: [posix.dirname(path)] },
  ] as const;
  const inside = { call: 'listDirectory', args: [path] } as const;
  const [stat, parent, listed] =
    mode === 'filesystem'
      ? await kernel.batch([...looks, inside]).catch(() => kernel.batch(looks))
      : await kernel.batch(looks);
  if (!stat) return [...(await missingParents(kernel, posix.dirname(path), parent, busy)), path];
  if (mode === 'block') {
    if (stat.kind !== 'file' || stat.sizeBytes > 0)
      throw busy('a raw block volume needs an empty file, or nothing, there');
    return [];
  }
  if (stat.kind !== 'directory') throw busy('it is not a folder');
  const names = listed ?? (await kernel.listDirectory(path)) ?? [];
  if (names.length > 0) throw busy('it is not empty');
  return [];
}

/** @param first what stands at the innermost folder */
async function missingParents(
  kernel: Kernel,
  innermost: string,
  first: FileStat | undefined,
  busy: (problem: string) => AzekuraError,
): Promise<string[]> {
  const missing: string[] = [];
  let stat = first;
  for (let folder = innermost; folder !== '/'; folder = posix.dirname(folder)) {
    if (folder !== innermost) stat = await kernel.stat(folder);
    if (!stat) {
      missing.unshift(folder);
      continue;
    }
    // A link in the middle of a path is followed by the kernel; a folder behind it is as good as any.
    if (stat.kind !== 'directory' && stat.kind !== 'symlink') throw busy(`${folder} is not a folder`);
    break;
  }
  return missing;
}
