import type { EngineCapabilities } from '../engines/contract.ts';
import { timestamp } from '../lib/clock.ts';
import type { RunResult } from '../lib/work-queue.ts';
import { type Cause, makeCause } from '../model/cause.ts';
import { hasCode } from '../model/errors.ts';
import type { Pool, Replica } from '../model/kinds.ts';
import { finalizers, replicaName, replicaOrdinal, requestIdOf, taskName } from '../model/names.ts';
import type { TaskStatus } from '../model/task.ts';
import { promise } from '../placement/index.ts';
import { change, changeStatus } from '../store/change.ts';
import type { ControlContext } from './context.ts';
import { requestOf } from './request.ts';
import type { View } from './view.ts';
import { findPlace, placementCause } from './volume/placing.ts';

const lookAgainMs = 10_000;
/** Copies are made one after the other: several at once only make each of them slower. */
const movesAtOnce = 1;

/** What becomes of one volume of a pool that is drained. */
export type DrainMove =
  | { readonly replica: Replica; readonly to: string; readonly underWay: boolean }
  | { readonly replica: Replica; readonly why: Cause };

/** Where each volume of a pool can go now, or why it must stay. */
export function planDrain(
  view: View,
  pool: Pool,
  movable: (replica: Replica) => EngineCapabilities['move'],
): readonly DrainMove[] {
  return view.replicasOn(pool.metadata.name).flatMap((replica): DrainMove[] => {
    if (replica.metadata.deletionTimestamp) return [];
    const { volumeId, volumeName } = replica.spec;
    const what = `volume ${volumeName}`;
    const successor = view
      .replicasOf(volumeId)
      .find((one) => one.spec.source?.kind === 'move' && one.spec.source.poolName === pool.metadata.name);
    if (successor) return [{ replica, to: successor.spec.poolName, underWay: true }];
    if (replica.spec.recycled)
      return [
        { replica, why: makeCause('VolumeRecycled', { volume: volumeName, until: replica.spec.recycled.expiresAt }) },
      ];
    const ability = movable(replica);
    if (ability === 'no')
      return [{ replica, why: makeCause('InUse', { what, holder: 'its engine, which cannot move volumes' }) }];
    const attachments = view.attachmentsOf(volumeId);
    const inTheWay = attachments.filter(
      ({ spec }) =>
        ability !== 'attached' && !(ability === 'readOnlyBlock' && spec.readOnly && spec.access === 'block'),
    );
    if (inTheWay.length > 0) {
      const nodes = inTheWay.map(({ spec }) => spec.nodeName).join(', ');
      const only =
        ability === 'readOnlyBlock' ? 'what is not in use, or a raw block volume read-only' : 'what is not in use';
      const holder = `node ${nodes}, where it is attached; engine ${replica.spec.policy.engine} moves only ${only}`;
      return [{ replica, why: makeCause('InUse', { what, holder }) }];
    }
    if (replica.status.phase !== 'Ready' || requestPending(view, volumeId))
      return [{ replica, why: replica.status.causes[0] ?? makeCause('SourceNotReady', { source: what }) }];
    const wanted = {
      sizeBytes: replica.spec.sizeBytes,
      policy: replica.spec.policy,
      nodeNames: [replica.spec.nodeName],
      excludedPools: [pool.metadata.name],
    };
    const result = findPlace(view, wanted);
    const [chosen] = result.chosen;
    return [
      chosen ? { replica, to: chosen.poolName, underWay: false } : { replica, why: placementCause(wanted, result) },
    ];
  });
}

/** A restore that is asked for must end on the old copy: the new one would not know whether it is done. */
function requestPending(view: View, volumeId: string): boolean {
  const volume = view.volumeOf(volumeId);
  return volume?.spec.restore !== undefined && volume.status.restore?.requestId !== volume.spec.restore.requestId;
}

/** Moves the volumes off a pool that is to be drained, and keeps the task that tells how far it is. */
export async function reconcileDrain(context: ControlContext, poolName: string): Promise<RunResult> {
  const { view, deps } = context;
  const pool = view.pools.get(poolName);
  if (!pool?.spec.draining || pool.metadata.deletionTimestamp) {
    if (pool) await endTask(context, pool, 'Cancelled');
    return undefined;
  }
  const moves = planDrain(view, pool, (replica) => deps.engines(replica.spec.policy.engine).capabilities.move);
  const underWay = moves.filter((move) => 'to' in move && move.underWay).length;
  let begun = 0;
  for (const move of moves) {
    if (!('to' in move) || move.underWay || underWay + begun >= movesAtOnce) continue;
    await beginMove(context, pool, move.replica, move.to);
    begun++;
  }
  const [stuck] = moves.flatMap((move) => ('why' in move ? [move.why] : []));
  await reportTask(context, pool, moves, stuck);
  return moves.length > 0 ? { againAfterMs: lookAgainMs } : undefined;
}

async function beginMove(context: ControlContext, pool: Pool, replica: Replica, poolName: string): Promise<void> {
  const { view, deps } = context;
  const { spec } = replica;
  const ordinals = view.replicasOf(spec.volumeId).map((one) => replicaOrdinal(one.metadata.name));
  const name = replicaName(spec.volumeId, Math.max(...ordinals) + 1);
  view.ledger.set(promise(name, poolName, spec));
  const { restore: _restore, repair: _repair, trim: _trim, changeKey: _changeKey, source: _source, ...kept } = spec;
  try {
    await deps.store.create({
      kind: 'Replica',
      metadata: { name, finalizers: [finalizers.agent], annotations: requestOf(pool) },
      spec: { ...kept, poolName, source: { kind: 'move', volumeId: spec.volumeId, poolName: spec.poolName } },
    });
  } catch (error) {
    view.ledger.delete(name);
    if (!hasCode(error, 'AlreadyExists')) throw error;
  }
  const volume = view.volumeOf(spec.volumeId);
  // The pin follows the volume, or the next placement would send it back.
  if (volume?.spec.poolName === spec.poolName)
    await change(deps.store, 'Volume', volume.metadata.name, (stored) => ({ spec: { ...stored.spec, poolName } }));
}

const drainTask = (pool: Pool) => taskName('DrainPool', pool.metadata.uid, pool.metadata.generation);

async function reportTask(
  context: ControlContext,
  pool: Pool,
  moves: readonly DrainMove[],
  stuck: Cause | undefined,
): Promise<void> {
  const { store, clock } = context.deps;
  const name = drainTask(pool);
  const leftBytes = moves.reduce((sum, { replica }) => sum + replica.spec.sizeBytes, 0);
  const now = timestamp(clock);
  if (!context.view.tasks.get(name)) {
    const { name: poolName, uid } = pool.metadata;
    try {
      await store.create({
        kind: 'Task',
        metadata: { name },
        spec: { verb: 'DrainPool', subject: { kind: 'Pool', name: poolName, uid }, ...requestIdOf(pool) },
        status: { phase: 'Running', startedAt: now, progress: { doneBytes: 0, totalBytes: leftBytes } },
      });
    } catch (error) {
      if (!hasCode(error, 'AlreadyExists')) throw error;
    }
  }
  await changeStatus(store, 'Task', name, ({ status }): Partial<TaskStatus> | undefined => {
    if (status.phase === 'Succeeded') return undefined;
    const totalBytes = Math.max(status.progress?.totalBytes ?? 0, leftBytes);
    const progress = { doneBytes: totalBytes - leftBytes, totalBytes };
    if (moves.length === 0) return { phase: 'Succeeded', progress, endedAt: now, cause: undefined };
    return { phase: 'Running', progress, cause: stuck, endedAt: undefined };
  });
}

/** A drain that is called off ends its task. */
async function endTask(context: ControlContext, pool: Pool, phase: 'Cancelled'): Promise<void> {
  for (const task of context.view.tasks.list()) {
    const { verb, subject } = task.spec;
    if (verb !== 'DrainPool' || subject.uid !== pool.metadata.uid || task.status.phase !== 'Running') continue;
    await changeStatus(context.deps.store, 'Task', task.metadata.name, () => ({
      phase,
      endedAt: timestamp(context.deps.clock),
    }));
  }
}
