import type { RunResult } from '../lib/work-queue.ts';
import type { ControlContext } from './context.ts';

const keptByDefault = 1_000;

/** Keeps the history bounded: when it is a tenth too long, the oldest finished tasks go in one batch. */
export async function pruneTasks(context: ControlContext): Promise<RunResult> {
  const kept = context.deps.keptTasks ?? keptByDefault;
  const tasks = context.view.tasks.list();
  if (tasks.length <= kept * 1.1) return undefined;
  const finished = tasks
    .filter((task) => task.status.phase !== 'Running')
    .sort((a, b) => (endOf(a) < endOf(b) ? -1 : 1));
  const surplus = finished.slice(0, tasks.length - kept);
  await Promise.all(
    surplus.map(({ metadata }) => context.deps.store.delete('Task', metadata.name, { uid: metadata.uid })),
  );
  return undefined;
}

function endOf(task: {
  readonly status: { readonly endedAt?: string | undefined };
  readonly metadata: { readonly creationTimestamp: string };
}): string {
  return task.status.endedAt ?? task.metadata.creationTimestamp;
}
