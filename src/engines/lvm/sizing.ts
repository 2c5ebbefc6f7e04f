import { extentsOnDisks, freeExtents, type VolumeGroup } from '../../host/lvm/group.ts';
import { readTags } from './tags.ts';

/** How big things are made. Pure. */

const mebibyte = 2 ** 20;
const gibibyte = 2 ** 30;

/** LVM's default: the step in which volumes grow. */
export const extentBytes = 4 * mebibyte;

/**
 * Room for the group's text on each disk. It is kept twice, and a volume takes about a kilobyte with its identity:
 * enough for fifteen thousand volumes and snapshots.
 */
export const groupMetadataBytes = 32 * mebibyte;
export const minimumDiskBytes = 512 * mebibyte;

const chunkSteps = [64, 128, 256, 512, 1024].map((kibibytes) => kibibytes * 1024);
/** More metadata than this costs time to check and repair: larger pools get larger chunks. */
const comfortableMetadataBytes = gibibyte;
/** The kernel's limit is 15.81 GiB. */
const mostMetadataBytes = 15 * gibibyte;
const leastMetadataBytes = 4 * mebibyte;
/** A mapping takes 16 bytes in a tree that is half full at worst; snapshots share most of theirs. */
const metadataBytesPerChunk = 64;

/** Chunk and metadata of a thin pool that may grow to the size of its group. */
export function thinPoolSizes(capacityBytes: number): { readonly chunkBytes: number; readonly metadataBytes: number } {
  const metadataFor = (chunkBytes: number) => (capacityBytes / chunkBytes) * metadataBytesPerChunk;
  const chunkBytes = chunkSteps.find((step) => metadataFor(step) <= comfortableMetadataBytes) ?? 1024 * 1024;
  const wanted = Math.min(mostMetadataBytes, Math.max(leastMetadataBytes, metadataFor(chunkBytes)));
  return { chunkBytes, metadataBytes: Math.ceil(wanted / (4 * mebibyte)) * 4 * mebibyte };
}

/** How much of the group the thin pool takes at first; the rest is for thick volumes until it needs it. */
const firstShare = 0.5;
/** The thin pool is extended while less than this share of the group is free in it … */
const headroomShare = 0.25;
/** … or less than fast disks write between two looks: a small group is given to the thin pool whole. */
const headroomBytes = 16 * gibibyte;

export function firstThinExtents(usableExtents: number): number {
  return Math.max(1, Math.floor(usableExtents * firstShare));
}

/**
 * Extents to add to the thin pool's data now, so that writers never meet its end while the group has room.
 *
 * @param room.freeThinExtents what is free in it
 * @param room.freeGroupExtents what it could still get
 */
export function thinGrowth(room: {
  readonly capacityExtents: number;
  readonly freeThinExtents: number;
  readonly freeGroupExtents: number;
  readonly extentBytes: number;
}): number {
  const { capacityExtents, freeThinExtents, freeGroupExtents } = room;
  const headroom = Math.max(Math.ceil(capacityExtents * headroomShare), Math.ceil(headroomBytes / room.extentBytes));
  if (freeThinExtents >= headroom || freeGroupExtents <= 0) return 0;
  return Math.min(freeGroupExtents, Math.max(1, Math.ceil(capacityExtents / 8), headroom - freeThinExtents));
}

/** What of a group the pool can use: everything but other people's volumes and its own metadata. In bytes. */
export function capacityOf(group: VolumeGroup): { readonly capacityBytes: number; readonly freeBytes: number } {
  const free = freeExtents(group);
  const mine = new Set<string>();
  for (const lv of group.volumes) {
    const tags = readTags(lv.tags);
    if (!tags) continue;
    mine.add(lv.name);
    const data = lv.segments[0]?.data;
    if (tags.kind === 'pool' && data !== undefined) addParts(group, data, mine);
  }
  let own = 0;
  for (const lv of group.volumes) {
    if (!mine.has(lv.name)) continue;
    addParts(group, lv.name, mine);
  }
  for (const lv of group.volumes)
    if (mine.has(lv.name)) for (const segment of lv.segments) own += extentsOnDisks(segment);
  return { capacityBytes: (free + own) * group.extentBytes, freeBytes: free * group.extentBytes };
}

/** A volume and what it is put together from. */
function addParts(group: VolumeGroup, name: string, into: Set<string>): void {
  into.add(name);
  const lv = group.volumes.find((one) => one.name === name);
  for (const { areas } of lv?.segments ?? [])
    for (const { on } of areas)
      if (!into.has(on) && group.volumes.some((one) => one.name === on)) addParts(group, on, into);
}
