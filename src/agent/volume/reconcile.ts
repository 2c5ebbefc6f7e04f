import type { VolumeObservation } from '../../engines/contract.ts';
import type { RunResult } from '../../lib/work-queue.ts';
import { toAzekuraError } from '../../model/errors.ts';
import type { Replica } from '../../model/kinds.ts';
import type { AgentContext } from '../context.ts';
import { reconcileSnapshots } from '../snapshot/reconcile.ts';
import { gone } from '../triggers.ts';
import { reconcileAttachment } from './attachment.ts';
import { reconcileReplica } from './replica.ts';
import { holdsAttachment } from './replica-plan.ts';
import { triggerTrim } from './trim.ts';
import { scheduleUsage } from './usage.ts';

/**
 * Converges all that concerns one volume on this node, in the order in which it depends on each other: what is to be
 * detached, the copies, what is to be attached, the snapshots, and the copies that are to go. Each part that fails
 * leaves its cause on its own object; the others are tried all the same.
 *
 * @throws AzekuraError the first failure, so that the queue comes back
 */
export async function reconcileVolume(context: AgentContext, volumeId: string): Promise<RunResult> {
  // The pool's first look triggers it again.
  if (!context.isServed(volumeId)) return undefined;
  return context.volumeLocks.run(volumeId, async () => {
    const failures: unknown[] = [];
    const attempt = async (work: () => Promise<unknown>) => {
      try {
        await work();
      } catch (error) {
        failures.push(error);
      }
    };
    const { state } = context;
    const leaving = await context.attachmentNow(volumeId);
    if (leaving?.metadata.deletionTimestamp) {
      const { uid } = leaving.metadata;
      // That it is gone will be no news: what follows here sees it.
      context.seenTo.set(uid, gone);
      const replica = await usedReplica(context, volumeId);
      await attempt(() => reconcileAttachment(context, leaving, replica));
      if (failures.length > 0) context.seenTo.delete(uid);
    }
    const seen = new Map<string, VolumeObservation>();
    for (const replica of state.replicasOf(volumeId)) {
      if (replica.metadata.deletionTimestamp) continue;
      await attempt(async () => {
        const observation = await reconcileReplica(context, replica);
        if (observation) seen.set(replica.metadata.name, observation);
      });
    }

    const attachment = await context.attachmentNow(volumeId);
    if (attachment && !attachment.metadata.deletionTimestamp) {
      const replica = await usedReplica(context, volumeId);
      // A copy in the making says so by itself; there is nothing to attach yet.
      const pending = replica === undefined && state.replicasOf(volumeId).length > 0;
      if (!pending)
        await attempt(() =>
          reconcileAttachment(context, attachment, replica, {
            hold: replica !== undefined && holdsAttachment(replica),
            seen: replica && seen.get(replica.metadata.name),
          }),
        );
    }
    await attempt(() => reconcileSnapshots(context, volumeId));
    for (const replica of state.replicasOf(volumeId))
      if (replica.metadata.deletionTimestamp)
        await attempt(async () => void (await reconcileReplica(context, replica)));
    if (failures.length > 0) throw toAzekuraError(failures[0]);
    scheduleUsage(context, volumeId);
    triggerTrim(context, volumeId);
    return undefined;
  });
}

/**
 * The copy whose device is used: the newest that is ready. After a move it is the new one, from the instant at which its
 * readiness is stored; so the store is asked, not the memory.
 */
export async function usedReplica(context: AgentContext, volumeId: string): Promise<Replica | undefined> {
  const present: Replica[] = [];
  for (const { metadata } of context.state.replicasOf(volumeId)) {
    const replica = await context.deps.store.find('Replica', metadata.name);
    if (replica) present.push(replica);
  }
  return (
    present.findLast((replica) => replica.status.phase === 'Ready' && !replica.metadata.deletionTimestamp) ??
    present.findLast((replica) => replica.status.phase === 'Ready')
  );
}
