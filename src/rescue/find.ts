import { realpath } from 'node:fs/promises';
import { dataFile, poolFile, poolFileCopy, recycledFolder, volumesFolder } from '../engines/file/layout.ts';
import type { Host } from '../host/host.ts';
import type { FileStat, Kernel } from '../host/kernel.ts';
import { AzekuraError, toAzekuraError } from '../model/errors.ts';
import { groupCandidates } from './group.ts';
import type { Candidate } from './view.ts';

export interface Found {
  readonly candidates: readonly Candidate[];
  readonly warnings: readonly string[];
}

/** How far below a named folder pools are looked for: `<above>/<data dir>/pools/<name>`. */
const maxDepth = 3;
/** A folder with more entries than this is none of ours. */
const maxEntries = 2_000;
/** mkfs.xfs makes nothing smaller. */
const minImageBytes = 16 * 2 ** 20;
const systemFilesystems = new Set([
  'proc',
  'sysfs',
  'cgroup2',
  'devtmpfs',
  'tracefs',
  'debugfs',
  'securityfs',
  'bpf',
  'mqueue',
]);

/**
 * What could be a pool at or below a path, without opening any of it.
 *
 * @param path absolute; symbolic links are followed
 * @throws AzekuraError NotFound; FailedPrecondition when nothing there can be a pool
 */
export async function findCandidates(host: Host, path: string): Promise<Found> {
  const { real, stat } = await resolve(host, path);
  const kernel = host.kernel(`rescue${real}`);
  const warnings: string[] = [];
  let candidates: readonly Candidate[] = [];
  if (real === '/dev') {
    candidates = await groupCandidates(host);
  } else if (stat.kind === 'directory') {
    const skip = await foldersToSkip(host);
    candidates = await walk(kernel, real, 0, skip, warnings);
  } else if (stat.kind === 'file') {
    if ((await kernel.probeFilesystem(real))?.filesystem === 'xfs') candidates = [{ place: real, kind: 'image' }];
  } else if (stat.kind === 'block') {
    candidates = await devices(host, kernel, real);
  }
  if (candidates.length === 0) {
    throw new AzekuraError('FailedPrecondition', `there is no pool at ${path}`, {
      next: 'name a pool folder, a data dir, a pool image, a disk or partition that was given to Azekura, or /dev for all disks with LVM',
    });
  }
  return { candidates, warnings };
}

/** Mounts where no pool can be: those of the kernel's own file systems, and volumes, whose files are no business of ours. */
async function foldersToSkip(host: Host): Promise<ReadonlySet<string>> {
  const volumes = new Set<string>();
  for (const loop of await host.loops()) if (loop.backingFile.endsWith(`/${dataFile}`)) volumes.add(loop.deviceNumber);
  const skipped = (await host.mounts()).filter(
    ({ filesystem, device }) => systemFilesystems.has(filesystem) || volumes.has(device),
  );
  return new Set(skipped.map(({ target }) => target));
}

/** Without a symbolic link in the last part, as those of /dev/disk/by-id. */
async function resolve(host: Host, path: string): Promise<{ readonly real: string; readonly stat: FileStat }> {
  if (!path.startsWith('/')) throw new AzekuraError('InvalidArgument', `"${path}" is not an absolute path`);
  const kernelOf = (at: string) => host.kernel(`rescue${at}`);
  let real = path.length > 1 ? path.replace(/\/+$/, '') : path;
  let stat = await kernelOf(real).stat(real);
  if (stat?.kind === 'symlink') {
    real = await realpath(real).catch(() => real);
    stat = await kernelOf(real).stat(real);
  }
  if (!stat) throw new AzekuraError('NotFound', `${path} does not exist`);
  return { real, stat };
}

async function walk(
  kernel: Kernel,
  folder: string,
  depth: number,
  skip: ReadonlySet<string>,
  warnings: string[],
): Promise<Candidate[]> {
  if (skip.has(folder)) return [];
  let names: readonly string[];
  try {
    names = (await kernel.listDirectory(folder)) ?? [];
  } catch (error) {
    warnings.push(`${folder} cannot be read: ${toAzekuraError(error).message}`);
    return [];
  }
  if (looksLikePool(names)) {
    return [{ place: folder, kind: 'directory' }];
  }
  if (names.length > maxEntries) {
    if (depth === 0) warnings.push(`${folder} has ${names.length} entries; pools below it are not looked for`);
    return [];
  }
  const found: Candidate[] = [];
  for (const name of names) {
    const path = folder === '/' ? `/${name}` : `${folder}/${name}`;
    const stat = await kernel.stat(path).catch(() => undefined);
    if (stat?.kind === 'directory' && depth < maxDepth)
      found.push(...(await walk(kernel, path, depth + 1, skip, warnings)));
    const mayBeImage = stat?.kind === 'file' && stat.sizeBytes >= minImageBytes;
    if (mayBeImage && (await probesAsXfs(kernel, path))) found.push({ place: path, kind: 'image' });
  }
  return found;
}

function looksLikePool(names: readonly string[]): boolean {
  const has = (name: string) => names.includes(name);
  return has(poolFile) || has(poolFileCopy) || (has(volumesFolder) && has(recycledFolder));
}

async function probesAsXfs(kernel: Kernel, path: string): Promise<boolean> {
  return (await kernel.probeFilesystem(path).catch(() => undefined))?.filesystem === 'xfs';
}

/** The device itself, or those of its partitions that hold an XFS; the volume groups that one of them belongs to. */
async function devices(host: Host, kernel: Kernel, path: string): Promise<readonly Candidate[]> {
  if (await probesAsXfs(kernel, path)) return [{ place: path, kind: 'device' }];
  const parts = (await host.blockDevice(path))?.children ?? [];
  const found: Candidate[] = [];
  for (const part of parts) {
    if (await probesAsXfs(kernel, part)) found.push({ place: part, kind: 'device' });
  }
  return [...found, ...(await groupCandidates(host, [path, ...parts]))];
}
