import type { AttachedDevice } from '../../engines/contract.ts';
import type { MountEntry } from '../../host/host.ts';
import type { Attachment } from '../../model/kinds.ts';
import type { AgentContext } from '../context.ts';
import { isReadOnly, type Look, showsDevice, showsFilesystem, topMount } from '../filesystem/mount-table.ts';
import type { MountRecord } from '../filesystem/record.ts';
import type { SeenAttachment } from './attachment-plan.ts';

/** Where the file system of an attachment is mounted once. */
export function stagingPathOf(context: AgentContext, attachment: Pick<Attachment, 'spec'>): string {
  return attachment.spec.stagingPath ?? `${context.mountsDir}/${attachment.spec.volumeId}`;
}

/**
 * Tells from the mount table what is there of an attachment.
 *
 * @param mounts as just read
 */
export async function observeAttachment(
  context: AgentContext,
  attachment: Attachment,
  device: AttachedDevice | undefined,
  record: MountRecord,
  mounts: readonly MountEntry[],
): Promise<SeenAttachment> {
  const look = device && (await lookOf(context, attachment.spec.volumeId, device));
  const stagingPath = record.stagingPath ?? stagingPathOf(context, attachment);
  const stagingMount = topMount(mounts, stagingPath);
  // A path that somebody else gave is not ours before we have recorded it.
  const known = record.stagingPath !== undefined || attachment.spec.stagingPath === undefined;
  const staging = stagingMount && known ? (look && showsFilesystem(stagingMount, look) ? 'ours' : 'stale') : 'none';
  const recorded = record.publications.map((publication) => publication.path);
  const publications = new Map<string, { state: 'none' | 'ours' | 'stale' | 'foreign'; readOnly: boolean }>();
  for (const path of new Set([...recorded, ...attachment.spec.published.map((publication) => publication.path)])) {
    const mount = topMount(mounts, path);
    publications.set(path, {
      state: mount ? stateOf(mount, look, stagingMount, attachment, recorded.includes(path)) : 'none',
      readOnly: mount ? isReadOnly(mount) : false,
    });
  }
  return {
    device: device && { path: device.device, readOnly: device.readOnly, partial: device.partial === true },
    staging,
    stagingReadOnly: stagingMount ? isReadOnly(stagingMount) : false,
    publications,
    recorded,
  };
}

/** How the device appears in the mount table. */
async function lookOf(context: AgentContext, volumeId: string, device: AttachedDevice): Promise<Look> {
  const deviceNumber = device.deviceNumber ?? (await context.volumeKernel(volumeId).stat(device.device))?.deviceNumber;
  return { device: device.device, deviceNumber };
}

/**
 * A mount at a path of ours is stale when it shows what we put there before: the same file system as the stale staging
 * mount, or the device that the status names. Everything else is somebody else's and stays.
 */
function stateOf(
  mount: MountEntry,
  look: Look | undefined,
  stagingMount: MountEntry | undefined,
  attachment: Attachment,
  recorded: boolean,
): 'ours' | 'stale' | 'foreign' {
  if (look && attachment.spec.access === 'block' && showsDevice(mount, look)) return 'ours';
  if (look && attachment.spec.access === 'filesystem' && showsFilesystem(mount, look)) return 'ours';
  if (!recorded) return 'foreign';
  if (stagingMount && mount.device === stagingMount.device) return 'stale';
  const before = attachment.status.devicePath;
  if (before !== undefined && (mount.source === before || showsDevice(mount, { device: before }))) return 'stale';
  return 'foreign';
}
