import type { RunResult } from '../lib/work-queue.ts';
import { type Cause, makeCause } from '../model/cause.ts';
import { hasCode } from '../model/errors.ts';
import type { SnapshotGroup } from '../model/kinds.ts';
import { apiVersion } from '../model/meta.ts';
import { finalizers, memberSnapshotName } from '../model/names.ts';
import { change, changeStatus } from '../store/change.ts';
import { type ControlContext, withSince } from './context.ts';
import { consents, purge } from './purge.ts';
import { requestOf } from './request.ts';
import { snapshotSpecOf } from './snapshots.ts';

/** Makes the member snapshots of a group, which the agent cuts together; and removes them with it. */
export async function reconcileGroup(context: ControlContext, name: string): Promise<RunResult> {
  const group = context.view.groups.get(name);
  if (!group) return undefined;
  if (group.metadata.deletionTimestamp) return remove(context, group);
  if (group.status.phase === 'Ready') return undefined;
  const causes: Cause[] = [];
  for (const volumeName of group.spec.volumeNames) {
    const cause = await ensureMember(context, group, volumeName);
    if (cause) causes.push(cause);
  }
  await place(context, group);
  if (causes.length > 0)
    await changeStatus(context.deps.store, 'SnapshotGroup', name, ({ status }) => ({
      phase: 'Failed' as const,
      causes: withSince(causes, status.causes, context.now),
    }));
  return undefined;
}

async function ensureMember(
  context: ControlContext,
  group: SnapshotGroup,
  volumeName: string,
): Promise<Cause | undefined> {
  const { view, deps } = context;
  const name = memberSnapshotName(group.metadata.name, volumeName);
  if (view.snapshots.get(name)) return undefined;
  const volume = view.volumes.get(volumeName);
  if (!volume || volume.metadata.deletionTimestamp)
    return makeCause('SourceNotFound', { source: `volume ${volumeName}` });
  const spec = snapshotSpecOf(view, volume, { freeze: group.spec.freeze, groupName: group.metadata.name });
  try {
    await deps.store.create({
      kind: 'Snapshot',
      metadata: {
        name,
        finalizers: [finalizers.agent],
        annotations: requestOf(group),
        ownerReferences: [
          { apiVersion, kind: 'SnapshotGroup', name: group.metadata.name, uid: group.metadata.uid, controller: true },
        ],
      },
      spec,
    });
  } catch (error) {
    if (!hasCode(error, 'AlreadyExists')) throw error;
  }
  return undefined;
}

/** Members on one node are cut by its agent; it learns of the group by its name in the spec. */
async function place({ view, deps }: ControlContext, { metadata, spec }: SnapshotGroup): Promise<void> {
  const members = spec.volumeNames.map((volume) => view.snapshots.get(memberSnapshotName(metadata.name, volume)));
  const nodes = new Set(members.map((member) => member?.spec.nodeName));
  const [nodeName] = nodes;
  if (nodes.size !== 1 || nodeName === undefined || spec.nodeName === nodeName) return;
  await change(deps.store, 'SnapshotGroup', metadata.name, (stored) => ({ spec: { ...stored.spec, nodeName } }));
}

async function remove(context: ControlContext, group: SnapshotGroup): Promise<RunResult> {
  const { view, deps } = context;
  const members = view.snapshots.list().filter((snapshot) => snapshot.spec.groupName === group.metadata.name);
  for (const member of members) {
    const { name, uid, deletionTimestamp } = member.metadata;
    if (consents(group)) await purge(deps.store, 'Snapshot', member, requestOf(group));
    else if (!deletionTimestamp) await deps.store.delete('Snapshot', name, { uid });
  }
  if (members.length > 0) {
    await changeStatus(deps.store, 'SnapshotGroup', group.metadata.name, () => ({ phase: 'Deleting' as const }));
    return undefined;
  }
  await change(deps.store, 'SnapshotGroup', group.metadata.name, ({ metadata }) =>
    metadata.uid === group.metadata.uid
      ? { metadata: { finalizers: metadata.finalizers.filter((one) => one !== finalizers.group) } }
      : undefined,
  );
  return undefined;
}
