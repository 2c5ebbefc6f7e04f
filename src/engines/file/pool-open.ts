import type { Kernel } from '../../host/kernel.ts';
import { timestamp } from '../../lib/clock.ts';
import { newUid } from '../../lib/id.ts';
import { hasCode, toAzekuraError } from '../../model/errors.ts';
import type { PoolRef } from '../contract.ts';
import { fillBallast } from './ballast.ts';
import {
  type FileContext,
  inUseBy,
  poolDamaged,
  poolForeign,
  poolMissing,
  readPoolIdentity,
  sourceOf,
} from './context.ts';
import { encodePool, type PoolIdentity, readmeText } from './format.ts';
import {
  poolEntries,
  poolFile,
  poolFileCopy,
  readmeFile,
  recycledFolder,
  templatesFolder,
  temporaryFolder,
  volumesFolder,
} from './layout.ts';
import { describeConsent, inspectPool, requireConsent, unusable } from './pool-place.ts';
import { explainMkfs } from './templates.ts';

/** Allocating and formatting a large image on a slow disk takes its time. */
const makeDeadlineMs = 300_000;
/** A pool holds data only: nothing in it may act. */
const poolMountOptions = ['noatime', 'nosuid', 'nodev', 'noexec'];

/** Makes or opens a pool; see EnginePools.open. */
export async function openPool(
  context: FileContext,
  pool: PoolRef,
): Promise<{ readonly poolId: string; readonly path: string }> {
  return context.deps.locks.run(`file/pool/${sourceOf(pool).path}`, async () => {
    const path = context.poolPath(pool);
    const source = sourceOf(pool);
    if (source.kind === 'directory') {
      await inspectPool(context, pool);
      await context.poolKernel(pool).makeDirectory(path);
    } else if (!(await isMounted(context, pool))) {
      await inspectPool(context, pool);
      await mountPool(context, pool, source.kind === 'image' ? await attachImage(context, pool, source) : source.path);
    }
    const identity = await describePool(context, pool, path);
    await fillBallast(context, pool);
    return { poolId: identity.id, path };
  });
}

/** @throws AzekuraError FailedPrecondition when something else is mounted in its place */
export async function isMounted(context: FileContext, pool: PoolRef): Promise<boolean> {
  const target = context.poolPath(pool);
  const mount = (await context.deps.host.mounts()).findLast((entry) => entry.target === target);
  if (!mount) return false;
  const device =
    sourceOf(pool).kind === 'image'
      ? (await context.poolKernel(pool).findLoop(sourceOf(pool).path))?.device
      : sourceOf(pool).path;
  if (mount.source !== device)
    throw unusable(`${mount.source} is mounted at ${target}, not the pool ${pool.name}`, 'unmount it');
  return true;
}

/** Makes the image when there is none; it gets its name when it is whole. */
async function attachImage(
  context: FileContext,
  pool: PoolRef,
  source: Extract<PoolRef['source'], { kind: 'image' }>,
): Promise<string> {
  const { steps } = context.deps;
  const kernel = context.poolKernel(pool, { deadlineMs: makeDeadlineMs });
  const unfinished = `${source.path}.unfinished`;
  await kernel.removeTree(unfinished);
  if (!(await kernel.stat(source.path))) {
    try {
      await steps.run('file.pool.allocate', () => kernel.allocate(unfinished, source.sizeBytes));
      await steps.run('file.pool.format', () => formatPool(context, pool, unfinished));
      await kernel.sync(unfinished);
      await steps.run('file.pool.name', () => kernel.rename(unfinished, source.path));
    } catch (error) {
      await kernel.removeTree(unfinished);
      throw error;
    }
  }
  const loop = await kernel.findLoop(source.path);
  if (loop) return loop.device;
  return (await steps.run('file.pool.attach', () => kernel.attachLoop(source.path))).device;
}

async function formatPool(context: FileContext, pool: PoolRef, path: string): Promise<void> {
  const argv = [
    'mkfs.xfs',
    '-q',
    '-K',
    '-f',
    '-s',
    'size=4096',
    '-m',
    'crc=1,reflink=1',
    '-L',
    'azekura',
    path,
  ] as const;
  try {
    await context.deps.host.exec(argv, { deadlineMs: makeDeadlineMs, domain: `pool/${pool.name}` });
  } catch (error) {
    throw explainMkfs(error, 'mkfs.xfs', 'xfs');
  }
}

/** Mounts what is on the device: a pool of ours, or an empty XFS that is to become one. A blank disk is formatted first. */
async function mountPool(context: FileContext, pool: PoolRef, device: string): Promise<void> {
  const { steps } = context.deps;
  const kernel = context.poolKernel(pool);
  const target = context.poolPath(pool);
  if ((await kernel.probeFilesystem(device))?.filesystem !== 'xfs') await formatDevice(context, pool, device);
  const mount = () =>
    steps.run('file.pool.mount', () =>
      kernel.mount({ source: device, target, filesystem: 'xfs', options: poolMountOptions }),
    );
  await kernel.makeDirectory(target);
  await mount();
  if (await isOursOrEmpty(kernel, target)) return;
  await kernel.unmount(target);
  await formatDevice(context, pool, device);
  await mount();
}

/** Only a blank disk, or one whose id was typed; never a file that was there before, nor a pool that should be there. */
async function formatDevice(context: FileContext, pool: PoolRef, device: string): Promise<void> {
  const source = sourceOf(pool);
  if (pool.poolId !== undefined) throw poolForeign(pool, 'another file system');
  const info = source.kind === 'device' ? await context.deps.host.blockDevice(device) : undefined;
  if (!info || source.kind !== 'device') throw poolForeign(pool, 'another file system');
  if (info.signature) requireConsent(info, describeConsent(info, source.confirmedId));
  await context.deps.steps.run('file.pool.format', () => formatPool(context, pool, device));
}

async function isOursOrEmpty(kernel: Kernel, path: string): Promise<boolean> {
  if ((await readPoolIdentity(kernel, path)).kind !== 'absent') return true;
  const names = (await kernel.listDirectory(path)) ?? [];
  return names.every((name) => poolEntries.includes(name));
}

/** Reads what the pool says of itself; a new one gets its folders first and its identity last. */
async function describePool(context: FileContext, pool: PoolRef, path: string): Promise<PoolIdentity> {
  const kernel = context.poolKernel(pool);
  const found = await readPoolIdentity(kernel, path);
  if (found.kind === 'damaged') throw poolDamaged(pool, found.problem);
  if (found.kind === 'absent' && pool.poolId !== undefined) throw poolMissing(pool);
  if (found.kind === 'pool' && pool.poolId !== undefined && pool.poolId !== found.identity.id)
    throw poolForeign(pool, found.identity.id);
  const identity: PoolIdentity =
    found.kind === 'pool'
      ? found.identity
      : {
          id: newUid(),
          name: pool.name,
          nodeName: context.deps.nodeName,
          engine: 'file',
          createdAt: timestamp(context.deps.clock),
        };
  for (const folder of [volumesFolder, recycledFolder, temporaryFolder, templatesFolder])
    await kernel.makeDirectory(`${path}/${folder}`);
  if (found.kind === 'pool' && found.problem === undefined) return identity;
  await context.deps.steps.run('file.pool.describe', async () => {
    await kernel.writeTextFile(`${path}/${readmeFile}`, readmeText(identity), 0o644);
    await kernel.writeTextFile(`${path}/${poolFileCopy}`, encodePool(identity), 0o644);
    await kernel.writeTextFile(`${path}/${poolFile}`, encodePool(identity), 0o644);
  });
  return identity;
}

/** Unmounts and detaches; see EnginePools.close. */
export async function closePool(context: FileContext, pool: PoolRef): Promise<void> {
  return context.deps.locks.run(`file/pool/${sourceOf(pool).path}`, () => closeLocked(context, pool));
}

export async function closeLocked(context: FileContext, pool: PoolRef): Promise<void> {
  const { host, steps } = context.deps;
  const path = context.poolPath(pool);
  const loops = await host.loops();
  const attached = loops.find((loop) => loop.backingFile.startsWith(`${path}/${volumesFolder}/`));
  if (attached) throw inUseBy(`pool ${pool.name}`, `the attached volume on ${attached.device}`);
  if (sourceOf(pool).kind === 'directory') return;
  const kernel = context.poolKernel(pool);
  if (await isMounted(context, pool)) {
    try {
      await steps.run('file.pool.unmount', () => kernel.unmount(path));
    } catch (error) {
      if (!hasCode(error, 'FailedPrecondition')) throw error;
      const holders = await host.holders({ path });
      throw inUseBy(`pool ${pool.name}`, holders[0] ?? `an unknown holder of ${path}`);
    }
  }
  await kernel.removeMountPoint(path);
  if (sourceOf(pool).kind !== 'image') return;
  const loop = await kernel.findLoop(sourceOf(pool).path);
  if (loop) await steps.run('file.pool.detach', () => kernel.detachLoop(loop.device, loop.backingFile));
}

/** Removes an empty pool's own files; see EnginePools.destroy. */
export async function destroyPool(context: FileContext, pool: PoolRef): Promise<void> {
  const source = sourceOf(pool);
  const kernel = context.poolKernel(pool);
  if (source.kind !== 'directory' && !(await kernel.stat(source.path))) return closePool(context, pool);
  const path = context.poolPath(pool);
  if (source.kind === 'directory' && (await readPoolIdentity(kernel, path)).kind === 'absent') return;
  try {
    await openPool(context, pool);
  } catch (error) {
    // Emptied by an earlier attempt that was interrupted, or not our pool at all: then nothing there is ours to remove.
    const blame = toAzekuraError(error).blame?.code;
    if (blame !== 'PoolMissing' && blame !== 'PoolForeign') throw error;
    return closePool(context, pool);
  }
  await context.deps.locks.run(`file/pool/${source.path}`, async () => {
    for (const folder of [volumesFolder, recycledFolder]) {
      const names = (await kernel.listDirectory(`${path}/${folder}`)) ?? [];
      if (names.length === 0) continue;
      const what = folder === recycledFolder ? 'recycled volumes' : 'volumes';
      throw unusable(`pool ${pool.name} still holds ${names.length} ${what}`, 'delete them, or drain the pool');
    }
    // An image goes as a whole. Elsewhere the identity goes last: while it is there, a repeat finds its way.
    if (source.kind !== 'image')
      await context.deps.steps.run('file.pool.destroy', async () => {
        for (const entry of poolEntries) await kernel.removeTree(`${path}/${entry}`);
      });
    await closeLocked(context, pool);
    if (source.kind === 'image') await context.deps.steps.run('file.pool.remove', () => kernel.removeTree(source.path));
  });
}
