import { createHash } from 'node:crypto';
import type { BlockDeviceInfo } from '../../host/host.ts';
import { dashed, type LvmLabel } from '../../host/lvm/label.ts';
import { formatBytes } from '../../lib/quantity.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { EngineDeps, PoolRef } from '../contract.ts';
import type { LvmContext } from './context.ts';
import { lastingPath, readDisks } from './find.ts';
import { minimumDiskBytes } from './sizing.ts';

/** A disk that may become part of a pool. */
export interface NewDisk {
  readonly info: BlockDeviceInfo;
  /** It holds something that the user has agreed to lose. */
  readonly overwrite: boolean;
  /** An interrupted attempt has made it a physical volume for this pool. */
  readonly prepared: boolean;
}

/**
 * Looks at disks that are to become part of a pool.
 *
 * @param confirmedIds serial numbers that the user typed
 * @throws AzekuraError NotFound with blame PoolMissing; FailedPrecondition for one that is in use, or holds something and
 *   is not confirmed; OutOfRange for one that is too small
 */
export async function checkDisks(
  deps: EngineDeps,
  pool: PoolRef,
  paths: readonly string[],
  confirmedIds: readonly string[],
): Promise<readonly NewDisk[]> {
  const { disks: labelled } = await readDisks(deps);
  const known = await deps.host.blockDevices();
  const nodes = await deps.host.blockNodes({ mappedOnly: true });
  const checked: NewDisk[] = [];
  for (const path of paths) {
    const stat = await deps.host.kernel(`disk${path}`).stat(path);
    if (!stat)
      throw blamed('NotFound', makeCause('PoolMissing', { pool: pool.name, place: path }), {
        next: 'attach the disk, and look for its name with lsblk',
      });
    const info = known.find((one) => one.path === path);
    const mapped = nodes.find((node) => node.path === path && lastingPath(node) !== path);
    if (mapped)
      throw unusable(`${path} may be another device after a restart`, `name it as ${lastingPath(mapped)}, which stays`);
    // With udev the names below /dev/mapper are links.
    if (stat.kind !== 'block' && !(info && path.startsWith('/dev/mapper/')))
      throw unusable(`${path} is not a block device (${stat.kind})`, 'name the device itself, not a link to it');
    if (!info) throw unusable(`${path} is not known to the kernel as a disk`);
    const label = labelled.find(({ node }) => lastingPath(node) === path)?.label;
    checked.push({ ...checkDisk(info, confirmedIds, label), prepared: isPrepared(pool, path, label) });
  }
  if (new Set(paths).size !== paths.length) throw unusable('a disk is named twice', 'name each disk once');
  return checked;
}

function checkDisk(
  info: BlockDeviceInfo,
  confirmedIds: readonly string[],
  label: LvmLabel | undefined,
): Omit<NewDisk, 'prepared'> {
  const { path } = info;
  if (info.readOnly) throw unusable(`${path} is read-only`);
  if (info.sizeBytes < minimumDiskBytes)
    throw new AzekuraError(
      'OutOfRange',
      `${path} has ${formatBytes(info.sizeBytes)}; a disk of a pool needs at least ${formatBytes(minimumDiskBytes)}`,
      { next: 'choose a larger disk' },
    );
  const mount = info.mountedAt[0];
  if (mount !== undefined) throw unusable(`${path} is mounted at ${mount}`, 'unmount it first');
  if (info.children.length > 0)
    throw unusable(`${path} is in use by ${info.children.join(', ')}`, 'name a disk that nothing uses, or a partition');
  const group = label?.group?.name;
  if (group !== undefined)
    throw unusable(
      `${path} is part of volume group ${group}`,
      `use that group as it is: azekura pool add NAME ${group} --engine lvm; or take the disk out of it with vgreduce`,
    );
  const signature = info.signature ?? (label ? 'LVM2_member' : undefined);
  if (signature === undefined) return { info, overwrite: false };
  const id = info.serial ?? path;
  if (!confirmedIds.includes(id))
    throw unusable(
      `${path} holds data (${signature}), so it is not touched`,
      `to overwrite it, confirm with its id: --confirm ${id}`,
    );
  return { info, overwrite: true };
}

/** The id of a disk that is prepared for a pool follows from both: that is how it is known again after a crash. */
export function ownPvUuid(pool: PoolRef, path: string): string {
  const alphabet = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';
  const bytes = createHash('sha256').update(`azekura pool ${pool.name} disk ${path}`).digest();
  return dashed([...bytes].map((byte) => alphabet[byte % alphabet.length]).join(''));
}

function isPrepared(pool: PoolRef, path: string, label: LvmLabel | undefined): boolean {
  return label !== undefined && !label.group && label.pvUuid === ownPvUuid(pool, path);
}

/** What a user would type for those of the disks that an interrupted attempt has prepared: they count as blank. */
export async function preparedIds(
  { deps }: Pick<LvmContext, 'deps'>,
  pool: PoolRef,
  paths: readonly string[],
): Promise<readonly string[]> {
  const { disks } = await readDisks(deps);
  const prepared = new Set(
    disks
      .map(({ node, label }) => ({ path: lastingPath(node), label }))
      .filter(({ path, label }) => paths.includes(path) && isPrepared(pool, path, label))
      .map(({ path }) => path),
  );
  if (prepared.size === 0) return [];
  const devices = await deps.host.blockDevices();
  return devices.filter(({ path }) => prepared.has(path)).map(({ serial, path }) => serial ?? path);
}

export function unusable(message: string, next = 'choose another disk'): AzekuraError {
  return new AzekuraError('FailedPrecondition', message, { next });
}
