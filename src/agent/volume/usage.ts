import type { Replica } from '../../model/kinds.ts';
import { changeStatus } from '../../store/change.ts';
import type { AgentContext } from '../context.ts';

/** How long after a change the figures are read: a burst of changes is read once. */
const settleMs = 15_000;

/** The key of the queue under which a volume's figures are read. */
export const usageKey = (volumeId: string) => `usage/${volumeId}`;

/** Has the figures of a volume read in a while. */
export function scheduleUsage(context: AgentContext, volumeId: string, afterMs = settleMs): void {
  context.trigger(usageKey(volumeId), afterMs);
}

/**
 * Reads what a volume and its snapshots really take up, exclusive and shared, and writes what has changed. Reading the
 * extent map costs time in proportion to the number of extents, so this happens after changes and now and then only.
 */
export async function refreshUsage(context: AgentContext, volumeId: string): Promise<undefined> {
  if (!context.isServed(volumeId)) return undefined;
  await context.volumeLocks.run(volumeId, async () => {
    for (const replica of context.state.replicasOf(volumeId)) {
      if (replica.metadata.deletionTimestamp) continue;
      if (replica.status.phase !== 'Ready' && replica.status.phase !== 'Recycled') continue;
      await refreshReplica(context, replica);
    }
    await refreshSnapshots(context, volumeId);
    await refreshFilesystem(context, volumeId);
  });
  return undefined;
}

async function refreshReplica(context: AgentContext, replica: Replica): Promise<void> {
  const usage = await context.engineOf(replica).volumes.usage(context.volumeRef(replica));
  await changeStatus(context.deps.store, 'Replica', replica.metadata.name, () => ({
    exclusiveBytes: usage.exclusiveBytes,
    sharedBytes: usage.sharedBytes,
    ...(usage.extents === undefined ? {} : { extents: usage.extents }),
  }));
}

async function refreshSnapshots(context: AgentContext, volumeId: string): Promise<void> {
  const replica = context.state.replicasOf(volumeId).find((one) => one.status.phase === 'Ready');
  if (!replica) return;
  const engine = context.engineOf(replica);
  for (const snapshot of context.state.snapshotsOf(volumeId)) {
    const { snapshotId } = snapshot.spec;
    if (!engine.snapshots || !snapshotId || snapshot.status.phase !== 'Ready' || snapshot.metadata.deletionTimestamp)
      continue;
    const usage = await engine.snapshots.usage({ ...context.volumeRef(replica), snapshotId });
    await changeStatus(context.deps.store, 'Snapshot', snapshot.metadata.name, () => usage);
  }
}

async function refreshFilesystem(context: AgentContext, volumeId: string): Promise<void> {
  const attachment = context.state.attachmentOf(volumeId);
  const { stagingPath, phase } = attachment?.status ?? {};
  if (!attachment || !stagingPath || phase !== 'Attached') return;
  const space = await context.volumeKernel(volumeId).statfs(stagingPath);
  await changeStatus(context.deps.store, 'Attachment', attachment.metadata.name, () => ({
    filesystemBytes: space.sizeBytes,
    filesystemUsedBytes: space.sizeBytes - space.freeBytes,
  }));
}
