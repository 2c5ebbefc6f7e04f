/*
 * Argument lists of the LVM and device-mapper commands that Azekura runs (lvm(8), dmsetup(8)); pure. run.ts adds --config.
 * Sizes go in extents where they must be exact, else in bytes.
 */

/** A command and its arguments, without --config. */
export type LvmArgv = readonly [verb: string, ...args: string[]];

const yes = '--yes';
const tags = (add: readonly string[] = []) => add.flatMap((tag) => ['--addtag', tag]);

/** Volumes of ours come up only when we ask for them: neither the host at boot nor a pool's activation starts them. */
const dormant = ['--setactivationskip', 'y', '--activate', 'n'] as const;

export function pvcreate(device: string, options: { readonly uuid?: string; readonly metadataBytes: number }): LvmArgv {
  const { uuid, metadataBytes } = options;
  const known = uuid === undefined ? [] : ['--uuid', uuid, '--norestorefile'];
  return ['pvcreate', yes, '--force', '--metadatasize', `${metadataBytes}b`, ...known, device];
}

export const pvremove = (device: string): LvmArgv => ['pvremove', yes, '--force', '--force', device];
export const pvresize = (device: string): LvmArgv => ['pvresize', yes, device];
export const pvchangeAllocatable = (device: string, allocatable: boolean): LvmArgv => [
  'pvchange',
  '--allocatable',
  allocatable ? 'y' : 'n',
  device,
];

/** Moves extents of a disk to the others of the group. */
export const pvmove = (device: string, fromExtent: number, extents: number): LvmArgv =>
  pvmoveResume(`${device}:${fromExtent}-${fromExtent + extents - 1}`);
/**
 * Goes on with an interrupted move, named by the disk that it empties: only then the move's mirror is started where the
 * volume itself is not active (the metadata's spare never is); without a disk such a move is skipped, with success
 * (tools/pvmove.c, tools/polldaemon.c).
 */
export const pvmoveResume = (device: string): LvmArgv => ['pvmove', yes, '--interval', '1', device];

export function vgcreate(
  group: string,
  devices: readonly string[],
  options: { readonly tags: readonly string[]; readonly extentBytes: number; readonly metadataBytes: number },
): LvmArgv {
  const { extentBytes, metadataBytes } = options;
  const sizes = ['--physicalextentsize', `${extentBytes}b`, '--metadatasize', `${metadataBytes}b`];
  return ['vgcreate', yes, ...sizes, ...tags(options.tags), group, ...devices];
}

/** Gives copies of disks, all of one group, ids and a name of their own: it can be used beside the original then. */
export const vgimportclone = (group: string, devices: readonly string[]): LvmArgv => [
  'vgimportclone',
  yes,
  '--basevgname',
  group,
  ...devices,
];
export const vgdeactivate = (group: string): LvmArgv => ['vgchange', yes, '--activate', 'n', group];
export const vgextend = (group: string, device: string): LvmArgv => ['vgextend', yes, group, device];
export const vgreduce = (group: string, device: string): LvmArgv => ['vgreduce', yes, group, device];
export const vgremove = (group: string): LvmArgv => ['vgremove', yes, group];
export const vgTags = (group: string, change: TagChange): LvmArgv => ['vgchange', ...tagChange(change), group];

export interface TagChange {
  readonly add: readonly string[];
  readonly remove: readonly string[];
}

function tagChange({ add, remove }: TagChange): readonly string[] {
  return [...remove.flatMap((tag) => ['--deltag', tag]), ...tags(add)];
}

/** How a volume lies on the disks of its group. */
export interface LayoutOptions {
  readonly type: 'linear' | 'striped' | 'mirror' | 'raid1' | 'raid5' | 'raid6' | 'raid10';
  /** Disks that data is spread over, without those for redundancy. */
  readonly stripes?: number;
  readonly stripeBytes?: number;
  /** Further copies. */
  readonly mirrors?: number;
}

function layoutArgs(layout: LayoutOptions): readonly string[] {
  return [
    '--type',
    layout.type,
    ...(layout.stripes === undefined ? [] : ['--stripes', String(layout.stripes)]),
    ...(layout.stripeBytes === undefined ? [] : ['--stripesize', `${layout.stripeBytes}b`]),
    ...(layout.mirrors === undefined ? [] : ['--mirrors', String(layout.mirrors)]),
  ];
}

interface ThickOptions {
  readonly extents: number;
  readonly layout: LayoutOptions;
  readonly tags: readonly string[];
}

/** A thick volume. Comes up active, so that it can be zeroed; signatures of what lay there before are wiped. */
export const lvcreateThick = (group: string, name: string, options: ThickOptions): LvmArgv =>
  lvcreateOnDisks(group, name, options, ['--zero', 'y', '--setactivationskip', 'y', '--ignoreactivationskip']);

/** The plain parts that a thin pool is put together from, when its data is to lie on RAID. */
export const lvcreatePart = (group: string, name: string, options: ThickOptions): LvmArgv =>
  lvcreateOnDisks(group, name, options, []);

function lvcreateOnDisks(
  group: string,
  name: string,
  { extents, layout, tags: add }: ThickOptions,
  more: readonly string[],
): LvmArgv {
  const size = ['--extents', String(extents), ...layoutArgs(layout)];
  return ['lvcreate', yes, ...size, '--wipesignatures', 'y', ...more, '--name', name, ...tags(add), group];
}

/** New chunks are zeroed before anybody sees them: without that a volume shows what others have deleted. */
export function lvcreateThinPool(
  group: string,
  name: string,
  options: {
    readonly extents: number;
    readonly metadataBytes: number;
    readonly chunkBytes: number;
    readonly tags: readonly string[];
  },
): LvmArgv {
  return [
    'lvcreate',
    yes,
    '--type',
    'thin-pool',
    '--zero',
    'y',
    '--discards',
    'passdown',
    '--chunksize',
    `${options.chunkBytes}b`,
    '--poolmetadatasize',
    `${options.metadataBytes}b`,
    '--poolmetadataspare',
    'y',
    '--extents',
    String(options.extents),
    '--name',
    name,
    ...tags(options.tags),
    group,
  ];
}

/** Makes a thin pool of a volume for data and one for metadata. */
export const lvconvertThinPool = (group: string, data: string, metadata: string, chunkBytes: number): LvmArgv => [
  'lvconvert',
  yes,
  '--type',
  'thin-pool',
  '--zero',
  'y',
  '--chunksize',
  `${chunkBytes}b`,
  '--poolmetadata',
  `${group}/${metadata}`,
  `${group}/${data}`,
];

export function lvcreateThin(
  group: string,
  pool: string,
  name: string,
  options: { readonly sizeBytes: number; readonly tags: readonly string[] },
): LvmArgv {
  const size = ['--type', 'thin', '--virtualsize', `${options.sizeBytes}b`];
  return ['lvcreate', yes, ...size, '--thinpool', pool, ...dormant, '--name', name, ...tags(options.tags), group];
}

/** A snapshot of a thin volume shares all of its blocks. The origin is held still for the instant when it is active. */
export function lvcreateSnapshot(
  group: string,
  origin: string,
  name: string,
  options: { readonly tags: readonly string[] },
): LvmArgv {
  return ['lvcreate', yes, '--snapshot', ...dormant, '--name', name, ...tags(options.tags), `${group}/${origin}`];
}

export const lvchangeTags = (group: string, volume: string, change: TagChange): LvmArgv => [
  'lvchange',
  ...tagChange(change),
  `${group}/${volume}`,
];
export const lvactivate = (group: string, volumes: readonly string[]): LvmArgv => [
  'lvchange',
  yes,
  '--activate',
  'y',
  '--ignoreactivationskip',
  ...volumes.map((volume) => `${group}/${volume}`),
];
export const lvdeactivate = (group: string, volumes: readonly string[]): LvmArgv => [
  'lvchange',
  yes,
  '--activate',
  'n',
  ...volumes.map((volume) => `${group}/${volume}`),
];
export const lvremove = (group: string, volumes: readonly string[]): LvmArgv => [
  'lvremove',
  yes,
  '--force',
  ...volumes.map((volume) => `${group}/${volume}`),
];
export const lvextend = (
  group: string,
  volume: string,
  extents: number,
  options: { readonly where?: readonly string[] } = {},
): LvmArgv => ['lvextend', yes, '--extents', String(extents), `${group}/${volume}`, ...(options.where ?? [])];
export const lvextendPoolMetadata = (group: string, pool: string, addBytes: number): LvmArgv => [
  'lvextend',
  yes,
  '--poolmetadatasize',
  `+${addBytes}b`,
  `${group}/${pool}`,
];
/** Puts together a thin pool's damaged or overfull metadata anew, while the pool is not active. */
export const lvrepairPool = (group: string, pool: string): LvmArgv => [
  'lvconvert',
  yes,
  '--repair',
  `${group}/${pool}`,
];
/** The kernel's name of a logical volume: dashes inside the names are doubled (libdm, dm_build_dm_name). */
export function mappedName(group: string, volume: string, layer?: string): string {
  const double = (name: string) => name.replaceAll('-', '--');
  return `${double(group)}-${double(volume)}${layer === undefined ? '' : `-${layer}`}`;
}

/** The kernel's uuid of a logical volume: LVM- and both ids without their dashes, and the layer. */
export function mappedUuid(groupId: string, volumeId: string, layer?: string): string {
  return `LVM-${groupId.replaceAll('-', '')}${volumeId.replaceAll('-', '')}${layer === undefined ? '' : `-${layer}`}`;
}

type Argv = readonly [string, ...string[]];

export const dmStatus = (name: string): Argv => ['dmsetup', 'status', name];
/** Holds back all writes and brings the file system on it to rest. */
export const dmResume = (name: string): Argv => ['dmsetup', 'resume', name];
export const dmMessage = (name: string, ...message: readonly string[]): Argv => [
  'dmsetup',
  'message',
  name,
  '0',
  ...message,
];

/**
 * A device with the contents of another, which is only ever read: what is written to it goes to a device of its own
 * (Documentation/admin-guide/device-mapper/snapshot.rst; a chunk of 16 sectors, with a header that hides what it holds).
 */
export const dmOverlay = (
  name: string,
  uuid: string,
  sizeBytes: number,
  devices: { readonly origin: string; readonly changes: string },
): Argv => [
  'dmsetup',
  'create',
  name,
  '--uuid',
  uuid,
  '--table',
  `0 ${sizeBytes / 512} snapshot ${devices.origin} ${devices.changes} P 16`,
];
export const dmRemove = (name: string): Argv => ['dmsetup', 'remove', '--retry', name];

export const thinUsage = (metadata: string): Argv => [
  'thin_ls',
  '--metadata-snap',
  '--no-headers',
  '-o',
  'DEV,MAPPED_BYTES,EXCLUSIVE_BYTES,SHARED_BYTES',
  metadata,
];
export const thinDelta = (metadata: string, base: number, target: number): Argv => [
  'thin_delta',
  '--metadata-snap',
  '--thin1',
  String(base),
  '--thin2',
  String(target),
  metadata,
];
export const thinDump = (metadata: string, device: number): Argv => [
  'thin_dump',
  '--metadata-snap',
  '--dev-id',
  String(device),
  metadata,
];
