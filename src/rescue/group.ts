import { byGroup, type FoundGroup, readDisks, readGroup } from '../engines/lvm/find.ts';
import { volumesIn } from '../engines/lvm/pool-list.ts';
import { poolIdOf } from '../engines/lvm/tags.ts';
import type { BlockNode } from '../host/block-sysfs.ts';
import type { Host } from '../host/host.ts';
import { mappedUuid } from '../host/lvm/argv.ts';
import { systemClock } from '../lib/clock.ts';
import { AzekuraError } from '../model/errors.ts';
import type { RescueDeps, RescuedSnapshot, RescuedVolume } from './report.ts';
import type { Candidate, PoolContents, PoolView } from './view.ts';

/** Volume groups, one place for each, of all disks or of those that are given. */
export async function groupCandidates(host: Host, devices?: readonly string[]): Promise<readonly Candidate[]> {
  const { disks } = await readDisks({ host, clock: systemClock });
  const found: Candidate[] = [];
  for (const [id, members] of byGroup(disks)) {
    const named = members.map(({ node }) => node.path).filter((path) => devices?.includes(path) ?? true);
    const [place] = named.sort();
    if (id !== '' && place !== undefined) found.push({ place, kind: 'group' });
  }
  return found;
}

/** The group that a disk belongs to, from what its disks say: nothing is activated for that. */
export async function openGroup(candidate: Candidate, deps: RescueDeps): Promise<PoolView> {
  const { host } = deps;
  const { disks } = await readDisks({ host, clock: systemClock });
  const id = disks.find(({ node }) => node.path === candidate.place)?.label.group?.id;
  const members = disks.filter(({ label }) => id !== undefined && label.group?.id === id);
  // A disk whose own text cannot be read belongs to whatever group lists it.
  const orphans = disks.filter(({ label }) => !label.group);
  const group = await readGroup({ host, clock: systemClock }, [...members, ...orphans]);
  if (!group)
    throw new AzekuraError('DataLoss', `the LVM metadata on ${candidate.place} cannot be read`, {
      next: 'name another disk of the same group; look at this one with pvck',
    });
  const active = await activeIn(host, group);
  return {
    candidate,
    root: `/dev/${group.group.name}`,
    kernel: host.kernel(`rescue${candidate.place}`),
    journalDirty: false,
    live: active.size > 0,
    group,
  };
}

/** Logical volumes of the group that are active on this machine, by the kernel's uuid. */
export async function activeIn(host: Host, { group }: FoundGroup): Promise<ReadonlyMap<string, BlockNode>> {
  const prefix = mappedUuid(group.id, '');
  const nodes = await host.blockNodes({ mappedOnly: true, mapped: (uuid) => uuid.startsWith(prefix) });
  return new Map(nodes.map((node) => [node.mapped?.uuid ?? '', node]));
}

/** What the group holds. @returns undefined when it is no pool */
export async function listGroup(view: PoolView, deps: RescueDeps): Promise<PoolContents | undefined> {
  const { group: found, candidate } = view;
  if (!found) return undefined;
  const { group, entries, missing } = found;
  const poolId = poolIdOf(group.tags);
  if (poolId === undefined && entries.all.length === 0) return undefined;
  const active = await activeIn(deps.host, found);
  const modifiedAt = new Date(group.writtenMs).toISOString();
  const nameOf = (dataPath: string) => dataPath.slice(view.root.length + 1);
  const volumes = volumesIn(entries).map((volume): RescuedVolume => {
    const lv = entries.volume(volume.volumeId)?.lv;
    const writer = lv && active.get(mappedUuid(group.id, lv.id));
    const thick = lv !== undefined && lv.segments[0]?.type !== 'thin';
    return {
      volumeId: volume.volumeId,
      place: candidate.place,
      file: nameOf(volume.dataPath),
      ...(volume.identity ? { identity: volume.identity } : {}),
      ...(volume.problem === undefined ? {} : { problem: volume.problem }),
      sizeBytes: volume.sizeBytes,
      ...(thick ? { allocatedBytes: volume.sizeBytes } : {}),
      modifiedAt,
      recycled: volume.recycled,
      newest: true,
      copies: 1,
      ...(writer && !writer.readOnly ? { inUseBy: writer.path } : {}),
      snapshots: volume.snapshots
        .map(
          (snapshot): RescuedSnapshot => ({
            snapshotId: snapshot.snapshotId,
            file: nameOf(snapshot.dataPath),
            ...(snapshot.identity ? { identity: snapshot.identity } : {}),
            ...(snapshot.problem === undefined ? {} : { problem: snapshot.problem }),
            sizeBytes: snapshot.sizeBytes,
          }),
        )
        .sort((a, b) => (a.identity?.cutAt ?? '\uffff').localeCompare(b.identity?.cutAt ?? '\uffff')),
    };
  });
  return {
    pool: {
      place: candidate.place,
      kind: candidate.kind,
      ...(poolId === undefined ? {} : { poolId }),
      name: group.name,
      journalDirty: false,
      volumes: volumes.length,
    },
    volumes,
    warnings:
      missing.length === 0
        ? []
        : [
            `volume group ${group.name} lacks ${missing.length} of its ${group.physical.length} disks ` +
              `(${missing.map(({ deviceHint }) => deviceHint).join(', ')}); what lies on them alone cannot be read`,
          ],
  };
}
