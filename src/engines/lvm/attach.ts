import type { BlockNode } from '../../host/host.ts';
import { lvactivate, lvdeactivate } from '../../host/lvm/argv.ts';
import { lvmFailed } from '../../host/lvm/run.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { AttachedDevice, PoolRef, VolumeRef } from '../contract.ts';
import { inUse, type LvmContext, mappedNode, volumeMissing } from './context.ts';
import type { Entry } from './entries.ts';
import type { FoundGroup } from './find.ts';

/**
 * Activates the volume, or finds it active.
 *
 * @throws AzekuraError NotFound; FailedPrecondition when it is attached in the other mode
 */
export async function attachVolume(
  context: LvmContext,
  volume: VolumeRef,
  options: { readonly readOnly: boolean },
): Promise<AttachedDevice> {
  const found = await context.find(volume.pool);
  const entry = found.entries.volume(volume.volumeId);
  if (entry?.tags.state !== 'ready') throw volumeMissing(volume);
  const present = await mappedNode(context.deps, found, entry.lv.id);
  if (present) {
    if (present.readOnly === options.readOnly) return describeAttached(found, entry, present);
    const mode = present.readOnly ? 'read-only' : 'for writing';
    throw new AzekuraError('FailedPrecondition', `volume ${volume.volumeId} is attached ${mode} already`, {
      next: 'detach it first',
    });
  }
  const node = await activateVolume(context, volume.pool, found, entry, options);
  return describeAttached(found, entry, node);
}

/**
 * Activates a logical volume, in one step with making it read-only: LVM's own way for that (read_only_volume_list) would
 * load the whole thin pool anew, read-only, which the kernel refuses while it is in use.
 */
export async function activateVolume(
  context: LvmContext,
  pool: PoolRef,
  found: FoundGroup,
  { lv }: Entry,
  options: { readonly readOnly: boolean },
): Promise<BlockNode> {
  const { deps } = context;
  return deps.steps.run('lvm.attach.activate', async () => {
    await context.runQuietly(pool, found, lvactivate(found.group.name, [lv.name]));
    const node = await mappedNode(deps, found, lv.id);
    if (!node)
      throw new AzekuraError('HostFailure', `logical volume ${lv.name} was activated and has no device`, {
        next: 'look at the kernel log (dmesg) and at `dmsetup info`',
      });
    if (!options.readOnly) return node;
    await deps.host.exec(['blockdev', '--setro', node.path], { domain: `pool/${pool.name}/${lv.name}` });
    return { ...node, readOnly: true };
  });
}

/** @throws AzekuraError FailedPrecondition with blame InUse and the holder's name */
export async function detachVolume(context: LvmContext, volume: VolumeRef): Promise<void> {
  const found = await context.find(volume.pool);
  const entry = found.entries.volume(volume.volumeId);
  if (!entry) return;
  const node = await mappedNode(context.deps, found, entry.lv.id);
  if (!node) return;
  await refuseWhileMounted(context, volume, node);
  try {
    await context.run('detach.deactivate', volume.pool, found, lvdeactivate(found.group.name, [entry.lv.name]));
  } catch (error) {
    if (!lvmFailed(error, 'in-use')) throw error;
    const holders = await context.deps.host.holders({ device: node.path });
    throw inUse(`volume ${volume.volumeId}`, holders[0] ?? `an unknown holder of ${node.path}`);
  }
}

async function refuseWhileMounted(context: LvmContext, volume: VolumeRef, node: BlockNode): Promise<void> {
  const mounted = (await context.deps.host.mounts()).find((mount) => mount.device === node.deviceNumber);
  if (mounted) throw inUse(`volume ${volume.volumeId}`, `the mount at ${mounted.target}`);
}

export function describeAttached({ group }: FoundGroup, { lv, tags }: Entry, node: BlockNode): AttachedDevice {
  const name = `${group.name}/${lv.name}`;
  const type = lv.segments[0]?.type ?? '';
  return {
    device: node.path,
    readOnly: node.readOnly,
    ...(tags.blank ? { blank: true as const } : {}),
    layers: [{ kind: 'lv', name, target: node.path, details: { type, mapped: node.mapped?.name ?? '' } }],
    causes: [],
  };
}
