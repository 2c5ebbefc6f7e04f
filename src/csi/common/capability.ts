import { VolumeCapability_AccessMode_Mode as Mode, type VolumeCapability } from '../../gen/csi/csi_pb.js';
import { type AccessMode, GroupId } from '../../model/attachment.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { Attachment } from '../../model/kinds.ts';
import { refusedMountOptions } from '../../model/mount-options.ts';

/** How a volume is to be used, in our words. */
export interface Capability {
  readonly access: 'filesystem' | 'block';
  /** Undefined when the caller leaves it to the class. */
  readonly filesystem?: 'xfs' | 'ext4';
  readonly mountOptions: readonly string[];
  readonly accessMode: AccessMode;
  /** The group that everything in the volume is to belong to. */
  readonly mountGroup?: number;
}

const accessModes: Readonly<Record<number, AccessMode>> = {
  [Mode.SINGLE_NODE_WRITER]: 'SingleNodeWriter',
  [Mode.SINGLE_NODE_READER_ONLY]: 'SingleNodeReader',
  [Mode.MULTI_NODE_READER_ONLY]: 'MultiNodeReader',
  [Mode.MULTI_NODE_SINGLE_WRITER]: 'MultiNodeSingleWriter',
  [Mode.MULTI_NODE_MULTI_WRITER]: 'MultiNodeMultiWriter',
  [Mode.SINGLE_NODE_SINGLE_WRITER]: 'SingleNodeSingleWriter',
  [Mode.SINGLE_NODE_MULTI_WRITER]: 'SingleNodeMultiWriter',
};

/** Modes that let several nodes use the volume at once. */
export function isMultiNode(mode: AccessMode): boolean {
  return mode.startsWith('MultiNode');
}

/** Modes in which nobody writes. */
export function isReadOnly(mode: AccessMode): boolean {
  return mode === 'SingleNodeReader' || mode === 'MultiNodeReader';
}

/** Modes in which one path at most may show the volume on a node: csi.md's table for a second NodePublishVolume. */
export function isExclusive(mode: AccessMode): boolean {
  return !isMultiNode(mode) && mode !== 'SingleNodeMultiWriter';
}

/** @throws AzekuraError InvalidArgument for one that is missing, unknown, or asks for what no volume of ours has */
export function parseCapability(capability: VolumeCapability | undefined): Capability {
  if (!capability) throw new AzekuraError('InvalidArgument', 'field volume_capability is missing');
  const accessMode = accessModes[capability.accessMode?.mode ?? Mode.UNKNOWN];
  if (!accessMode) throw new AzekuraError('InvalidArgument', 'the access mode is missing or unknown');
  const type = capability.accessType;
  if (type.case === 'block') return { access: 'block', mountOptions: [], accessMode };
  if (type.case !== 'mount')
    throw new AzekuraError('InvalidArgument', 'the access type is missing: a capability is for mount or block');
  const { fsType, mountFlags, volumeMountGroup } = type.value;
  const filesystem = parseFilesystem(fsType);
  const refused = refusedMountOptions(filesystem ?? 'xfs', mountFlags).filter(
    // Without a file-system type the class decides: what either knows passes here, the agent checks again.
    (option) => filesystem !== undefined || refusedMountOptions('ext4', [option]).length > 0,
  );
  if (refused.length > 0)
    throw new AzekuraError('InvalidArgument', `mount flag "${refused[0]}" is not possible`, {
      next: 'the flags that are possible are listed in docs/guide.md',
    });
  const mountGroup = parseGroup(volumeMountGroup);
  return {
    access: 'filesystem',
    ...(filesystem ? { filesystem } : {}),
    mountOptions: mountFlags,
    accessMode,
    ...(mountGroup === undefined ? {} : { mountGroup }),
  };
}

/**
 * Several capabilities of one volume.
 *
 * @throws AzekuraError InvalidArgument when there is none, or they contradict each other
 */
export function parseCapabilities(capabilities: readonly VolumeCapability[]): readonly [Capability, ...Capability[]] {
  const [first, ...others] = capabilities.map((capability) => parseCapability(capability));
  if (!first) throw new AzekuraError('InvalidArgument', 'field volume_capabilities is missing');
  for (const other of others) {
    if (other.access !== first.access)
      throw new AzekuraError('InvalidArgument', 'a volume is either for mount or for block, not for both');
    if (other.filesystem && first.filesystem && other.filesystem !== first.filesystem)
      throw new AzekuraError('InvalidArgument', 'a volume has one file system');
  }
  return [first, ...others];
}

/** Why a volume cannot be used like that; undefined when it can. */
export function capabilityProblem(
  capability: Capability,
  volume: { readonly mode: 'filesystem' | 'block'; readonly filesystem: string; readonly shared: boolean },
): string | undefined {
  if (capability.access !== volume.mode)
    return volume.mode === 'block' ? 'it is a raw block volume' : 'it has a file system and is no raw block volume';
  if (capability.filesystem && capability.filesystem !== volume.filesystem)
    return `its file system is ${volume.filesystem}, not ${capability.filesystem}`;
  if (isMultiNode(capability.accessMode) && !volume.shared) return 'only one node at a time can use it';
  return undefined;
}

/** Why the capability is not the one that the attachment was made with; undefined when it is. */
export function attachmentProblem(capability: Capability, { spec }: Attachment): string | undefined {
  if (capability.access !== spec.access) return `it is attached for ${spec.access}`;
  if (spec.accessMode && spec.accessMode !== capability.accessMode)
    return `it is attached with access mode ${spec.accessMode}`;
  const same = [...capability.mountOptions].sort().join() === [...spec.mountOptions].sort().join();
  if (spec.staged && !same) return 'it is staged with other mount flags';
  return undefined;
}

/** A number in decimal: names of groups mean nothing outside of the container. */
function parseGroup(text: string): number | undefined {
  if (text === '') return undefined;
  const group = GroupId.safeParse(/^(0|[1-9]\d{0,9})$/.test(text) ? Number(text) : undefined);
  if (!group.success)
    throw new AzekuraError('InvalidArgument', 'field volume_mount_group is not the number of a group');
  return group.data;
}

function parseFilesystem(fsType: string): 'xfs' | 'ext4' | undefined {
  if (fsType === '') return undefined;
  if (fsType === 'xfs' || fsType === 'ext4') return fsType;
  throw new AzekuraError('InvalidArgument', `file system "${fsType}" is not possible`, { next: 'choose xfs or ext4' });
}
