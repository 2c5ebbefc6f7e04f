import type { Kernel } from '../../host/kernel.ts';
import type { PoolRef, VolumeOnDisk } from '../contract.ts';
import { type FileContext, requirePool } from './context.ts';
import { decodeSnapshot, decodeVolume } from './format.ts';
import {
  isId,
  movePlace,
  recycledFolder,
  recycledPlace,
  snapshotPlace,
  temporaryFolder,
  type VolumePlace,
  volumePlace,
  volumesFolder,
  workPlace,
} from './layout.ts';

/** Volumes read at the same time. */
const parallelReads = 8;
/** Folders listed in one round trip. */
const foldersAtOnce = 64;
/** What was touched within this time may be at work. */
const spareMs = 15 * 60_000;

/** All volumes of a pool with their snapshots; see EnginePools.list. */
export async function listPool(context: FileContext, pool: PoolRef): Promise<readonly VolumeOnDisk[]> {
  const path = await requirePool(context, pool);
  const kernel = context.poolKernel(pool);
  const found: { readonly volumeId: string; readonly place: VolumePlace; readonly recycled: boolean }[] = [];
  for (const recycled of [false, true]) {
    const names = (await kernel.listDirectory(`${path}/${recycled ? recycledFolder : volumesFolder}`)) ?? [];
    for (const volumeId of names.filter(isId)) {
      found.push({ volumeId, place: recycled ? recycledPlace(path, volumeId) : volumePlace(path, volumeId), recycled });
    }
  }
  const volumes: VolumeOnDisk[] = [];
  for (let at = 0; at < found.length; at += parallelReads) {
    const batch = found.slice(at, at + parallelReads);
    volumes.push(
      ...(await Promise.all(
        batch.map(({ volumeId, place, recycled }) => readVolume(kernel, volumeId, place, recycled)),
      )),
    );
  }
  return volumes;
}

async function readVolume(
  kernel: Kernel,
  volumeId: string,
  place: VolumePlace,
  recycled: boolean,
): Promise<VolumeOnDisk> {
  const [text, data, names] = await Promise.all([
    readText(kernel, place.identity),
    kernel.stat(place.data),
    kernel.listDirectory(place.snapshots),
  ]);
  const snapshots: VolumeOnDisk['snapshots'][number][] = [];
  for (const snapshotId of (names ?? []).filter(isId)) {
    const own = snapshotPlace(place, snapshotId);
    const [ownText, ownData] = await Promise.all([readText(kernel, own.identity), kernel.stat(own.data)]);
    snapshots.push({
      snapshotId,
      ...told(decodeSnapshot(ownText), ownData),
      dataPath: own.data,
      sizeBytes: ownData?.sizeBytes ?? 0,
    });
  }
  return {
    volumeId,
    ...told(decodeVolume(text), data),
    dataPath: place.data,
    sizeBytes: data?.sizeBytes ?? 0,
    recycled,
    snapshots,
  };
}

/** One file that cannot be read must not hide the others. */
async function readText(kernel: Kernel, path: string): Promise<string | undefined> {
  try {
    return await kernel.readTextFile(path);
  } catch {
    return '';
  }
}

function told<T>(
  identity: { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string },
  data: object | undefined,
): { readonly identity?: T; readonly problem?: string } {
  const problem = !data
    ? 'its data file is missing'
    : identity.ok
      ? undefined
      : `its identity file is unusable: ${identity.problem}`;
  return { ...(identity.ok ? { identity: identity.value } : {}), ...(problem === undefined ? {} : { problem }) };
}

/** Clears the folder of unfinished work; see EnginePools.sweep. */
export async function sweepPool(
  context: FileContext,
  pool: PoolRef,
  options: { readonly idle?: boolean; readonly movingVolumeIds?: readonly string[] } = {},
): Promise<readonly string[]> {
  const path = await requirePool(context, pool);
  const kernel = context.poolKernel(pool);
  const kept = new Set(
    (options.movingVolumeIds ?? []).flatMap((id) => [workPlace(path, 'create', id).folder, movePlace(path, id).folder]),
  );
  const found = ((await kernel.listDirectory(`${path}/${temporaryFolder}`)) ?? []).map(
    (name) => `${path}/${temporaryFolder}/${name}`,
  );
  if (options.idle) found.push(...(await unfinishedTexts(kernel, path)));
  const removed: string[] = [];
  for (const entry of found) {
    if (kept.has(entry) || (!options.idle && (await mayBeAtWork(context, kernel, entry)))) continue;
    await context.deps.steps.run('file.sweep.remove', () => kernel.removeTree(entry));
    removed.push(entry);
  }
  return removed;
}

/** Identity files that were being written: Kernel.writeTextFile writes beside the file and renames. */
async function unfinishedTexts(kernel: Kernel, path: string): Promise<readonly string[]> {
  const folders = [path];
  for (const parent of [volumesFolder, recycledFolder]) {
    const names = (await kernel.listDirectory(`${path}/${parent}`)) ?? [];
    folders.push(...names.filter(isId).map((name) => `${path}/${parent}/${name}`));
  }
  const found: string[] = [];
  for (let at = 0; at < folders.length; at += foldersAtOnce) {
    const batch = folders.slice(at, at + foldersAtOnce);
    const lists = await kernel.batch(batch.map((folder) => ({ call: 'listDirectory', args: [folder] }) as const));
    for (const [index, folder] of batch.entries()) {
      for (const name of lists[index] ?? []) if (/^\..+\.tmp$/.test(name)) found.push(`${folder}/${name}`);
    }
  }
  return found;
}

async function mayBeAtWork(context: FileContext, kernel: Kernel, entry: string): Promise<boolean> {
  const [folder, data] = await Promise.all([kernel.stat(entry), kernel.stat(`${entry}/data`)]);
  const touchedMs = Math.max(folder?.modifiedMs ?? 0, data?.modifiedMs ?? 0);
  return context.deps.clock.nowMs() - touchedMs < spareMs;
}
