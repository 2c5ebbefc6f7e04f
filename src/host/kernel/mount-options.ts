/** MS_* of include/uapi/linux/mount.h */
export const mountFlags = {
  readOnly: 1,
  remount: 32,
  bind: 4096,
} as const;

const flagOfOption: Readonly<Record<string, number>> = {
  ro: mountFlags.readOnly,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  sync: 16,
  remount: mountFlags.remount,
  mand: 64,
  dirsync: 128,
  nosymfollow: 256,
  noatime: 1024,
  nodiratime: 2048,
  bind: mountFlags.bind,
  relatime: 1 << 21,
  strictatime: 1 << 24,
  lazytime: 1 << 25,
};

const noFlag = new Set(['rw', 'defaults', 'suid', 'dev', 'exec', 'async', 'atime', 'diratime']);

/** Splits mount options, as people write them, into the flags and the data of mount(2). */
export function splitMountOptions(options: readonly string[]): { readonly flags: number; readonly data: string } {
  let flags = 0;
  const data: string[] = [];
  for (const option of options) {
    const flag = Object.hasOwn(flagOfOption, option) ? (flagOfOption[option] ?? 0) : 0;
    if (flag !== 0) flags |= flag;
    else if (!noFlag.has(option)) data.push(option);
  }
  return { flags, data: data.join(',') };
}

/**
 * The MS_* flags that keep a mount as it is when it is remounted: a bind remount drops each flag that is not named.
 *
 * @param statfsFlags f_flags of statfs(2): ST_NOSUID 2, ST_NODEV 4, ST_NOEXEC 8, ST_NOATIME 1024, ST_NODIRATIME 2048,
 *   ST_RELATIME 4096, ST_NOSYMFOLLOW 8192
 */
export function flagsToKeep(statfsFlags: number): number {
  const same = statfsFlags & (2 | 4 | 8 | 1024 | 2048);
  return same | (statfsFlags & 4096 ? 1 << 21 : 0) | (statfsFlags & 8192 ? 256 : 0);
}
