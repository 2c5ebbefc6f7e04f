import type { Clock } from '../lib/clock.ts';
import { roundUp } from '../lib/quantity.ts';
import { hasCode } from '../model/errors.ts';
import type { Class, Pool, Replica, Volume } from '../model/kinds.ts';
import { Name } from '../model/meta.ts';
import { annotations, finalizers, recycledVolumeName, replicaName } from '../model/names.ts';
import type { OrphanSnapshot, OrphanVolume } from '../model/orphans.ts';
import { Policy } from '../model/policy.ts';
import type { ReplicaSpec } from '../model/replica.ts';
import { sectorBytes, VolumeSpec } from '../model/volume.ts';
import { change, changeStatus } from '../store/change.ts';
import type { Store } from '../store/store.ts';

/** Objects for what lies on a pool without any. Each function may be repeated: what is there already is left as it is. */
export interface AdoptDeps {
  readonly store: Store;
  readonly clock: Clock;
}

/** What was deleted before its objects were lost stays in the bin for this long at least. */
const atLeastMs = 24 * 3_600_000;

/**
 * Makes the objects of a volume: first what a person knows, then the replica, so that one that was interrupted in between
 * is still listed without objects and can be adopted again.
 *
 * @param name under which it is to be known; it is free, or taken by this very volume
 */
export async function adoptVolume(deps: AdoptDeps, pool: Pool, orphan: OrphanVolume, name: string): Promise<void> {
  const { volumeId, uid } = orphan;
  const spec = await specOf(deps, pool, orphan);
  const recycled = orphan.recycled && untilWhen(deps, orphan.recycled);
  if (recycled) {
    await ensure(
      deps.store.create({
        kind: 'RecycledVolume',
        metadata: { name: recycledVolumeName(name, volumeId), finalizers: [finalizers.recycle] },
        spec: { volumeName: name, volumeId, volume: spec, replicaNames: [replicaName(volumeId, 0)], ...recycled },
      }),
    );
    return makeReplica(deps, pool, orphan, { name, uid: uid ?? '', generation: 1, spec, recycled });
  }
  await ensure(
    deps.store.create({
      kind: 'Volume',
      metadata: {
        name,
        ...(uid ? { uid } : {}),
        finalizers: [finalizers.volume],
        // With the object itself: its status is another write in Kubernetes, and a controller may be in between.
        annotations: { [annotations.volumeId]: volumeId, [annotations.adoptedFrom]: pool.metadata.name },
      },
      spec,
      status: { volumeId, sizeBytes: spec.sizeBytes },
    }),
  );
  const { metadata } = await deps.store.get('Volume', name);
  return makeReplica(deps, pool, orphan, { name, uid: metadata.uid, generation: metadata.generation, spec });
}

/** Makes the Volume again of a replica that has lost it; the replica says all of it, also what its class did not. */
export async function adoptReplica(
  { store }: AdoptDeps,
  replica: Replica,
  { encryption }: Pick<OrphanVolume, 'encryption'>,
  name: string,
): Promise<void> {
  const { volumeId, volumeUid, poolName, sizeBytes, className, mode, claim } = replica.spec;
  const { keyFile } = encryption ?? {};
  const policy = { ...replica.spec.policy, ...(keyFile === undefined ? {} : { encryptionKeyFile: keyFile }) };
  const named = Name.safeParse(className);
  const klass = named.success ? await store.find('Class', named.data) : undefined;
  await ensure(
    store.create({
      kind: 'Volume',
      metadata: {
        name,
        ...(volumeUid ? { uid: volumeUid } : {}),
        finalizers: [finalizers.volume],
        annotations: { [annotations.volumeId]: volumeId, [annotations.adoptedFrom]: poolName },
      },
      spec: VolumeSpec.parse({
        sizeBytes: roundUp(Math.max(sizeBytes, replica.status.sizeBytes), sectorBytes),
        ...(named.success ? { className: named.data } : {}),
        mode,
        policy,
        ...(klass ? { recycleMs: klass.spec.recycleMs } : {}),
        ...(claim ? { claim } : {}),
      }),
      status: { volumeId, sizeBytes: replica.status.sizeBytes },
    }),
  );
}

/** A replica without an object that a person knows, as if it had none itself. */
export function orphanOf({ spec, status }: Replica): OrphanVolume {
  const { volumeId, volumeName, volumeUid, className, volumeCreatedAt, volumeGeneration, mode, policy } = spec;
  return {
    volumeId,
    name: volumeName,
    uid: volumeUid,
    className,
    createdAt: volumeCreatedAt,
    generation: volumeGeneration,
    sizeBytes: status.sizeBytes,
    mode,
    provisioning: policy.provisioning,
    ...(mode === 'filesystem' ? { filesystem: policy.filesystem } : {}),
    ...(policy.encryption === 'none'
      ? {}
      : {
          encryption: {
            kind: policy.encryption,
            ...(policy.encryptionKeyFile === undefined ? {} : { keyFile: policy.encryptionKeyFile }),
          },
        }),
    ...(spec.claim ? { claim: spec.claim } : {}),
    ...(spec.recycled ? { recycled: spec.recycled } : {}),
  };
}

async function ensure(created: Promise<unknown>): Promise<void> {
  try {
    await created;
  } catch (error) {
    if (!hasCode(error, 'AlreadyExists')) throw error;
  }
}

/** The policy of its class as it is now, with what the data itself has decided. */
async function specOf({ store }: AdoptDeps, pool: Pool, orphan: OrphanVolume): Promise<VolumeSpec> {
  const named = Name.safeParse(orphan.className);
  const klass = named.success ? await store.find('Class', named.data) : undefined;
  const { mode, filesystem, provisioning, claim, encryption } = orphan;
  return VolumeSpec.parse({
    sizeBytes: roundUp(orphan.sizeBytes, sectorBytes),
    ...(named.success ? { className: named.data } : {}),
    mode,
    policy: {
      ...policyOf(klass, pool.spec.engine),
      provisioning,
      ...(filesystem ? { filesystem } : {}),
      encryption: encryption?.kind ?? 'none',
      ...(encryption?.keyFile === undefined ? {} : { encryptionKeyFile: encryption.keyFile }),
    },
    ...(klass ? { recycleMs: klass.spec.recycleMs } : {}),
    ...(claim ? { claim } : {}),
  });
}

function policyOf(klass: Class | undefined, engine: string): Policy {
  if (klass?.spec.engine !== engine) return Policy.parse({ engine });
  const { isDefault: _isDefault, recycleMs: _recycleMs, description: _description, ...policy } = klass.spec;
  return policy;
}

function untilWhen({ clock }: AdoptDeps, { deletedAt, expiresAt }: NonNullable<OrphanVolume['recycled']>) {
  const nowMs = clock.nowMs();
  const endMs = Math.max(expiresAt === undefined ? 0 : Date.parse(expiresAt), nowMs + atLeastMs);
  return { deletedAt: deletedAt ?? new Date(nowMs).toISOString(), expiresAt: new Date(endMs).toISOString() };
}

async function makeReplica(
  { store, clock }: AdoptDeps,
  pool: Pool,
  orphan: OrphanVolume,
  volume: {
    readonly name: string;
    readonly uid: string;
    readonly generation: number;
    readonly spec: VolumeSpec;
    readonly recycled?: NonNullable<ReplicaSpec['recycled']>;
  },
): Promise<void> {
  const { volumeId } = orphan;
  const { sizeBytes, mode, policy, className, claim } = volume.spec;
  const source = sourceOf(orphan.parent, pool.metadata.name);
  await ensure(
    store.create({
      kind: 'Replica',
      metadata: { name: replicaName(volumeId, 0), finalizers: [finalizers.agent] },
      spec: {
        volumeName: volume.name,
        volumeUid: volume.uid,
        volumeId,
        nodeName: pool.spec.nodeName,
        poolName: pool.metadata.name,
        sizeBytes,
        mode,
        policy,
        className,
        volumeCreatedAt: orphan.createdAt ?? new Date(clock.nowMs()).toISOString(),
        // Of several copies the one with the higher generation counts, so it never goes back.
        volumeGeneration: Math.max(volume.generation, orphan.generation ?? 1),
        ...(source ? { source } : {}),
        ...(claim ? { claim } : {}),
        ...(volume.recycled ? { recycled: volume.recycled } : {}),
      },
      // Data that was there and is not must never be made anew.
      status: { sizeBytes },
    }),
  );
}

/** What the identity says of its origin, as the agent writes it: a clone of XFS may still have the UUID of its source. */
function sourceOf(parent: string | undefined, poolName: string): ReplicaSpec['source'] {
  const [, kind, volumeId, snapshotId] = /^(snapshot|volume) ([0-9a-z-]+)(?:\/([0-9a-z-]+))?$/.exec(parent ?? '') ?? [];
  if (kind === 'snapshot' && volumeId && snapshotId) return { kind, volumeId, snapshotId, poolName };
  return kind === 'volume' && volumeId ? { kind: 'replica', volumeId, poolName } : undefined;
}

/**
 * Makes the objects of snapshots of one volume, and of the groups that they were cut in.
 *
 * @param dryRun only tells the names
 * @returns the names under which they are known
 */
export async function adoptSnapshots(
  deps: AdoptDeps,
  pool: Pool,
  orphans: readonly OrphanSnapshot[],
  dryRun: boolean,
  volumeName: string,
): Promise<readonly string[]> {
  const names: string[] = [];
  for (const orphan of orphans) {
    // Without data there is nothing that an object could stand for.
    if (orphan.sizeBytes === 0) continue;
    const name = await freeName(deps, orphan);
    if (!dryRun) await adoptSnapshot(deps, pool, orphan, name, volumeName);
    names.push(name);
  }
  return names;
}

/** Its own name, or when that is taken one that is made of it and the id. */
async function freeName({ store }: AdoptDeps, { name, snapshotId }: OrphanSnapshot): Promise<string> {
  if (name === undefined || !Name.safeParse(name).success) return recycledVolumeName('snapshot', snapshotId);
  const taken = await store.find('Snapshot', name);
  return !taken || taken.spec.snapshotId === snapshotId ? name : recycledVolumeName(name, snapshotId);
}

async function adoptSnapshot(
  deps: AdoptDeps,
  pool: Pool,
  orphan: OrphanSnapshot,
  name: string,
  volumeName: string,
): Promise<void> {
  const { store } = deps;
  const { volumeId, snapshotId, uid, sizeBytes, cutAt, consistency } = orphan;
  const group = await groupOf(deps, orphan);
  const volume: Volume | undefined = await store.find('Volume', volumeName);
  await ensure(
    store.create({
      kind: 'Snapshot',
      metadata: { name, ...(uid ? { uid } : {}), finalizers: [finalizers.agent] },
      spec: {
        volumeName,
        ...(volume ? { volumeUid: volume.metadata.uid } : {}),
        volumeId,
        snapshotId,
        nodeName: pool.spec.nodeName,
        poolName: pool.metadata.name,
        freeze: consistency !== 'crash',
        ...(group === undefined ? {} : { groupName: group }),
      },
      // A member of a group that has been cut: the agent must not wait for its group.
      status: {
        phase: 'Ready',
        sizeBytes,
        ...(cutAt === undefined ? {} : { cutAt }),
        ...(consistency ? { consistency } : {}),
      },
    }),
  );
  if (group !== undefined) await adoptMember(deps, group, { name, volumeName, cutAt });
}

/** The group that it was cut in; not one of another instant that has the name meanwhile. */
async function groupOf({ store }: AdoptDeps, { group, cutAt }: OrphanSnapshot): Promise<string | undefined> {
  const parsed = Name.safeParse(group);
  if (!parsed.success) return undefined;
  const present = await store.find('SnapshotGroup', parsed.data);
  return present && present.status.cutAt !== cutAt ? undefined : parsed.data;
}

/** The group as it was: members come one after the other. */
async function adoptMember(
  { store }: AdoptDeps,
  groupName: string,
  member: { readonly name: string; readonly volumeName: string; readonly cutAt: string | undefined },
): Promise<void> {
  await ensure(
    store.create({
      kind: 'SnapshotGroup',
      metadata: { name: groupName, finalizers: [finalizers.group] },
      spec: { volumeNames: [member.volumeName] },
      status: { phase: 'Ready', ...(member.cutAt === undefined ? {} : { cutAt: member.cutAt }) },
    }),
  );
  await change(store, 'SnapshotGroup', groupName, ({ spec }) =>
    spec.volumeNames.includes(member.volumeName)
      ? undefined
      : { spec: { ...spec, volumeNames: [...spec.volumeNames, member.volumeName] } },
  );
  await changeStatus(store, 'SnapshotGroup', groupName, ({ status }) =>
    status.snapshotNames.includes(member.name)
      ? undefined
      : { snapshotNames: [...status.snapshotNames, member.name].sort() },
  );
}
