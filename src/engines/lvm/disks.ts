import type { BlockDeviceInfo } from '../../host/host.ts';
import { formatBytes } from '../../lib/quantity.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { EngineDeps, PoolRef } from '../contract.ts';
import { type FoundDisk, readDisks } from './find.ts';
import { minimumDiskBytes } from './sizing.ts';

/** A disk that may become part of a pool. */
export interface NewDisk {
  readonly info: BlockDeviceInfo;
  /** It holds something that the user has agreed to lose. */
  readonly overwrite: boolean;
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
  const checked: NewDisk[] = [];
  for (const path of paths) {
    const stat = await deps.host.kernel(`disk${path}`).stat(path);
    if (!stat)
      throw blamed('NotFound', makeCause('PoolMissing', { pool: pool.name, place: path }), {
        next: 'attach the disk, and look for its name with lsblk',
      });
    if (stat.kind !== 'block')
      throw unusable(`${path} is not a block device (${stat.kind})`, 'name the device itself, not a link to it');
    const info = known.find((one) => one.path === path);
    if (!info) throw unusable(`${path} is not known to the kernel as a disk`);
    checked.push(checkDisk(info, confirmedIds, labelled));
  }
  if (new Set(paths).size !== paths.length) throw unusable('a disk is named twice', 'name each disk once');
  return checked;
}

function checkDisk(info: BlockDeviceInfo, confirmedIds: readonly string[], labelled: readonly FoundDisk[]): NewDisk {
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
  const label = labelled.find(({ node }) => node.path === path)?.label;
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

export function unusable(message: string, next = 'choose another disk'): AzekuraError {
  return new AzekuraError('FailedPrecondition', message, { next });
}
