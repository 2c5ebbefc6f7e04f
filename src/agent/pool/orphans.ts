import { isDeepStrictEqual } from 'node:util';
import type { VolumeOnDisk } from '../../engines/contract.ts';
import { outwardOnDisk } from '../../engines/encrypted/index.ts';
import { hasCode } from '../../model/errors.ts';
import type { Pool, Resource } from '../../model/kinds.ts';
import { annotations } from '../../model/names.ts';
import {
  mostOrphanSnapshots,
  mostOrphanVolumes,
  type OrphanSnapshot,
  type OrphanVolume,
  type PoolOrphans,
} from '../../model/orphans.ts';
import { encryptionHeaderBytes } from '../../model/policy.ts';
import { changeStatus } from '../../store/change.ts';
import { type AgentContext, keys, poolRef } from '../context.ts';

/** Whether a pool is to be looked through: it was not yet, somebody asks, or what was found has objects now. */
export function scanDue(context: AgentContext, pool: Pool): boolean {
  const { orphans } = pool.status;
  const asked = pool.spec.scan?.requestId;
  if (!context.scannedPools.has(pool.metadata.name) || (asked !== undefined && asked !== orphans?.requestId))
    return true;
  return (
    orphans?.volumes.some(({ volumeId }) => known(context, pool).has(volumeId)) === true ||
    orphans?.snapshots.some(({ volumeId, snapshotId }) => hasObject(context, volumeId, snapshotId)) === true
  );
}

/** Looks through a pool for volumes and snapshots that have no objects, and says what it has found. */
export async function reconcileOrphans(context: AgentContext, poolName: string): Promise<undefined> {
  const pool = await context.deps.store.find('Pool', poolName);
  if (pool?.spec.nodeName !== context.deps.nodeName || pool.metadata.deletionTimestamp) return undefined;
  if (pool.status.poolId === undefined || !scanDue(context, pool)) return undefined;
  context.scannedPools.add(poolName);
  try {
    const found = await look(context, pool);
    await changeStatus(context.deps.store, 'Pool', poolName, ({ spec, status }) => {
      const requestId = spec.scan?.requestId === pool.spec.scan?.requestId ? pool.spec.scan?.requestId : undefined;
      const orphans = { ...found, ...(requestId === undefined ? {} : { requestId }) };
      if (sameBesidesTime(status.orphans, orphans)) return undefined;
      return {
        orphans: orphans.volumeCount + orphans.snapshotCount > 0 || requestId !== undefined ? orphans : undefined,
      };
    });
  } catch (error) {
    context.scannedPools.delete(poolName);
    throw error;
  }
  context.trigger(keys.pool(poolName));
  return undefined;
}

async function look(context: AgentContext, pool: Pool): Promise<PoolOrphans> {
  const present = (await context.engine(pool.spec.engine).pools.list(poolRef(pool))).map(outwardOnDisk);
  const withReplica = known(context, pool);
  const volumes: OrphanVolume[] = [];
  const snapshots: OrphanSnapshot[] = [];
  let volumeCount = 0;
  let snapshotCount = 0;
  let sizeBytes = 0;
  for (const volume of present) {
    if (!withReplica.has(volume.volumeId)) {
      volumeCount++;
      sizeBytes += volume.sizeBytes;
      if (volumes.length < mostOrphanVolumes) volumes.push(await describe(context, pool, volume));
    }
    for (const snapshot of volume.snapshots) {
      if (hasObject(context, volume.volumeId, snapshot.snapshotId)) continue;
      snapshotCount++;
      if (snapshots.length < mostOrphanSnapshots) snapshots.push(describeSnapshot(volume.volumeId, snapshot));
    }
  }
  return { scannedAt: context.now, volumeCount, snapshotCount, sizeBytes, volumes, snapshots };
}

/** What only this node knows has no object where it could be found: see UnknownToCluster. */
function isKnownToAll({ metadata }: Resource): boolean {
  return metadata.annotations[annotations.unknownToCluster] === undefined;
}

/** Ids of the volumes that have a replica on this pool; one elsewhere does not stand for what lies here. */
function known(context: AgentContext, pool: Pool): ReadonlySet<string> {
  const replicas = context.state.replicasOn(pool.metadata.name).filter(isKnownToAll);
  return new Set(replicas.map((replica) => replica.spec.volumeId));
}

function hasObject(context: AgentContext, volumeId: string, snapshotId: string): boolean {
  const snapshots = context.state.snapshotsOf(volumeId).filter(isKnownToAll);
  return snapshots.some((one) => one.spec.snapshotId === snapshotId);
}

async function describe(context: AgentContext, pool: Pool, volume: VolumeOnDisk): Promise<OrphanVolume> {
  const { volumeId, identity, problem, sizeBytes } = volume;
  const common = {
    volumeId,
    sizeBytes,
    ...(problem === undefined ? {} : { problem }),
    ...(volume.recycled ? { recycled: { ...identity?.recycled } } : {}),
  };
  if (!identity) {
    const content = sizeBytes > 0 ? await contentOf(context, pool, volume.dataPath) : undefined;
    // What lies behind a header is seen when it is opened; most volumes hold a file system.
    if (content === 'crypto_LUKS')
      return {
        ...common,
        sizeBytes: Math.max(0, sizeBytes - encryptionHeaderBytes),
        mode: 'filesystem',
        provisioning: 'thin',
        encryption: { kind: 'luks2' },
      };
    const filesystem = content === 'xfs' || content === 'ext4' ? content : undefined;
    return {
      ...common,
      mode: filesystem ? 'filesystem' : 'block',
      provisioning: 'thin',
      ...(filesystem ? { filesystem } : {}),
    };
  }
  const { name, uid, className, createdAt, generation, claim, parent, mode, filesystem, provisioning, encryption } =
    identity;
  return {
    ...common,
    name,
    uid,
    className,
    createdAt,
    generation,
    mode,
    provisioning,
    ...(claim ? { claim } : {}),
    ...(parent === undefined ? {} : { parent }),
    ...(filesystem ? { filesystem } : {}),
    ...(encryption ? { encryption } : {}),
  };
}

/** What the data itself tells of a volume whose identity is lost. */
async function contentOf(context: AgentContext, pool: Pool, dataPath: string): Promise<string | undefined> {
  try {
    return (await context.deps.host.kernel(`pool/${pool.metadata.name}`).probeFilesystem(dataPath))?.filesystem;
  } catch (error) {
    // A volume that must be made active first does not tell.
    if (hasCode(error, 'Unavailable')) throw error;
    return undefined;
  }
}

function describeSnapshot(volumeId: string, snapshot: VolumeOnDisk['snapshots'][number]): OrphanSnapshot {
  const { snapshotId, identity, problem, sizeBytes } = snapshot;
  return {
    volumeId,
    snapshotId,
    sizeBytes,
    ...(problem === undefined ? {} : { problem }),
    ...(identity
      ? {
          name: identity.name,
          uid: identity.uid,
          cutAt: identity.cutAt,
          consistency: identity.consistency,
          ...(identity.group === undefined ? {} : { group: identity.group }),
        }
      : {}),
  };
}

function sameBesidesTime(one: PoolOrphans | undefined, other: PoolOrphans): boolean {
  return one !== undefined && isDeepStrictEqual({ ...one, scannedAt: '' }, { ...other, scannedAt: '' });
}
