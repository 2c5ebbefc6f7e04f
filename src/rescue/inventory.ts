import { type Decoded, decodePool, decodeSnapshot, decodeVolume, type PoolIdentity } from '../engines/file/format.ts';
import {
  dataFile,
  identityFile,
  isId,
  poolFile,
  poolFileCopy,
  recycledFolder,
  snapshotsFolder,
  volumesFolder,
} from '../engines/file/layout.ts';
import type { Kernel } from '../host/kernel.ts';
import { toAzekuraError } from '../model/errors.ts';
import { listGroup } from './group.ts';
import { checkInterrupted } from './interrupt.ts';
import { isSameFile } from './place.ts';
import type { RescueDeps, RescuedSnapshot, RescuedVolume } from './report.ts';
import type { PoolContents, PoolView } from './view.ts';

/**
 * Reads all identities of a pool. What cannot be read is listed with its problem: the data counts, not its label.
 *
 * @returns undefined when the folder is no pool
 */
export async function listPool(view: PoolView, deps: RescueDeps): Promise<PoolContents | undefined> {
  const { kernel, root, candidate } = view;
  if (view.group) return listGroup(view, deps);
  const names = (await kernel.listDirectory(root)) ?? [];
  if (![poolFile, poolFileCopy, volumesFolder].some((name) => names.includes(name))) return undefined;
  const identity = await readPoolIdentity(kernel, root);
  const warnings: string[] = [];
  const volumes: RescuedVolume[] = [];
  const writers = await writingLoops(deps, kernel);
  for (const folder of [volumesFolder, recycledFolder]) {
    for (const id of (await kernel.listDirectory(`${root}/${folder}`)) ?? []) {
      checkInterrupted(deps.signal);
      try {
        const volume = await readVolume(view, `${folder}/${id}`, id, writers);
        if (volume) volumes.push(volume);
      } catch (error) {
        warnings.push(`${folder}/${id} of ${candidate.place} cannot be read: ${toAzekuraError(error).message}`);
      }
    }
  }
  const known = identity.ok ? { poolId: identity.value.id, name: identity.value.name } : { problem: identity.problem };
  const { place, kind } = candidate;
  return {
    pool: { place, kind, ...known, journalDirty: view.journalDirty, volumes: volumes.length },
    volumes,
    warnings,
  };
}

async function readPoolIdentity(kernel: Kernel, root: string): Promise<Decoded<PoolIdentity>> {
  const first = await readText(kernel, `${root}/${poolFile}`, decodePool);
  if (first.ok) return first;
  const copy = await readText(kernel, `${root}/${poolFileCopy}`, decodePool);
  return copy.ok ? copy : first;
}

/** Reads and decodes; a file that the disk does not give back is a problem of that file, not of the list. */
async function readText<T>(
  kernel: Kernel,
  path: string,
  decode: (text: string | undefined) => Decoded<T>,
): Promise<Decoded<T>> {
  try {
    return decode(await kernel.readTextFile(path));
  } catch (error) {
    return { ok: false, problem: toAzekuraError(error).message };
  }
}

type WriterOf = (path: string) => Promise<string | undefined>;

/** Who writes to a file at this moment: a loop device, also one of another mount namespace. */
async function writingLoops({ host }: RescueDeps, kernel: Kernel): Promise<WriterOf> {
  const writers = (await host.loops()).filter((loop) => !loop.readOnly && loop.backingFile.endsWith(`/${dataFile}`));
  return async (path) => {
    const stat = await kernel.stat(path);
    for (const loop of writers) {
      if (stat && (loop.backingFile === path || (await isSameFile(kernel, loop.backingFile, stat)))) return loop.device;
    }
    return undefined;
  };
}

async function readVolume(
  { kernel, root, candidate }: PoolView,
  folder: string,
  volumeId: string,
  writerOf: WriterOf,
): Promise<RescuedVolume | undefined> {
  if (!isId(volumeId)) return undefined;
  const file = `${folder}/${dataFile}`;
  const stat = await kernel.stat(`${root}/${file}`);
  const decoded = await readText(kernel, `${root}/${folder}/${identityFile}`, decodeVolume);
  if (!stat && !decoded.ok) return undefined;
  const inUseBy = await writerOf(`${root}/${file}`);
  const problem = stat?.kind === 'file' ? undefined : 'its data file is missing';
  return {
    volumeId,
    place: candidate.place,
    file,
    ...(decoded.ok
      ? { identity: decoded.value }
      : { problem: `identity unreadable (${decoded.problem}): data at ${file}` }),
    ...(problem ? { problem } : {}),
    sizeBytes: stat?.sizeBytes ?? 0,
    allocatedBytes: stat?.allocatedBytes ?? 0,
    modifiedAt: new Date(stat?.modifiedMs ?? 0).toISOString(),
    recycled: folder.startsWith(`${recycledFolder}/`),
    newest: true,
    copies: 1,
    ...(inUseBy ? { inUseBy } : {}),
    snapshots: await readSnapshots(kernel, root, `${folder}/${snapshotsFolder}`),
  };
}

/** In the order in which they were cut; those without a readable identity come last. */
async function readSnapshots(kernel: Kernel, root: string, folder: string): Promise<readonly RescuedSnapshot[]> {
  const snapshots: RescuedSnapshot[] = [];
  for (const snapshotId of (await kernel.listDirectory(`${root}/${folder}`)) ?? []) {
    if (!isId(snapshotId)) continue;
    const file = `${folder}/${snapshotId}/${dataFile}`;
    const stat = await kernel.stat(`${root}/${file}`);
    if (stat?.kind !== 'file') continue;
    const decoded = await readText(kernel, `${root}/${folder}/${snapshotId}/${identityFile}`, decodeSnapshot);
    snapshots.push({
      snapshotId,
      file,
      ...(decoded.ok
        ? { identity: decoded.value }
        : { problem: `identity unreadable (${decoded.problem}): data at ${file}` }),
      sizeBytes: stat.sizeBytes,
      allocatedBytes: stat.allocatedBytes,
    });
  }
  return snapshots.sort((a, b) => cutTime(a).localeCompare(cutTime(b)));
}

function cutTime({ identity }: RescuedSnapshot): string {
  return identity?.cutAt ?? '\uffff';
}
