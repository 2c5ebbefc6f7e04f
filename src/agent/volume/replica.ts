import type { CreateVolume, Engine, VolumeObservation, VolumeRef } from '../../engines/contract.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { Replica } from '../../model/kinds.ts';
import { finalizers, requestIdOf } from '../../model/names.ts';
import type { ReplicaStatus } from '../../model/replica.ts';
import { change, changeStatus } from '../../store/change.ts';
import { causeOfError, withSince } from '../causes.ts';
import { type AgentContext, keys, poolRef } from '../context.ts';
import { refreshPool } from '../pool/reconcile.ts';
import type { Operation } from '../tasks.ts';
import { identityOf, sameIdentity } from './identity.ts';
import { repairFilesystem, unmountReplay } from './repair.ts';
import { holdsAttachment, planReplica, type ReplicaAction } from './replica-plan.ts';

const verbs: Readonly<Record<Exclude<ReplicaAction, 'none' | 'missing'>, string>> = {
  create: 'CreateVolume',
  recycle: 'RecycleVolume',
  unrecycle: 'UndeleteVolume',
  restore: 'RestoreVolume',
  expand: 'ExpandVolume',
  repair: 'RepairVolume',
  changeKey: 'ChangeKey',
  identity: 'WriteIdentity',
  delete: 'DeleteVolume',
  release: 'ReleaseVolume',
  detach: 'DetachVolume',
};

/** No operation of a replica takes more rounds than it has kinds of action. */
const mostRounds = 8;

/**
 * Converges one replica of this node.
 *
 * @returns what was seen of it at the end; undefined when it is gone
 * @throws AzekuraError after the cause has been written to the replica
 */
export async function reconcileReplica(
  context: AgentContext,
  replica: Replica,
): Promise<VolumeObservation | undefined> {
  let current = replica;
  context.settled.delete(replica.metadata.uid);
  try {
    for (let round = 0; round < mostRounds; round++) {
      const seen = await context.engineOf(current).volumes.observe(context.volumeRef(current));
      const around = {
        attached: (await context.attachmentNow(current.spec.volumeId)) !== undefined,
        identityRight: sameIdentity(seen.identity, identityOf(current)),
      };
      const action = planReplica(current, seen, around);
      if (action === 'none' || action === 'missing') {
        await settled(context, current, seen, action);
        return seen;
      }
      const after = await act(context, current, action);
      if (!after) return undefined;
      current = after;
    }
    return undefined;
  } catch (error) {
    const causes = [causeOfError(error, { step: 'agent.replica' })];
    const phase = current.status.sizeBytes > 0 ? current.status.phase : 'Failed';
    await writeStatus(context, current, { phase, causes });
    throw error;
  }
}

/** @returns the replica afterwards; undefined when it is gone */
async function act(
  context: AgentContext,
  replica: Replica,
  action: Exclude<ReplicaAction, 'none' | 'missing'>,
): Promise<Replica | undefined> {
  const { spec, metadata } = replica;
  const leaves = action === 'delete' || action === 'release';
  if (leaves) await refuseWhileAttached(context, replica);
  const request = {
    verb: spec.source?.kind === 'move' && action === 'create' ? 'MoveVolume' : verbs[action],
    subject: { kind: 'Volume', name: spec.volumeName, uid: spec.volumeUid },
    objectUid: metadata.uid,
    round: metadata.generation,
    ...requestIdOf(replica),
  };
  const patch = await context.tasks.run(request, (operation) => carryOut(context, replica, action, operation));
  // Thick bytes must be missing from the pool's free bytes before the replica says that it has them: see ledgerEntry().
  if (spec.policy.provisioning === 'thick' && (action === 'create' || action === 'expand'))
    await refreshPool(context, spec.poolName);
  if (leaves) {
    await letGo(context, replica);
    if (action === 'release') context.scannedPools.delete(spec.poolName);
    context.trigger(keys.pool(spec.poolName), 1_000);
    return undefined;
  }
  // What settled() will find out by itself is not written twice.
  return Object.keys(patch).length === 0 ? replica : await writeStatus(context, replica, patch);
}

async function carryOut(
  context: AgentContext,
  replica: Replica,
  action: Exclude<ReplicaAction, 'none' | 'missing'>,
  { steps }: Operation,
): Promise<Partial<ReplicaStatus>> {
  const { spec } = replica;
  const engine = context.engineOf(replica, steps);
  const volume = context.volumeRef(replica);
  const identity = identityOf(replica);
  switch (action) {
    case 'create':
      await engine.volumes.create(createRequest(context, replica, volume));
      return {};
    case 'expand':
      await engine.volumes.expand(volume, spec.sizeBytes);
      await engine.volumes.setIdentity(volume, identity);
      return {};
    case 'identity':
      await engine.volumes.setIdentity(volume, identity);
      return {};
    case 'recycle':
      if (!spec.recycled) return {};
      await needed(engine.volumes.recycle, spec.policy.engine, 'a recycle bin')(volume, spec.recycled);
      return {};
    case 'unrecycle':
      await needed(engine.volumes.restoreRecycled, spec.policy.engine, 'a recycle bin')(volume, identity);
      return {};
    case 'restore':
      return restore(engine, replica, volume);
    case 'repair':
      return {
        repair: {
          requestId: spec.repair?.requestId ?? '',
          outcome: await repairFilesystem(context, steps, engine, replica, volume),
        },
      };
    case 'changeKey':
      return {
        changeKey: {
          requestId: spec.changeKey?.requestId ?? '',
          outcome: await needed(engine.volumes.changeKey, spec.policy.engine, 'encryption of this volume')(volume),
        },
      };
    case 'detach':
      await steps.run('agent.repair.unmount', () => unmountReplay(context, spec.volumeId));
      await steps.run('agent.detach.leftover', () => engine.volumes.detach(volume));
      return {};
    case 'delete':
      await engine.volumes.delete(volume);
      return {};
    case 'release':
      context.deps.log.warn(
        { volume: spec.volumeName, volumeId: spec.volumeId, pool: spec.poolName },
        'a copy was deleted without consent to destroy its data: the data stays on the pool',
      );
      return {};
  }
}

async function restore(engine: Engine, replica: Replica, volume: VolumeRef): Promise<Partial<ReplicaStatus>> {
  const { spec } = replica;
  if (!spec.restore) return {};
  const put = needed(engine.snapshots?.restore, spec.policy.engine, 'restoring in place');
  await put({ ...volume, snapshotId: spec.restore.snapshotId });
  return { restoredRequestId: spec.restore.requestId };
}

function createRequest(context: AgentContext, replica: Replica, volume: VolumeRef): CreateVolume {
  const { spec } = replica;
  const { source } = spec;
  const request: CreateVolume = { volume, identity: identityOf(replica), parameters: spec.policy.parameters };
  if (!source) return request;
  const from: VolumeRef = { pool: poolRef(context.openPool(source.poolName)), volumeId: source.volumeId };
  if (source.kind === 'snapshot')
    return { ...request, source: { kind: 'snapshot', snapshot: { ...from, snapshotId: source.snapshotId } } };
  return { ...request, source: { kind: source.kind === 'move' ? 'move' : 'volume', volume: from } };
}

/** All is done that can be done: says so, and keeps what is worth knowing. */
async function settled(
  context: AgentContext,
  replica: Replica,
  seen: VolumeObservation,
  action: 'none' | 'missing',
): Promise<void> {
  const { spec, metadata } = replica;
  if (action === 'missing') {
    const cause = seen.causes.find(({ code }) => code === 'BackingMissing') ?? missingCause(context, replica);
    throw blamed('DataLoss', cause);
  }
  await context.tasks.settle(metadata.uid, 'Succeeded');
  const waiting = holdsAttachment(replica)
    ? [makeCause('InUse', { what: `volume ${spec.volumeName}`, holder: `node ${spec.nodeName}, where it is attached` })]
    : [];
  const present = seen.present || seen.recycled;
  if (present && !spec.recycled && waiting.length === 0) context.settled.set(metadata.uid, metadata.generation);
  await writeStatus(context, replica, {
    phase: spec.recycled ? 'Recycled' : 'Ready',
    ...(present ? { sizeBytes: seen.sizeBytes } : {}),
    causes: [...seen.causes, ...waiting],
  });
}

function missingCause(context: AgentContext, replica: Replica) {
  const path = `${context.state.pools.get(replica.spec.poolName)?.status.path ?? replica.spec.poolName}/…/${replica.spec.volumeId}`;
  return makeCause('BackingMissing', { volume: replica.spec.volumeName, path });
}

/** The data of an attached volume stays, unless a newer copy has taken its place. */
async function refuseWhileAttached(context: AgentContext, replica: Replica): Promise<void> {
  const { volumeId, volumeName, nodeName } = replica.spec;
  const attachment = await context.attachmentNow(volumeId);
  if (!attachment) return;
  const other = context.state
    .replicasOf(volumeId)
    .some(
      (one) =>
        one.metadata.name !== replica.metadata.name && !one.metadata.deletionTimestamp && one.status.phase === 'Ready',
    );
  if (other) return;
  throw blamed(
    'FailedPrecondition',
    makeCause('InUse', { what: `volume ${volumeName}`, holder: `node ${nodeName}, where it is attached` }),
  );
}

function needed<T>(part: T | undefined, engine: string, what: string): T {
  if (part === undefined) throw new AzekuraError('Unimplemented', `engine ${engine} has not ${what}`);
  return part;
}

async function writeStatus(
  context: AgentContext,
  replica: Replica,
  status: Partial<ReplicaStatus>,
): Promise<Replica | undefined> {
  return changeStatus(context.deps.store, 'Replica', replica.metadata.name, (stored) => ({
    ...status,
    observedGeneration: replica.metadata.generation,
    ...(status.causes ? { causes: withSince(status.causes, stored.status.causes, context.now) } : {}),
  }));
}

async function letGo(context: AgentContext, replica: Replica): Promise<void> {
  await change(context.deps.store, 'Replica', replica.metadata.name, ({ metadata }) =>
    metadata.uid === replica.metadata.uid
      ? { metadata: { finalizers: metadata.finalizers.filter((name) => name !== finalizers.agent) } }
      : undefined,
  );
}
