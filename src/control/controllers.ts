import { type RunResult, WorkQueue } from '../lib/work-queue.ts';
import { makeDefaultClasses, reportClasses } from './classes.ts';
import { ControlContext, keys } from './context.ts';
import type { ControllerDeps, Controllers } from './deps.ts';
import { reconcileDrain } from './drain.ts';
import { reconcileGroup } from './groups.ts';
import { relievePressure } from './pressure.ts';
import { reconcileRecycled } from './recycle.ts';
import { reconcileSnapshot } from './snapshots.ts';
import { pruneTasks } from './tasks.ts';
import { listen } from './triggers.ts';
import { createView, type View } from './view.ts';
import { reconcileVolume } from './volume/reconcile.ts';

const parallelism = 16;

/** Makes the leader's controllers. Their view begins to fill at once. */
export function createControllers(deps: ControllerDeps): Controllers {
  return new EmbeddedControllers(deps);
}

class EmbeddedControllers implements Controllers {
  readonly view: View;
  readonly #ownView: boolean;
  readonly #context: ControlContext;
  readonly #queue: WorkQueue;
  #stopListening: () => void = () => {};

  constructor(deps: ControllerDeps) {
    this.#ownView = deps.view === undefined;
    this.view = deps.view ?? createView(deps);
    this.#context = new ControlContext(deps, this.view, (key, afterMs) =>
      afterMs === undefined ? this.#queue.add(key) : this.#queue.addAfter(key, afterMs),
    );
    this.#queue = new WorkQueue({
      clock: deps.clock,
      parallelism,
      run: (key) => this.#run(key),
      onError: (key, err, failures, retryAfterMs) =>
        deps.log.warn({ err, key, failures, retryAfterMs }, 'not reconciled; it is tried again'),
    });
  }

  async start(): Promise<void> {
    await this.view.synced;
    await makeDefaultClasses(this.#context);
    this.#stopListening = listen(this.#context);
    this.#queue.add(keys.tasks);
  }

  async stop(deadlineMs = 10_000): Promise<void> {
    this.#stopListening();
    await this.#queue.stop(deadlineMs);
    if (this.#ownView) await this.view.close();
  }

  async #run(key: string): Promise<RunResult> {
    const [kind, name = ''] = key.split('/');
    switch (kind) {
      case 'volume':
        return reconcileVolume(this.#context, name);
      case 'recycled':
        return reconcileRecycled(this.#context, name);
      case 'snapshot':
        return reconcileSnapshot(this.#context, name);
      case 'group':
        return reconcileGroup(this.#context, name);
      case 'drain':
        return reconcileDrain(this.#context, name);
      case 'pressure':
        return relievePressure(this.#context, name);
      case 'classes':
        return reportClasses(this.#context);
      default:
        return pruneTasks(this.#context);
    }
  }
}
