import { type RunResult, WorkQueue } from '../lib/work-queue.ts';
import type { Volume } from '../model/kinds.ts';
import { annotations } from '../model/names.ts';
import { ControlContext, keys } from './context.ts';
import type { ControllerDeps } from './deps.ts';
import { pruneTasks } from './tasks.ts';
import type { View } from './view.ts';
import { reconcileVolume } from './volume/reconcile.ts';

const parallelism = 4;
const gatherMs = 2_000;

/** What a node of a cluster decides by itself. */
export interface NodeControllers {
  stop(deadlineMs?: number): Promise<void>;
}

/**
 * Runs what a node of a cluster decides without it: the volumes that live in a pod's specification only (marked
 * `azekura.dev/node-only`), which begin and end with the pod also while the cluster is away; and how much of its own
 * history is kept. All other volumes are the cluster's.
 */
export function startNodeControllers(deps: ControllerDeps & { readonly view: View }): NodeControllers {
  const { view, clock, log } = deps;
  const queue: WorkQueue = new WorkQueue({
    clock,
    parallelism,
    run: (key) => run(key),
    onError: (key, err, failures, retryAfterMs) =>
      log.warn({ err, key, failures, retryAfterMs }, 'not reconciled; it is tried again'),
  });
  const context = new ControlContext(deps, view, (key, afterMs) =>
    afterMs === undefined ? queue.add(key) : queue.addAfter(key, afterMs),
  );
  const run = async (key: string): Promise<RunResult> => {
    const [kind, name = ''] = key.split('/');
    return kind === 'volume' ? reconcileVolume(context, name) : pruneTasks(context);
  };
  const trigger = (volume: Volume | undefined) => {
    if (volume && isNodeOnly(volume)) queue.add(keys.volume(volume.metadata.name));
  };
  const stops = [
    view.volumes.onChange(({ object }) => trigger(object)),
    view.replicas.onChange(({ object }) => trigger(view.volumeOf(object.spec.volumeId))),
    view.attachments.onChange(({ object }) => trigger(view.volumeOf(object.spec.volumeId))),
    // One that waits for room.
    view.pools.onChange(() => {
      for (const volume of view.volumes.list()) if (volume.status.phase === 'Pending') trigger(volume);
    }),
    view.tasks.onChange(({ type }) => {
      if (type === 'added') queue.addAfter(keys.tasks, gatherMs);
    }),
  ];
  return {
    stop: async (deadlineMs = 5_000) => {
      for (const stop of stops) stop();
      await queue.stop(deadlineMs);
    },
  };
}

/** Whether a volume is the node's own. */
export function isNodeOnly({ metadata }: Volume): boolean {
  return metadata.annotations[annotations.nodeOnly] !== undefined;
}
