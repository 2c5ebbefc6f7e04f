import { type LvmSection, type LvmValue, parseLvmText } from './text.ts';

/** A volume group as its metadata describes it: what is wanted, whatever the kernel has just now. */
export interface VolumeGroup {
  readonly name: string;
  readonly id: string;
  readonly seqno: number;
  /** When this version of it was written: milliseconds since the epoch, by the clock of the machine then. */
  readonly writtenMs: number;
  readonly extentBytes: number;
  /** RESIZEABLE, READ, WRITE, EXPORTED, CLUSTERED … */
  readonly status: readonly string[];
  readonly tags: readonly string[];
  /** The machine that owns it; "" for none. */
  readonly systemId: string;
  /** "none", or the lock manager of a cluster. */
  readonly lockType: string;
  readonly physical: readonly PhysicalVolume[];
  readonly volumes: readonly LogicalVolume[];
}

export interface PhysicalVolume {
  /** pv0, pv1 …: how segments name it. */
  readonly key: string;
  readonly id: string;
  /** Where LVM saw it last: a hint, no more. */
  readonly deviceHint: string;
  readonly allocatable: boolean;
  /** The metadata itself says that it is gone. */
  readonly missing: boolean;
  readonly extents: number;
  readonly deviceBytes: number;
}

export interface LogicalVolume {
  readonly name: string;
  readonly id: string;
  readonly tags: readonly string[];
  readonly visible: boolean;
  readonly writable: boolean;
  readonly sizeBytes: number;
  readonly segments: readonly Segment[];
}

export interface Segment {
  /** striped (also linear), thin-pool, thin, raid1, raid5_ls, mirror … */
  readonly type: string;
  readonly startExtent: number;
  readonly extents: number;
  /** Of a thin volume: its pool and number in it, and what it is a snapshot of. */
  readonly pool?: string;
  readonly deviceId?: number;
  readonly origin?: string;
  /** Of a thin pool. */
  readonly metadata?: string;
  readonly data?: string;
  readonly chunkBytes?: number;
  readonly zeroes?: boolean;
  readonly transactionId?: number;
  /** Where it lies: physical volumes by key, or parts of it by name. */
  readonly areas: readonly { readonly on: string; readonly startExtent: number }[];
}

const sectorBytes = 512;

/**
 * Reads the metadata text of a volume group.
 *
 * @throws SyntaxError when it is none
 */
export function parseGroup(text: string): VolumeGroup {
  const root = parseLvmText(text);
  const [name, body] = Object.entries(root).find(([, value]) => isSection(value) && 'extent_size' in value) ?? [];
  if (name === undefined || !isSection(body)) throw new SyntaxError('there is no volume group in the text');
  const extentBytes = number(body.extent_size) * sectorBytes;
  return {
    name,
    id: string(body.id),
    seqno: number(body.seqno),
    writtenMs: number(root.creation_time) * 1000,
    extentBytes,
    status: strings(body.status),
    tags: strings(body.tags),
    systemId: string(body.system_id),
    lockType: string(body.lock_type) || 'none',
    physical: sections(body.physical_volumes).map(([key, pv]) => ({
      key,
      id: string(pv.id),
      deviceHint: string(pv.device),
      allocatable: strings(pv.status).includes('ALLOCATABLE'),
      missing: strings(pv.flags).includes('MISSING'),
      extents: number(pv.pe_count),
      deviceBytes: number(pv.dev_size) * sectorBytes,
    })),
    volumes: sections(body.logical_volumes).map(([volume, lv]) => parseVolume(volume, lv, extentBytes)),
  };
}

function parseVolume(name: string, lv: LvmSection, extentBytes: number): LogicalVolume {
  const segments = sections(lv).map(([, segment]) => parseSegment(segment));
  const status = strings(lv.status);
  return {
    name,
    id: string(lv.id),
    tags: strings(lv.tags),
    visible: status.includes('VISIBLE'),
    writable: status.includes('WRITE'),
    sizeBytes: segments.reduce((sum, { extents }) => sum + extents, 0) * extentBytes,
    segments,
  };
}

function parseSegment(segment: LvmSection): Segment {
  const optional = <K extends string, T>(key: K, value: T | undefined) =>
    (value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: T };
  const text = (value: LvmValue | undefined) => (typeof value === 'string' ? value : undefined);
  const count = (value: LvmValue | undefined) => (typeof value === 'number' ? value : undefined);
  const chunk = count(segment.chunk_size);
  const zeroes = count(segment.zero_new_blocks);
  return {
    type: string(segment.type),
    startExtent: number(segment.start_extent),
    extents: number(segment.extent_count),
    ...optional('pool', segment.type === 'thin' ? text(segment.thin_pool) : undefined),
    ...optional('deviceId', count(segment.device_id)),
    ...optional('origin', text(segment.origin)),
    ...optional('metadata', text(segment.metadata)),
    ...optional('data', text(segment.pool)),
    ...optional('chunkBytes', chunk === undefined ? undefined : chunk * sectorBytes),
    ...optional('zeroes', segment.type === 'thin-pool' ? zeroes === 1 : undefined),
    ...optional('transactionId', count(segment.transaction_id)),
    areas: areasOf(segment),
  };
}

/** stripes = [pv, extent, …], mirrors = [lv, extent, …], raids = [meta, data, …]. */
function areasOf(segment: LvmSection): Segment['areas'] {
  const list = [segment.stripes, segment.mirrors].find(Array.isArray) as readonly LvmValue[] | undefined;
  const areas: { on: string; startExtent: number }[] = [];
  for (let at = 0; list && at + 1 < list.length; at += 2)
    areas.push({ on: string(list[at]), startExtent: number(list[at + 1]) });
  if (Array.isArray(segment.raids))
    for (const part of segment.raids as readonly LvmValue[]) areas.push({ on: string(part), startExtent: 0 });
  return areas;
}

function isSection(value: LvmValue | undefined): value is LvmSection {
  return typeof value === 'object' && !Array.isArray(value);
}

function sections(value: LvmValue | undefined): readonly [string, LvmSection][] {
  if (!isSection(value)) return [];
  return Object.entries(value).filter((entry): entry is [string, LvmSection] => isSection(entry[1]));
}

function string(value: LvmValue | undefined): string {
  return typeof value === 'string' ? value : '';
}

function number(value: LvmValue | undefined): number {
  return typeof value === 'number' ? value : 0;
}

function strings(value: LvmValue | undefined): readonly string[] {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
}

/** Extents that belong to no volume, on disks that are there and may be used. */
export function freeExtents(group: VolumeGroup): number {
  return group.physical.reduce(
    (sum, pv) => sum + (pv.missing || !pv.allocatable ? 0 : pv.extents - usedExtents(group, pv.key)),
    0,
  );
}

/** Extents of one disk that volumes have, by the key of its physical volume. */
export function usedExtents(group: VolumeGroup, key: string): number {
  return usedRanges(group, key).reduce((sum, { extents }) => sum + extents, 0);
}

/** Where on a disk volumes lie, in ascending order. */
export function usedRanges(
  group: VolumeGroup,
  key: string,
): readonly { readonly startExtent: number; readonly extents: number }[] {
  return group.volumes
    .flatMap(({ segments }) => segments)
    .flatMap((segment) => {
      const extents = extentsOnDisks(segment, (on) => on === key);
      const mine = segment.areas.filter(({ on }) => on === key);
      return mine.map(({ startExtent }) => ({ startExtent, extents: extents / mine.length }));
    })
    .sort((a, b) => a.startExtent - b.startExtent);
}

/** Extents that a segment takes on the physical volumes that `counts` accepts. */
export function extentsOnDisks(segment: Segment, counts: (key: string) => boolean = () => true): number {
  const onDisks = segment.areas.filter(({ on }) => /^pv\d+$/.test(on));
  if (onDisks.length === 0) return 0;
  // A striped segment's extents are spread over its stripes; a mirror's images are volumes of their own.
  const each = segment.extents / onDisks.length;
  return onDisks.filter(({ on }) => counts(on)).length * each;
}
