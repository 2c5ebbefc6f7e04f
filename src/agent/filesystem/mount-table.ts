import type { MountEntry } from '../../host/host.ts';

/** Pure questions to the mount table of the machine. */

/** The mount that is seen at exactly this path: the topmost when several lie on each other. */
export function topMount(mounts: readonly MountEntry[], path: string): MountEntry | undefined {
  return mounts.findLast((mount) => mount.target === path);
}

/** What a volume looks like in the mount table. */
export interface Look {
  /** The device's path and, when known, its major:minor. */
  readonly device: string;
  readonly deviceNumber?: string | undefined;
}

/** Whether the mount shows the file system on the device. */
export function showsFilesystem(mount: MountEntry, look: Look): boolean {
  if (mount.filesystem === 'devtmpfs') return false;
  return look.deviceNumber === undefined ? mount.source === look.device : mount.device === look.deviceNumber;
}

/** Whether the mount shows the device node itself: a raw block volume that is published. */
export function showsDevice(mount: MountEntry, look: Look): boolean {
  return mount.filesystem === 'devtmpfs' && `/dev${mount.root}` === look.device;
}

/** Whether it may not be written through this mount. */
export function isReadOnly(mount: MountEntry): boolean {
  return mount.options.includes('ro');
}
