import { hasCode } from '../../model/errors.ts';
import type { Task } from '../../model/kinds.ts';
import { change } from '../change.ts';
import type { LocalStore, Store } from '../store.ts';
import { sameJson } from './plan.ts';

/** A task that runs longer than this is worth a place in the cluster's history. */
const longMs = 5_000;

/** On a finished Task of the node that the cluster has been told of: it is not told again when the cluster forgets it. */
const reportedLabel = 'azekura.dev/reported';

/**
 * Whether a Task of the node belongs into the cluster's history: what failed and what took long. The rest are thousands
 * of quick successes, which the node keeps in its own history.
 */
export function isReportable({ metadata, status }: Task): boolean {
  if (metadata.labels[reportedLabel] !== undefined) return false;
  if (status.phase === 'Failed' || status.attempts > 1) return true;
  const startMs = Date.parse(status.startedAt ?? '');
  const latest = [status.endedAt, ...status.steps.flatMap((step) => [step.startedAt, step.endedAt])];
  return latest.some((time) => time !== undefined && Date.parse(time) - startMs > longMs);
}

/** Writes a Task of the node into the cluster as it is now. How long it is kept there is the cluster's own rule. */
export async function reportTask(local: LocalStore, remote: Store, name: string): Promise<void> {
  const task = await local.find('Task', name);
  if (!task || !isReportable(task)) return;
  const known = (await remote.find('Task', name)) ?? (await create(remote, task));
  if (known && !sameJson(known.status, task.status)) await remote.updateStatus({ ...known, status: task.status });
  if (task.status.endedAt !== undefined)
    await change(local, 'Task', name, ({ metadata, status }) =>
      sameJson(status, task.status)
        ? { metadata: { labels: { ...metadata.labels, [reportedLabel]: 'true' } } }
        : undefined,
    );
}

async function create(remote: Store, { metadata, spec, status }: Task): Promise<Task | undefined> {
  try {
    const { name, labels } = metadata;
    return await remote.create({ kind: 'Task', metadata: { name, labels }, spec, status });
  } catch (error) {
    if (hasCode(error, 'AlreadyExists')) return remote.find('Task', metadata.name);
    throw error;
  }
}
