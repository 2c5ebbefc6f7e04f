/**
 * Whether a file system that was frozen from user space can be frozen by its block device as well, so that device-mapper
 * suspends a device below a frozen mount. Since Linux 6.8 (fs/super.c, FREEZE_MAY_NEST); before, freeze_bdev() answers EBUSY.
 *
 * @param release as uname(2) has it, for example "6.12.48+deb13-amd64"
 */
export function freezesNest(release: string): boolean {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  return Number(major) > 6 || (Number(major) === 6 && Number(minor) >= 8);
}
