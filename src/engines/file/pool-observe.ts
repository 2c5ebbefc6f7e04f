import { type Cause, makeCause } from '../../model/cause.ts';
import { type AzekuraError, toAzekuraError } from '../../model/errors.ts';
import type { PoolObservation, PoolRef } from '../contract.ts';
import { fillBallast } from './ballast.ts';
import { type FileContext, readPoolIdentity, sourceOf } from './context.ts';
import { journalCause } from './pool-journal.ts';
import { isMounted } from './pool-open.ts';
import { parentOf } from './pool-place.ts';

/** Below this share of free space speculative preallocation is called back before the free space is told. */
const pressureShare = 0.15;
/** A host file system with less than this is full for every purpose. */
const hostFullBytes = 16 * 2 ** 20;

/** Looks after a pool; see EnginePools.observe. */
export async function observePool(context: FileContext, pool: PoolRef): Promise<PoolObservation> {
  try {
    return await look(context, pool);
  } catch (error) {
    return absent(explain(pool, toAzekuraError(error)));
  }
}

async function look(context: FileContext, pool: PoolRef): Promise<PoolObservation> {
  const path = context.poolPath(pool);
  const kernel = context.poolKernel(pool);
  const missing = makeCause('PoolMissing', { pool: pool.name, place: sourceOf(pool).path });
  if (sourceOf(pool).kind !== 'directory' && !(await isMounted(context, pool))) return absent(missing);
  const found = await readPoolIdentity(kernel, path);
  if (found.kind === 'absent') return absent(missing);
  const causes: Cause[] = [];
  const problem = found.problem;
  if (problem !== undefined) causes.push(makeCause('PoolIdentityDamaged', { pool: pool.name, problem }));
  if (found.kind === 'pool' && pool.poolId !== undefined && found.identity.id !== pool.poolId) {
    return absent(makeCause('PoolForeign', { pool: pool.name, found: found.identity.id, expected: pool.poolId }));
  }
  let filesystem = await kernel.statfs(path);
  if (filesystem.readOnly) causes.push(makeCause('PoolReadOnly', { pool: pool.name }));
  else if ((await fillBallast(context, pool)) !== 'keep' || (await callBackPreallocation(context, pool, filesystem))) {
    filesystem = await kernel.statfs(path);
  }
  causes.push(...(await hostCauses(context, pool)));
  if (filesystem.type === 'btrfs') causes.push(makeCause('PoolOnBtrfs', { pool: pool.name }));
  const { type, sizeBytes, availableBytes } = filesystem;
  return { present: true, path, filesystem: type, capacityBytes: sizeBytes, freeBytes: availableBytes, causes };
}

/** XFS sets 128 KiB aside for each small write after a snapshot: measured 3.5 times what was written. */
async function callBackPreallocation(
  context: FileContext,
  pool: PoolRef,
  filesystem: { readonly type: string; readonly sizeBytes: number; readonly availableBytes: number },
): Promise<boolean> {
  if (filesystem.type !== 'xfs' || filesystem.availableBytes > filesystem.sizeBytes * pressureShare) return false;
  await context.poolKernel(pool).freePreallocation(context.poolPath(pool));
  return true;
}

/** What is wrong with the file system below a directory or image. */
async function hostCauses(context: FileContext, pool: PoolRef): Promise<Cause[]> {
  const source = sourceOf(pool);
  if (source.kind === 'device') return [];
  const folder = source.kind === 'image' ? parentOf(source.path) : source.path;
  const causes: Cause[] = [];
  const noJournal = await journalCause(context, pool, folder);
  if (noJournal) causes.push(noJournal);
  if (source.kind !== 'image') return causes;
  const kernel = context.poolKernel(pool);
  const [image, host] = await Promise.all([kernel.stat(source.path), kernel.statfs(folder)]);
  const sparse = image !== undefined && image.allocatedBytes < image.sizeBytes;
  if (sparse && host.availableBytes < hostFullBytes)
    causes.push(makeCause('PoolHostFull', { pool: pool.name, place: folder }));
  return causes;
}

function explain(pool: PoolRef, error: AzekuraError): Cause {
  if (error.blame) return error.blame;
  if (error.details.errno === 'EIO') return makeCause('PoolIoErrors', { pool: pool.name, problem: error.message });
  if (error.details.errno === 'EROFS') return makeCause('PoolReadOnly', { pool: pool.name });
  return makeCause('PoolMissing', { pool: pool.name, place: sourceOf(pool).path, problem: error.message });
}

function absent(cause: Cause): PoolObservation {
  return { present: false, capacityBytes: 0, freeBytes: 0, causes: [cause] };
}
