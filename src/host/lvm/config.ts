/** Which devices a command may open, and where it locks. */
export interface LvmScope {
  /** Paths of the physical volumes; nothing else is opened. */
  readonly devices: readonly string[];
  /** Folder of the group's metadata backups. */
  readonly backupDir?: string;
  /** The devices bear uuids of logical volumes, which LVM mostly leaves out. */
  readonly onVolumes?: boolean;
}

/** The lock folder of every LVM on the machine: a container must see the host's. */
export const lockFolder = '/run/lock/lvm';

/**
 * LVM's configuration for one command (lvm.conf(5)), given on its command line so that neither the image's nor the
 * host's lvm.conf decides:
 * - only the named devices are scanned: a device that does not answer cannot block a command that does not need it;
 * - the host's lock folder, and no waiting for a lock: who waits, and how long, is decided in run.ts;
 * - no udev: device nodes are made by LVM itself, and nobody is waited for;
 * - no daemons: nothing is polled or monitored behind our back, and pools that fill up fail writes instead of holding them.
 */
export function lvmConfig(scope: LvmScope): string {
  const filter = list([...scope.devices.map((path) => `a|^${escapePattern(path)}$|`), 'r|.*|']);
  const backup =
    scope.backupDir === undefined ? 'backup=0 archive=0' : `backup=1 archive=0 backup_dir=${quote(scope.backupDir)}`;
  return [
    `devices{filter=${filter} global_filter=${filter} use_devicesfile=0 scan_lvs=${scope.onVolumes ? 1 : 0} obtain_device_list_from_udev=0` +
      ' external_device_info_source="none" multipath_component_detection=0 issue_discards=0}',
    `global{locking_type=1 locking_dir=${quote(lockFolder)} wait_for_locks=0 use_lvmpolld=0 notify_dbus=0 event_activation=0}`,
    'activation{udev_sync=0 udev_rules=0 verify_udev_operations=0 monitoring=0 error_when_full=1}',
    `backup{${backup}}`,
    'log{prefix="" command_names=0 syslog=0}',
  ].join(' ');
}

function list(values: readonly string[]): string {
  return `[${values.map(quote).join(',')}]`;
}

function quote(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}

/** LVM's own patterns (lvm.conf(5), "filter"): what has a meaning there must not have it in a path. */
function escapePattern(path: string): string {
  return path.replace(/[.*+?()[\]{}|^$\\]/g, '\\$&');
}
