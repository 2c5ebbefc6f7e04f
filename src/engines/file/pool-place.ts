import type { BlockDeviceInfo } from '../../host/host.ts';
import { formatBytes } from '../../lib/quantity.ts';
import { type Cause, makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { PoolSource } from '../../model/pool.ts';
import type { PoolInspection, PoolRef } from '../contract.ts';
import { type FileContext, poolDamaged, poolForeign, poolMissing, readPoolIdentity, sourceOf } from './context.ts';
import { poolEntries, recycledFolder, volumesFolder } from './layout.ts';
import { requireJournal } from './pool-journal.ts';

/** Below this XFS has no room for its log and a template. */
export const minimumPoolBytes = 512 * 2 ** 20;

/** Looks at a place without changing it; see EnginePools.inspect. */
export async function inspectPool(context: FileContext, pool: PoolRef): Promise<PoolInspection> {
  const source = sourceOf(pool);
  switch (source.kind) {
    case 'directory':
      return inspectDirectory(context, pool);
    case 'image':
      return inspectImage(context, pool, source);
    case 'device':
      return inspectDevice(context, pool, source);
  }
}

async function inspectDirectory(context: FileContext, pool: PoolRef): Promise<PoolInspection> {
  const { path } = sourceOf(pool);
  const kernel = context.poolKernel(pool);
  const stat = await kernel.stat(path);
  if (!stat && !pool.trial) throw missing(pool, 'make the folder, or mount the disk that holds it');
  if (stat && stat.kind !== 'directory') throw unusable(`${path} is not a folder (${stat.kind})`);
  const folder = stat ? path : parentOf(path);
  const filesystem = await kernel.statfs(folder);
  if (filesystem.readOnly) throw readOnly(pool);
  checkSize(filesystem.sizeBytes, path);
  const found = stat ? await readPoolIdentity(kernel, path) : ({ kind: 'absent' } as const);
  if (found.kind === 'damaged') throw poolDamaged(pool, found.problem);
  if (found.kind === 'pool' && pool.poolId !== undefined && found.identity.id !== pool.poolId)
    throw poolForeign(pool, found.identity.id);
  if (found.kind === 'absent' && pool.poolId !== undefined) throw poolMissing(pool);
  if (found.kind === 'absent' && stat) await requireEmpty(context, pool);
  // Pools that were made there before are opened: their data must be reached.
  if (filesystem.type === 'btrfs' && found.kind === 'absent')
    throw unusable(
      `${path} lies on btrfs, where a thick volume cannot get blocks of its own`,
      'use a pool image there (`azekura pool add NAME FILE --size SIZE`), or XFS',
    );
  if (!(await kernel.canClone(folder))) {
    throw unusable(
      `${path} lies on ${filesystem.type}, which cannot share blocks between files`,
      'use a pool image there: `azekura pool add NAME FILE --size SIZE`',
    );
  }
  const warnings: Cause[] = await requireJournal(context, pool, folder);
  if (filesystem.type === 'btrfs') warnings.push(makeCause('PoolOnBtrfs', { pool: pool.name }));
  const plan =
    found.kind === 'pool'
      ? [`open the pool in ${path}`]
      : [`make folders for volumes in ${path}, on ${filesystem.type}`];
  return { plan, capacityBytes: filesystem.sizeBytes, existing: found.kind === 'pool', warnings };
}

/** A new pool begins in an empty folder; what an interrupted beginning has left counts as empty. */
async function requireEmpty(context: FileContext, pool: PoolRef): Promise<void> {
  const { path } = sourceOf(pool);
  const kernel = context.poolKernel(pool);
  const strangers = ((await kernel.listDirectory(path)) ?? []).filter(
    (name) => name !== 'lost+found' && !poolEntries.includes(name),
  );
  const inside = [
    ...((await kernel.listDirectory(`${path}/${volumesFolder}`)) ?? []),
    ...((await kernel.listDirectory(`${path}/${recycledFolder}`)) ?? []),
  ];
  if (strangers.length === 0 && inside.length === 0) return;
  throw unusable(
    `${path} is not empty: it holds ${strangers[0] ?? 'volumes without the file that describes the pool'}`,
    'use an empty folder',
  );
}

async function inspectImage(
  context: FileContext,
  pool: PoolRef,
  source: Extract<PoolSource, { kind: 'image' }>,
): Promise<PoolInspection> {
  const { path, sizeBytes } = source;
  const kernel = context.poolKernel(pool);
  const folder = parentOf(path);
  const stat = await kernel.stat(path);
  if (!stat && pool.poolId !== undefined) throw poolMissing(pool);
  if (!(await kernel.stat(folder))) throw missing(pool, `make the folder ${folder}`);
  const filesystem = await kernel.statfs(folder);
  if (filesystem.readOnly) throw readOnly(pool);
  const warnings = await requireJournal(context, pool, folder);
  if (stat) {
    if (stat.kind !== 'file') throw unusable(`${path} is not a file (${stat.kind})`);
    const found = await kernel.probeFilesystem(path);
    if (found?.filesystem !== 'xfs')
      throw unusable(
        `${path} holds ${found?.filesystem ?? 'something'} that is no pool image; it was not touched`,
        'name a file that does not exist yet',
      );
    return { plan: [`open the pool image ${path}`], capacityBytes: stat.sizeBytes, existing: true, warnings };
  }
  checkSize(sizeBytes, path);
  if (filesystem.availableBytes < sizeBytes) {
    throw new AzekuraError(
      'ResourceExhausted',
      `${folder} has ${formatBytes(filesystem.availableBytes)} free, the pool image wants ${formatBytes(sizeBytes)}`,
      {
        next: 'ask for a smaller image, or free space there',
      },
    );
  }
  const plan = [
    `allocate ${formatBytes(sizeBytes)} in ${path}`,
    'make an XFS file system in it',
    'attach and mount it',
  ];
  return { plan, capacityBytes: sizeBytes, existing: false, warnings };
}

async function inspectDevice(
  context: FileContext,
  pool: PoolRef,
  source: Extract<PoolSource, { kind: 'device' }>,
): Promise<PoolInspection> {
  const { path } = source;
  const stat = await context.poolKernel(pool).stat(path);
  if (!stat) throw missing(pool, 'attach the disk, and look for its name with lsblk');
  if (stat.kind !== 'block')
    throw unusable(`${path} is not a block device (${stat.kind})`, 'name the device itself, not a link to it');
  const info = await context.deps.host.blockDevice(path);
  if (!info) throw unusable(`${path} is not known to the kernel as a disk`);
  if (info.readOnly) throw readOnly(pool);
  checkSize(info.sizeBytes, path);
  requireUnused(info, context.poolPath(pool));
  const consent = describeConsent(info, source.confirmedId);
  if (info.signature && info.signature !== 'xfs') requireConsent(info, consent);
  const opened = info.signature === 'xfs';
  const plan = opened
    ? [
        `mount ${path} and look for a pool on it`,
        ...(consent.given ? [`if there is none, make an XFS file system on ${path}; everything on it is lost`] : []),
      ]
    : [
        `make an XFS file system on ${path}${info.signature ? `; everything on it (${info.signature}) is lost` : ''}`,
        'mount it',
      ];
  return { plan, capacityBytes: info.sizeBytes, existing: opened, warnings: [] };
}

/** In use counts whatever the user typed. */
function requireUnused(info: BlockDeviceInfo, ownMountPoint: string): void {
  const elsewhere = info.mountedAt.filter((target) => target !== ownMountPoint);
  if (elsewhere[0] !== undefined) throw unusable(`${info.path} is mounted at ${elsewhere[0]}`, 'unmount it first');
  if (info.children[0] !== undefined)
    throw unusable(
      `${info.path} is in use by ${info.children.join(', ')}`,
      'use a partition of it, or a disk that nothing uses',
    );
}

export interface Consent {
  readonly given: boolean;
  /** What has to be typed. */
  readonly id: string;
}

/** The serial number stands for a disk; where it has none, its path does. */
export function describeConsent(info: BlockDeviceInfo, confirmedId: string | undefined): Consent {
  const id = info.serial ?? info.path;
  return { given: confirmedId === id, id };
}

/** @throws AzekuraError FailedPrecondition unless the disk's id was typed */
export function requireConsent(info: BlockDeviceInfo, consent: Consent): void {
  if (consent.given) return;
  throw unusable(
    `${info.path} holds data (${info.signature ?? 'a file system'}), so it is not touched`,
    `to overwrite it, confirm with its id: --confirm ${consent.id}`,
  );
}

function checkSize(sizeBytes: number, path: string): void {
  if (sizeBytes >= minimumPoolBytes) return;
  throw new AzekuraError(
    'OutOfRange',
    `${path} would be a pool of ${formatBytes(sizeBytes)}; a pool needs at least ${formatBytes(minimumPoolBytes)}`,
    {
      next: 'choose a larger place',
    },
  );
}

function missing(pool: PoolRef, next: string): AzekuraError {
  return blamed('NotFound', makeCause('PoolMissing', { pool: pool.name, place: sourceOf(pool).path }), { next });
}

function readOnly(pool: PoolRef): AzekuraError {
  return blamed('FailedPrecondition', makeCause('PoolReadOnly', { pool: pool.name }));
}

export function unusable(message: string, next = 'choose another place'): AzekuraError {
  return new AzekuraError('FailedPrecondition', message, { next });
}

export function parentOf(path: string): string {
  return path.slice(0, path.replace(/\/+$/, '').lastIndexOf('/')) || '/';
}
