/** What a failed LVM command was about, as far as its words tell. */
export type LvmFailure =
  /** Somebody else holds the lock of the group. */
  | 'locked'
  /** The device of a volume is open, mounted or stacked upon. */
  | 'in-use'
  | 'not-found'
  | 'exists'
  | 'no-space'
  /** Not as many disks as the layout wants. */
  | 'too-few-disks'
  | 'missing-disk'
  | 'read-only'
  /** The metadata area has no room for another volume. */
  | 'metadata-full'
  /** The thin pool refuses: its metadata needs a check, or its transaction does not match. */
  | 'pool-damaged'
  /** Another machine, cluster or lock manager owns the group. */
  | 'foreign'
  | 'disk-refused'
  | 'kernel'
  | 'other';

/** Words of LVM 2.02 to 2.03 (lib/ and tools/ of its source); the first that fits counts. */
const patterns: readonly (readonly [LvmFailure, RegExp])[] = [
  [
    'locked',
    /can't get lock for|flock failed: Resource temporarily unavailable|Cannot access VG .* due to failed lock/i,
  ],
  ['foreign', /with system ID .* (from|is)|Cannot access (clustered|VG .* with lock type)|is exported|has lock type/i],
  [
    'in-use',
    /contains a filesystem in use|Logical volume \S+ in use|in use: not (deactivating|removing)|is (in use|used by another device|still in use)|is being used|Device or resource busy/i,
  ],
  // What a thin pool says when its data or metadata is nearly full and LVM will not add to it.
  ['no-space', /reached threshold/i],
  [
    'pool-damaged',
    /transaction_id|needs? check|thin_check|Check of pool .* failed|is in failed state|manual repair|operation is not (possible|permitted) .* metadata|unusable.*thin pool|Cannot create new thin|is not valid for thin|read-only metadata/i,
  ],
  [
    'metadata-full',
    /VG .* metadata (too large|on .* exceeds)|metadata too large for circular buffer|Failed to write VG .* mda|free space in metadata|full metadata|metadata space/i,
  ],
  [
    'too-few-disks',
    /(Insufficient|Not enough) suitable allocatable|Number of (stripes|mirrors|images).*(exceed|than)|Unable to allocate .* (images|areas)|needs at least .* PVs/i,
  ],
  [
    'no-space',
    /insufficient free (space|extents)|insufficient suitable allocatable|not enough free|has no free (space|extents)|No space left on device|free space.*out of/i,
  ],
  [
    'missing-disk',
    /missing (physical volumes|PVs?|device)|Couldn't find device with uuid|is partial|while (PVs|devices) (are )?missing|Cannot (change|process|access).*partial|device .* not found \(or ignored/i,
  ],
  [
    'read-only',
    /(Volume group|VG) .* is read-only|Read-only (locking|file system)|write access .* denied|Permission denied/i,
  ],
  ['exists', /already exists in volume group|already exists|is already (in|part of) (a )?volume group/i],
  [
    'disk-refused',
    /excluded (by|from)|excluded: |Can't open .* exclusively|Mounted filesystem\?|Can't initialize (physical|PV)|Cannot use .*:|is too small/i,
  ],
  ['not-found', /(Failed to find|not found|Cannot process volume group|Can't find|doesn't exist)/i],
  [
    'kernel',
    /device-mapper: .* ioctl .* failed|Failed to (suspend|resume|activate|deactivate)|modprobe|not detected: missing/i,
  ],
];

/** Reads what a failed command wrote to its standard error. */
export function classifyLvmFailure(stderr: string): LvmFailure {
  // Said as a warning only; the error that follows is about a threshold that nothing has reached.
  if (/unexpected transaction id/i.test(stderr)) return 'pool-damaged';
  // Warnings are about other things than what failed, mostly.
  const text = stderr
    .split('\n')
    .filter((line) => !/^\s*WARNING:/i.test(line))
    .join('\n');
  return patterns.find(([, pattern]) => pattern.test(text))?.[0] ?? 'other';
}
