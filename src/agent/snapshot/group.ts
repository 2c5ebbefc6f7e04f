import type { SnapshotIdentity } from '../../engines/contract.ts';
import type { RunResult } from '../../lib/work-queue.ts';
import type { Replica, Snapshot, SnapshotGroup } from '../../model/kinds.ts';
import { memberSnapshotName, requestIdOf } from '../../model/names.ts';
import { changeStatus } from '../../store/change.ts';
import { causeOfError, withSince } from '../causes.ts';
import type { AgentContext } from '../context.ts';
import { type CutMember, type CutResult, cutTogether } from './cut.ts';
import { writeReady } from './reconcile.ts';

/** Members come by themselves; this is for the copy of a volume that is not ready yet. */
const waitForMembersMs = 5_000;

/**
 * Cuts the members of a snapshot group at one instant. Holds all of their volumes meanwhile; in the order of their ids,
 * so that two groups never wait for each other.
 *
 * @throws AzekuraError after the cause has been written to the group
 */
export async function reconcileGroup(context: AgentContext, name: string): Promise<RunResult> {
  const group = context.state.group(name);
  if (!group || group.metadata.deletionTimestamp || group.status.phase === 'Ready') return undefined;
  const members = membersOf(context, group);
  if (!members) return { againAfterMs: waitForMembersMs };
  const volumeIds = [...new Set(members.map(({ replica }) => replica.spec.volumeId))].sort();
  return holding(context, volumeIds, async () => {
    try {
      await converge(context, group, members);
      await context.tasks.settle(group.metadata.uid, 'Succeeded');
    } catch (error) {
      const causes = [causeOfError(error, { step: 'agent.group' })];
      await changeStatus(context.deps.store, 'SnapshotGroup', name, (stored) => ({
        phase: 'Failed' as const,
        causes: withSince(causes, stored.status.causes, context.now),
      }));
      throw error;
    }
    return undefined;
  });
}

/** All members with their copies on this node; undefined while one of them is not there yet, or is elsewhere. */
function membersOf(context: AgentContext, group: SnapshotGroup): readonly CutMember[] | undefined {
  const members: CutMember[] = [];
  for (const volumeName of group.spec.volumeNames) {
    const snapshot = context.state.snapshots.get(memberSnapshotName(group.metadata.name, volumeName));
    const volumeId = snapshot?.spec.volumeId;
    if (!snapshot?.spec.snapshotId || !volumeId || snapshot.metadata.deletionTimestamp) return undefined;
    const replica = readyReplica(context, volumeId);
    if (!replica || !context.isServed(volumeId)) return undefined;
    members.push({ snapshot, replica });
  }
  return members;
}

function readyReplica(context: AgentContext, volumeId: string): Replica | undefined {
  return context.state
    .replicasOf(volumeId)
    .findLast((one) => one.status.phase === 'Ready' && !one.metadata.deletionTimestamp);
}

/**
 * A crash between two commits leaves some members of an instant that the others have missed: those are deleted, and all
 * are cut anew.
 */
async function converge(context: AgentContext, group: SnapshotGroup, members: readonly CutMember[]): Promise<void> {
  const there = await Promise.all(members.map((member) => observe(context, member)));
  const first = there[0]?.cutAt;
  const complete = first !== undefined && there.every((identity) => identity?.cutAt === first);
  const cutAt = complete ? first : await cutAnew(context, group, members);
  if (complete) await Promise.all(members.map(({ snapshot }, index) => markReady(context, snapshot, there[index])));
  await changeStatus(context.deps.store, 'SnapshotGroup', group.metadata.name, () => ({
    phase: 'Ready' as const,
    observedGeneration: group.metadata.generation,
    cutAt,
    snapshotNames: members.map(({ snapshot }) => snapshot.metadata.name),
    causes: [],
  }));
}

/** The member as it lies on the disk; undefined when it has not been cut. */
async function observe(context: AgentContext, { snapshot, replica }: CutMember): Promise<SnapshotIdentity | undefined> {
  const engine = context.engineOf(replica);
  const ref = { ...context.volumeRef(replica), snapshotId: snapshot.spec.snapshotId ?? '' };
  const seen = await engine.snapshots?.observe(ref);
  return seen?.present ? seen.identity : undefined;
}

async function cutAnew(
  context: AgentContext,
  group: SnapshotGroup,
  members: readonly CutMember[],
): Promise<string | undefined> {
  const { name, uid, generation } = group.metadata;
  const request = {
    verb: 'CutSnapshotGroup',
    subject: { kind: 'SnapshotGroup', name, uid },
    objectUid: uid,
    round: generation,
    ...requestIdOf(group),
  };
  const results = await context.tasks.run(request, async ({ steps }) => {
    for (const { snapshot, replica } of members) {
      const { snapshots } = context.engineOf(replica, steps);
      const ref = { ...context.volumeRef(replica), snapshotId: snapshot.spec.snapshotId ?? '' };
      const seen = await snapshots?.observe(ref);
      if (seen?.present) await steps.run('agent.group.discard', async () => snapshots?.delete(ref));
    }
    return cutTogether(context, steps, members, { freeze: group.spec.freeze, groupName: name });
  });
  await Promise.all(members.map(({ snapshot }) => markReady(context, snapshot, results.get(snapshot.metadata.name))));
  return [...results.values()][0]?.cutAt;
}

async function markReady(context: AgentContext, snapshot: Snapshot, result: CutResult | undefined): Promise<void> {
  if (result) await writeReady(context, snapshot, result);
}

async function holding<T>(context: AgentContext, volumeIds: readonly string[], work: () => Promise<T>): Promise<T> {
  const [first, ...rest] = volumeIds;
  return first === undefined ? work() : context.volumeLocks.run(first, () => holding(context, rest, work));
}
