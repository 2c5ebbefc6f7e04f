import type { BlockNode } from '../../host/host.ts';
import { mappedName } from '../../host/lvm/argv.ts';
import { type PhysicalVolume, parseGroup, type VolumeGroup } from '../../host/lvm/group.ts';
import type { LvmLabel } from '../../host/lvm/label.ts';
import { type Cause, makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed, toAzekuraError } from '../../model/errors.ts';
import { placeOf } from '../../model/pool.ts';
import type { EngineDeps, PoolRef } from '../contract.ts';
import { Entries, groupName } from './entries.ts';
import { poolIdOf } from './tags.ts';

/** A volume group of this machine as its disks tell of it. */
export interface FoundGroup {
  readonly group: VolumeGroup;
  readonly entries: Entries;
  /** Where each physical volume is now, by its id. */
  readonly devices: ReadonlyMap<string, BlockNode>;
  readonly missing: readonly PhysicalVolume[];
  /** Disks of this machine that could not be read, by path. */
  readonly unreadable: ReadonlyMap<string, AzekuraError>;
}

/** A physical volume on one device. */
export interface FoundDisk {
  readonly node: BlockNode;
  readonly label: LvmLabel;
}

/** What looking takes. */
export type LookDeps = Pick<EngineDeps, 'host' | 'clock'>;

/** Whoever needs the answer of a disk waits for it so long; whoever does not, only for a moment. */
const labelDeadlineMs = 30_000;
const momentMs = 1_000;

export interface Disks {
  readonly disks: readonly FoundDisk[];
  /** What could not be read, or has not answered yet. */
  readonly silent: readonly { readonly node: BlockNode; readonly problem: AzekuraError }[];
}

/**
 * Reads the labels of all disks that could hold one, each in a domain of its own: one that does not answer costs itself,
 * and from then on it is not asked again until it answers.
 */
export async function readDisks(deps: LookDeps): Promise<Disks> {
  return (await startReading(deps, await candidates(deps))).all;
}

/** Volumes of LVM are no places for pools. */
const ofOthers = (uuid: string) => !uuid.startsWith('LVM-');

/** What a RAID or a path of several is made of shows the label too, and is not to be written to. */
async function candidates(deps: LookDeps): Promise<readonly BlockNode[]> {
  const nodes = await deps.host.blockNodes({ mapped: ofOthers });
  const stacked = new Set(
    nodes.filter(({ kind }) => kind === 'mapped' || kind === 'raid').flatMap(({ slaves }) => slaves),
  );
  return nodes.filter(({ name, kind }) => !stacked.has(name) || kind === 'mapped');
}

/** @returns what is known after a moment, and all of it when every disk has answered or has been given up */
async function startReading(
  deps: LookDeps,
  nodes: readonly BlockNode[],
): Promise<{ readonly soon: Disks; readonly all: Promise<Disks> }> {
  const disks: FoundDisk[] = [];
  const silent: { node: BlockNode; problem: AzekuraError }[] = [];
  const known = (): Disks => ({ disks: [...disks], silent: [...silent] });
  const all = Promise.all(
    nodes.map(async (node) => {
      try {
        const kernel = deps.host.kernel(`disk/${node.name}`, { deadlineMs: labelDeadlineMs });
        const label = await kernel.readLvmLabel(node.path);
        if (label) disks.push({ node, label });
      } catch (error) {
        silent.push({ node, problem: toAzekuraError(error) });
      }
    }),
  ).then(known);
  let cancel = () => {};
  const moment = new Promise<void>((resolve) => {
    cancel = deps.clock.after(momentMs, resolve);
  });
  await Promise.race([all, moment]);
  cancel();
  return { soon: known(), all };
}

/** The disks of a group whose thin pool is active, from what it stands on: no disk has to be asked for that. */
async function hintedDisks(deps: LookDeps, group: string): Promise<readonly BlockNode[]> {
  const prefix = mappedName(group, '');
  const parts = await deps.host.blockNodes({
    mappedOnly: true,
    mapped: (uuid) => uuid.startsWith('LVM-') && /-t(data|meta)$/.test(uuid),
  });
  const names = new Set(parts.filter(({ mapped }) => mapped?.name.startsWith(prefix)).flatMap(({ slaves }) => slaves));
  return names.size === 0 ? [] : await deps.host.blockNodes({ names, mapped: ofOthers });
}

/** Reads the group's text from the disk that has the newest version of it. @returns undefined when none can be read */
export async function readGroup(deps: LookDeps, disks: readonly FoundDisk[]): Promise<FoundGroup | undefined> {
  const newest = [...disks].sort((a, b) => (b.label.group?.seqno ?? -1) - (a.label.group?.seqno ?? -1));
  for (const { node, label } of newest) {
    if (!label.group) continue;
    const text = (await deps.host.kernel(`disk/${node.name}`).readLvmLabel(node.path, { text: true }))?.text;
    if (text === undefined) continue;
    const group = parseGroup(text);
    const devices = new Map<string, BlockNode>();
    for (const disk of disks) devices.set(disk.label.pvUuid, disk.node);
    const missing = group.physical.filter((pv) => pv.missing || !devices.has(pv.id));
    return { group, entries: new Entries(group), devices, missing, unreadable: new Map() };
  }
  return undefined;
}

/** Disks by the id of their group. Those without one come under "". */
export function byGroup(disks: readonly FoundDisk[]): ReadonlyMap<string, readonly FoundDisk[]> {
  const groups = new Map<string, FoundDisk[]>();
  for (const disk of disks) {
    const id = disk.label.group?.id ?? '';
    groups.set(id, [...(groups.get(id) ?? []), disk]);
  }
  return groups;
}

/** The name of the group that the pool is, or will be. */
export function groupNameOf(deps: EngineDeps, pool: PoolRef): string {
  const { source } = pool;
  if (source.kind === 'volumeGroup') return source.group;
  if (source.kind === 'disks') return groupName(deps.nodeName, pool.name);
  throw new AzekuraError('Unimplemented', `engine lvm makes no pools from ${source.kind}`);
}

/**
 * The pool's group, whether or not it belongs to the pool; undefined when it is not on this machine.
 *
 * @throws AzekuraError when it is not found and a disk could not be read: Unavailable, with blame DiskFailing when that is
 *   one of the pool's, HungCall when it hangs, else PoolMissing
 */
export async function lookFor(deps: EngineDeps, pool: PoolRef): Promise<FoundGroup | undefined> {
  const name = groupNameOf(deps, pool);
  const hinted = await hintedDisks(deps, name);
  if (hinted.length > 0) {
    const found = await groupAmong(deps, pool, name, (await startReading(deps, hinted)).soon);
    if (found?.missing.length === 0) return found;
  }
  const reading = await startReading(deps, await candidates(deps));
  const early = await groupAmong(deps, pool, name, reading.soon);
  if (early?.missing.length === 0) return early;
  const all = await reading.all;
  const found = await groupAmong(deps, pool, name, all);
  if (found) return found;
  // It may lie on what could not be read: that is not the same as missing.
  const torn = all.disks.find(({ label }) => label.torn || label.group?.name === name);
  if (torn)
    throw new AzekuraError('Unavailable', `the LVM metadata on ${torn.node.path} cannot be read`, {
      next: 'look at it with pvck; another disk of the group has a copy',
    });
  const names = new Set(hinted.map(({ name }) => name));
  // A pool that is yet to be made of certain disks is not held up by another one that is dead.
  const fresh = pool.poolId === undefined && pool.source.kind === 'disks' ? pool.source.disks : undefined;
  const silent =
    all.silent.find(({ node }) => names.has(node.name)) ??
    all.silent.find(({ node }) => fresh?.includes(lastingPath(node)) ?? true);
  if (silent) throw unreadable(pool, silent, names.has(silent.node.name));
  return undefined;
}

/** The name by which a disk is known again: of a device of the device mapper the one below /dev/mapper. */
export function lastingPath({ path, mapped }: BlockNode): string {
  return mapped ? `/dev/mapper/${mapped.name}` : path;
}

/** @param own whether the disk is certainly one of the pool's */
function unreadable(pool: PoolRef, { node, problem }: Disks['silent'][number], own: boolean): AzekuraError {
  if (problem.blame) return problem;
  const cause = own
    ? makeCause('DiskFailing', { pool: pool.name, disk: node.path, problem: problem.message })
    : { ...missingCause(pool), evidence: { pool: pool.name, place: placeOf(pool.source), problem: problem.message } };
  return blamed('Unavailable', cause, { cause: problem });
}

/** The group of that name among the disks; of two with one name (a disk of another machine) the one with the pool's tag. */
async function groupAmong(
  deps: EngineDeps,
  pool: PoolRef,
  name: string,
  { disks, silent }: Disks,
): Promise<FoundGroup | undefined> {
  // Disks whose own text cannot be read belong to whatever group lists them.
  const orphans = disks.filter(({ label }) => !label.group);
  const found: FoundGroup[] = [];
  for (const members of byGroup(disks.filter(({ label }) => label.group)).values()) {
    if (!members.some(({ label }) => label.group?.name === name)) continue;
    const group = await readGroup(deps, [...members, ...orphans]);
    if (group) found.push({ ...group, unreadable: new Map(silent.map(({ node, problem }) => [node.path, problem])) });
  }
  return found.find(({ group }) => pool.poolId !== undefined && poolIdOf(group.tags) === pool.poolId) ?? found[0];
}

/**
 * The pool's group, and certainly the pool's.
 *
 * @throws AzekuraError Unavailable with blame PoolMissing; FailedPrecondition with blame PoolForeign
 */
export async function findPool(deps: EngineDeps, pool: PoolRef): Promise<FoundGroup> {
  const found = await lookFor(deps, pool);
  if (!found) throw blamed('Unavailable', missingCause(pool));
  const foreign = foreignCause(pool, found);
  if (foreign) throw blamed('FailedPrecondition', foreign);
  return found;
}

export function missingCause(pool: PoolRef): Cause {
  return makeCause('PoolMissing', { pool: pool.name, place: placeOf(pool.source) });
}

export function foreignCause(pool: PoolRef, { group }: FoundGroup): Cause | undefined {
  const id = poolIdOf(group.tags);
  if (pool.poolId === undefined || id === pool.poolId) return undefined;
  return makeCause('PoolForeign', {
    pool: pool.name,
    found: id ?? `volume group ${group.name}`,
    expected: pool.poolId,
  });
}
