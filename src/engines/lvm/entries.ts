import { createHash } from 'node:crypto';
import type { LogicalVolume, VolumeGroup } from '../../host/lvm/group.ts';
import type { VolumeRef } from '../contract.ts';
import { checkId } from '../identity.ts';
import { type LvTags, readTags } from './tags.ts';

/** A logical volume of ours with what its tags say. */
export interface Entry {
  readonly lv: LogicalVolume;
  readonly tags: LvTags;
}

/** Everything of ours in a group. Pure. */
export class Entries {
  readonly group: VolumeGroup;
  readonly all: readonly Entry[];

  constructor(group: VolumeGroup) {
    this.group = group;
    // What a pool was put together of stays below it, hidden and with its tags: it is a part of that pool only.
    this.all = group.volumes.flatMap((lv) => {
      const tags = lv.visible ? readTags(lv.tags) : undefined;
      return tags ? [{ lv, tags }] : [];
    });
  }

  /** The thin pool, once it is complete. */
  get thinPool(): Entry | undefined {
    return this.all.find(({ lv, tags }) => tags.kind === 'pool' && lv.segments[0]?.type === 'thin-pool');
  }

  /** A thin pool that has been put together of parts of ours and is not marked yet: lvconvert leaves it without tags. */
  get unmarkedThinPool(): LogicalVolume | undefined {
    if (this.thinPool) return undefined;
    const pool = this.group.volumes.find(({ name, segments }) => {
      const [segment] = segments;
      return name === thinPoolName && segment?.type === 'thin-pool' && segment.data !== undefined;
    });
    const data = this.group.volumes.find(({ name }) => name === pool?.segments[0]?.data);
    return data && readTags(data.tags) ? pool : undefined;
  }

  /** The volume that counts under this id: ready or in the recycle bin, the newest generation. */
  volume(volumeId: string): Entry | undefined {
    checkId(volumeId);
    let found: Entry | undefined;
    for (const entry of this.#of('volume', volumeId))
      if (counts(entry) && (!found || entry.tags.generation > found.tags.generation)) found = entry;
    return found;
  }

  /** All logical volumes of a volume and its snapshots, whatever their state. */
  family(volumeId: string): readonly Entry[] {
    checkId(volumeId);
    return this.all.filter(({ tags }) => tags.volumeId === volumeId && tags.kind !== 'pool');
  }

  /** Snapshots of a volume that count, in no particular order. */
  snapshots(volumeId: string): readonly Entry[] {
    return this.#of('snapshot', volumeId).filter(({ tags }) => tags.state === 'ready');
  }

  snapshot(volumeId: string, snapshotId: string): Entry | undefined {
    checkId(snapshotId);
    return this.#of('snapshot', checkId(volumeId)).find(({ tags }) => tags.snapshotId === snapshotId);
  }

  /** Ids of all volumes that count. */
  volumeIds(): readonly string[] {
    const ids = new Set<string>();
    for (const entry of this.all)
      if (entry.tags.kind === 'volume' && entry.tags.volumeId !== undefined && counts(entry))
        ids.add(entry.tags.volumeId);
    return [...ids];
  }

  /** What interrupted operations have left: no operation that is not under way needs it. */
  leftovers(): readonly Entry[] {
    return this.all.filter((entry) => {
      const { kind, state, volumeId } = entry.tags;
      if (kind === 'pool') return false;
      if (kind === 'part' || state === 'new' || state === 'cut' || state === 'gone') return true;
      if (volumeId === undefined) return false;
      if (kind === 'volume') return this.volume(volumeId)?.lv.name !== entry.lv.name;
      // Of a volume that is being deleted, or being moved here.
      const owners = this.#of('volume', volumeId).map(({ tags }) => tags.state);
      return (
        owners.includes('gone') || (owners.includes('new') && !owners.some((one) => one === 'ready' || one === 'bin'))
      );
    });
  }

  #of(kind: 'volume' | 'snapshot', volumeId: string): readonly Entry[] {
    return this.all.filter(({ tags }) => tags.kind === kind && tags.volumeId === volumeId);
  }
}

function counts({ tags }: Entry): boolean {
  return tags.state === 'ready' || tags.state === 'bin';
}

export const thinPoolName = 'azk_pool';

/** A volume's first logical volume, and those that took its place by a restore. */
export function volumeName(volumeId: string, generation: number): string {
  return `azk_v_${checkId(volumeId)}${generation === 0 ? '' : `_g${generation}`}`;
}

/** Ids of snapshots are unique within their volume only. */
export function snapshotName(volumeId: string, snapshotId: string): string {
  return `azk_s_${checkId(snapshotId)}_${createHash('sha256').update(checkId(volumeId)).digest('hex').slice(0, 12)}`;
}

/** A pool's own group: named after the pool's name on this node, which users choose, but never made from it. */
export function groupName(nodeName: string, poolName: string): string {
  return `azk-${createHash('sha256').update(`${nodeName}/${poolName}`).digest('hex').slice(0, 16)}`;
}

/** Where a person finds the volume. */
export function pathOf(group: VolumeGroup, name: string): string {
  return `/dev/${group.name}/${name}`;
}

export function labelOf(volume: VolumeRef, entry: Entry | undefined): string {
  return entry?.tags.label ?? volume.volumeId;
}
