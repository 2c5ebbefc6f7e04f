/**
 * Options that a volume may be mounted with. An allow-list: what weakens durability (nobarrier, data=writeback), skips
 * the journal (norecovery, noload) or names other devices (logdev, journal_path) is not in it.
 */
const general = new Set([
  'ro',
  'rw',
  'noatime',
  'relatime',
  'strictatime',
  'nodiratime',
  'lazytime',
  'nosuid',
  'nodev',
  'noexec',
  'nosymfollow',
  'sync',
  'dirsync',
  'discard',
  'nodiscard',
]);

const special: Readonly<Record<'xfs' | 'ext4', readonly RegExp[]>> = {
  xfs: [
    /^(inode64|largeio|nolargeio|swalloc|wsync|attr2)$/,
    /^logbufs=[2-8]$/,
    /^logbsize=\d{1,3}k$/,
    /^allocsize=\d{1,6}[km]$/,
  ],
  ext4: [
    /^(acl|noacl|user_xattr|delalloc|nodelalloc|auto_da_alloc|journal_checksum|i_version|errors=remount-ro)$/,
    /^data=(ordered|journal)$/,
    /^commit=\d{1,3}$/,
    /^(init_itable=\d{1,3}|noinit_itable)$/,
  ],
};

/** The options that are not allowed, in their order. */
export function refusedMountOptions(filesystem: 'xfs' | 'ext4', options: readonly string[]): readonly string[] {
  return options.filter(
    (option) => !general.has(option) && !special[filesystem].some((pattern) => pattern.test(option)),
  );
}
