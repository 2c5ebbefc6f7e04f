import { createHash } from 'node:crypto';
import type { BatchCall, BatchResults, Kernel } from '../../host/kernel.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed, hasCode } from '../../model/errors.ts';
import type { PoolSource } from '../../model/pool.ts';
import type { EngineDeps, PoolRef, SnapshotRef, VolumeRef } from '../contract.ts';
import { decodePool, type PoolIdentity } from './format.ts';
import { poolFile, poolFileCopy, volumePlace } from './layout.ts';

/** What every part of the file engine works with: the dependencies of one operation, and how to reach pools. */
export interface FileContext {
  readonly deps: EngineDeps;
  /** Calls on the pool as a whole. */
  poolKernel(pool: PoolRef, options?: { readonly deadlineMs?: number }): Kernel;
  /** Calls on one volume: when one hangs, the other volumes of the pool go on. */
  volumeKernel(volume: VolumeRef, options?: { readonly deadlineMs?: number }): Kernel;
  /** The folder that holds the pool's files, whether or not it is there now. */
  poolPath(pool: PoolRef): string;
}

export type FileSource = Extract<PoolSource, { kind: 'directory' | 'image' | 'device' }>;

/** The place of a pool of this engine. @throws AzekuraError Unimplemented for one of another engine */
export function sourceOf(pool: PoolRef): FileSource {
  const { source } = pool;
  if (source.kind === 'directory' || source.kind === 'image' || source.kind === 'device') return source;
  throw new AzekuraError('Unimplemented', `engine file makes no pools from ${source.kind}`);
}

export function makeContext(deps: EngineDeps): FileContext {
  return {
    deps,
    poolKernel: (pool, options) => deps.host.kernel(`pool/${pool.name}`, options),
    volumeKernel: (volume, options) => deps.host.kernel(`pool/${volume.pool.name}/${volume.volumeId}`, options),
    poolPath: (pool) =>
      sourceOf(pool).kind === 'directory' ? sourceOf(pool).path : mountPointOf(pool, deps.runtimeDir),
  };
}

/** Where the file system of an image or disk is mounted. Named after the place, since names of pools are names of users. */
function mountPointOf(pool: PoolRef, runtimeDir: string): string {
  const hash = createHash('sha256')
    .update(`${sourceOf(pool).kind}:${sourceOf(pool).path}`)
    .digest('hex')
    .slice(0, 16);
  return `${runtimeDir}/pool-${hash}`;
}

/**
 * Makes sure that the pool is really there before something is made in its folder: a missing mount would otherwise let
 * it be made on the file system below.
 *
 * @returns the pool's folder
 * @throws AzekuraError Unavailable with blame PoolMissing; FailedPrecondition with blame PoolForeign; DataLoss with
 *   blame PoolIdentityDamaged
 */
export async function requirePool(context: FileContext, pool: PoolRef): Promise<string> {
  await lookIn(context, pool, context.poolKernel(pool), []);
  return context.poolPath(pool);
}

/** Like requirePool(), with calls that look at more: all in one round trip. @returns their results */
export async function lookIn<const Calls extends readonly BatchCall[]>(
  context: FileContext,
  pool: PoolRef,
  kernel: Kernel,
  calls: Calls,
): Promise<BatchResults<Calls>> {
  const path = context.poolPath(pool);
  const [text, ...results] = await kernel.batch([{ call: 'readTextFile', args: [`${path}/${poolFile}`] }, ...calls]);
  const first = decodePool(text as string | undefined);
  const found: FoundPool = first.ok ? { kind: 'pool', identity: first.value } : await readPoolIdentity(kernel, path);
  if (found.kind === 'absent') throw poolMissing(pool);
  if (found.kind === 'damaged') throw poolDamaged(pool, found.problem);
  if (pool.poolId !== undefined && found.identity.id !== pool.poolId) throw poolForeign(pool, found.identity.id);
  return results as unknown as BatchResults<Calls>;
}

export function poolDamaged(pool: PoolRef, problem: string): AzekuraError {
  return blamed('DataLoss', makeCause('PoolIdentityDamaged', { pool: pool.name, problem }));
}

export function poolMissing(pool: PoolRef): AzekuraError {
  return blamed('Unavailable', makeCause('PoolMissing', { pool: pool.name, place: sourceOf(pool).path }));
}

export function poolForeign(pool: PoolRef, found: string): AzekuraError {
  const expected = pool.poolId ?? 'none';
  return blamed('FailedPrecondition', makeCause('PoolForeign', { pool: pool.name, found, expected }));
}

export type FoundPool =
  | { readonly kind: 'absent' }
  | { readonly kind: 'damaged'; readonly problem: string }
  /** `problem` says what is wrong with the file when its copy had to be read. */
  | { readonly kind: 'pool'; readonly identity: PoolIdentity; readonly problem?: string };

/** Reads a pool's identity, from its copy when it is damaged. */
export async function readPoolIdentity(kernel: Kernel, path: string): Promise<FoundPool> {
  const text = await kernel.readTextFile(`${path}/${poolFile}`);
  const first = decodePool(text);
  if (first.ok) return { kind: 'pool', identity: first.value };
  const copyText = await kernel.readTextFile(`${path}/${poolFileCopy}`);
  if (text === undefined && copyText === undefined) return { kind: 'absent' };
  const copy = decodePool(copyText);
  if (copy.ok) return { kind: 'pool', identity: copy.value, problem: first.problem };
  return { kind: 'damaged', problem: first.problem };
}

/** A full pool, as the cause that a person reads; any other error as it is. */
export function blamePoolFull(error: unknown, pool: PoolRef, wantedBytes = 0): unknown {
  if (!hasCode(error, 'ResourceExhausted') || error.blame) return error;
  const cause = makeCause('PoolFull', { pool: pool.name, wanted: describeBytes(wantedBytes), free: 'too little' });
  return blamed('ResourceExhausted', cause, { cause: error });
}

function describeBytes(bytes: number): string {
  return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)}Gi` : `${Math.ceil(bytes / 2 ** 20)}Mi`;
}

/** What a message calls the volume: its own name when the identity tells it. */
export function volumeLabel(volume: VolumeRef, name?: string): string {
  return name ?? volume.volumeId;
}

/** @throws AzekuraError FailedPrecondition with blame InUse */
export async function requireDetached(context: FileContext, volume: VolumeRef): Promise<void> {
  const { data } = volumePlace(context.poolPath(volume.pool), volume.volumeId);
  const loop = await context.volumeKernel(volume).findLoop(data);
  if (loop) throw inUse(volume, `its loop device ${loop.device}`);
}

export function inUse(volume: VolumeRef, holder: string): AzekuraError {
  return inUseBy(`volume ${volume.volumeId}`, holder);
}

export function inUseBy(what: string, holder: string): AzekuraError {
  return blamed('FailedPrecondition', makeCause('InUse', { what, holder }));
}

export function snapshotMissing(snapshot: SnapshotRef): AzekuraError {
  return new AzekuraError(
    'NotFound',
    `snapshot ${snapshot.snapshotId} of volume ${snapshot.volumeId} is not in pool ${snapshot.pool.name}`,
  );
}

export function volumeMissing(volume: VolumeRef): AzekuraError {
  return new AzekuraError('NotFound', `volume ${volume.volumeId} is not in pool ${volume.pool.name}`);
}
