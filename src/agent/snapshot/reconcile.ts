import type { SnapshotIdentity } from '../../engines/contract.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed, toAzekuraError } from '../../model/errors.ts';
import type { Replica, Snapshot } from '../../model/kinds.ts';
import { finalizers, requestIdOf } from '../../model/names.ts';
import type { SnapshotStatus } from '../../model/snapshot.ts';
import { change, changeStatus } from '../../store/change.ts';
import { causeOfError, withSince } from '../causes.ts';
import { type AgentContext, keys } from '../context.ts';
import type { TaskRequest } from '../tasks.ts';
import { type CutResult, cutTogether } from './cut.ts';

/**
 * Converges the snapshots of a volume: deletes, cuts, and says what has become of them. The caller holds the volume.
 *
 * @throws AzekuraError the first failure; each has left its cause on its snapshot
 */
export async function reconcileSnapshots(context: AgentContext, volumeId: string): Promise<void> {
  let failure: unknown;
  const replica = context.state.replicasOf(volumeId).findLast((one) => one.status.sizeBytes > 0);
  for (const { metadata } of context.state.snapshotsOf(volumeId)) {
    // A burst of snapshots is worked through in one go: each is read when its turn comes.
    const snapshot = context.state.snapshots.get(metadata.name);
    if (!snapshot) continue;
    try {
      if (snapshot.metadata.deletionTimestamp) await remove(context, snapshot, replica);
      else await keep(context, snapshot, replica);
    } catch (error) {
      failure ??= error;
      const leaving = snapshot.metadata.deletionTimestamp !== undefined;
      const phase = leaving ? 'Deleting' : snapshot.status.phase === 'Ready' ? 'Ready' : 'Failed';
      await writeSnapshotStatus(context, snapshot, {
        phase,
        causes: [causeOfError(error, { step: 'agent.snapshot' })],
      });
    }
  }
  if (failure !== undefined) throw toAzekuraError(failure);
}

async function keep(context: AgentContext, snapshot: Snapshot, replica: Replica | undefined): Promise<void> {
  const { spec, status, metadata } = snapshot;
  if (!spec.snapshotId) return;
  if (!replica)
    throw blamed('NotFound', makeCause('SnapshotSourceGone', { volume: spec.volumeName, snapshot: metadata.name }));
  if (replica.spec.recycled) {
    const { volumeName: volume, recycled } = replica.spec;
    const cause = makeCause('VolumeRecycled', { volume, until: recycled.expiresAt });
    await writeSnapshotStatus(context, snapshot, { readyToUse: false, causes: [cause] });
    return;
  }
  const engine = context.engineOf(replica);
  if (!engine.snapshots)
    throw new AzekuraError('Unimplemented', `engine ${replica.spec.policy.engine} takes no snapshots`);
  const seen = await engine.snapshots.observe({ ...context.volumeRef(replica), snapshotId: spec.snapshotId });
  if (seen.present) {
    await context.tasks.settle(metadata.uid, 'Succeeded');
    // Members of a group count only all together: the group says so.
    if (spec.groupName === undefined || status.phase === 'Ready')
      await ready(context, snapshot, seen.identity, seen.sizeBytes);
    return;
  }
  if (status.phase === 'Ready') {
    const path = `snapshot ${spec.snapshotId}`;
    throw blamed(
      'DataLoss',
      makeCause('BackingMissing', { volume: `${replica.spec.volumeName}, snapshot ${metadata.name}`, path }),
    );
  }
  if (spec.groupName !== undefined) return;
  const results = await context.tasks.run(snapshotTask('CutSnapshot', snapshot), ({ steps }) =>
    cutTogether(context, steps, [{ snapshot, replica }], { freeze: spec.freeze }),
  );
  const result = results.get(metadata.name);
  if (result) await writeReady(context, snapshot, result);
}

async function ready(
  context: AgentContext,
  snapshot: Snapshot,
  identity: SnapshotIdentity | undefined,
  sizeBytes: number,
): Promise<void> {
  const { cutAt, consistency } = identity ?? snapshot.status;
  await writeReady(context, snapshot, {
    cutAt: cutAt ?? snapshot.metadata.creationTimestamp,
    consistency: consistency ?? 'crash',
    sizeBytes,
  });
}

/** Says that the snapshot can be used. */
export async function writeReady(context: AgentContext, snapshot: Snapshot, result: CutResult): Promise<void> {
  const { cutAt, consistency, sizeBytes } = result;
  await writeSnapshotStatus(context, snapshot, {
    cutAt,
    consistency,
    sizeBytes,
    phase: 'Ready',
    readyToUse: true,
    causes: [],
  });
}

async function remove(context: AgentContext, snapshot: Snapshot, replica: Replica | undefined): Promise<void> {
  const { snapshotId, purge } = snapshot.spec;
  if (replica && snapshotId && !purge) {
    const { poolName } = replica.spec;
    context.deps.log.warn(
      { snapshot: snapshot.metadata.name, snapshotId, pool: poolName },
      'a snapshot was deleted without consent to destroy its data: the data stays on the pool',
    );
    context.scannedPools.delete(poolName);
    context.trigger(keys.pool(poolName), 1_000);
  }
  if (replica && snapshotId && purge) {
    const volume = context.volumeRef(replica);
    await context.tasks.run(snapshotTask('DeleteSnapshot', snapshot), async ({ steps }) => {
      const { snapshots } = context.engineOf(replica, steps);
      await snapshots?.abandon({ ...volume, snapshotId });
      await snapshots?.delete({ ...volume, snapshotId });
    });
  }
  await change(context.deps.store, 'Snapshot', snapshot.metadata.name, ({ metadata }) =>
    metadata.uid === snapshot.metadata.uid
      ? { metadata: { finalizers: metadata.finalizers.filter((name) => name !== finalizers.agent) } }
      : undefined,
  );
}

function snapshotTask(verb: string, snapshot: Snapshot): TaskRequest {
  const { name, uid, generation } = snapshot.metadata;
  return {
    verb,
    subject: { kind: 'Snapshot', name, uid },
    objectUid: uid,
    round: generation,
    ...requestIdOf(snapshot),
  };
}

/** Writes what is known of a snapshot. */
export async function writeSnapshotStatus(
  context: AgentContext,
  snapshot: Snapshot,
  status: Partial<SnapshotStatus>,
): Promise<void> {
  await changeStatus(context.deps.store, 'Snapshot', snapshot.metadata.name, (stored) => ({
    ...status,
    observedGeneration: snapshot.metadata.generation,
    causes: withSince(status.causes ?? [], stored.status.causes, context.now),
  }));
}
