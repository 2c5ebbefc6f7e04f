import { KeyedLock } from '../lib/keyed-lock.ts';
import { type RunResult, WorkQueue } from '../lib/work-queue.ts';
import { AzekuraError } from '../model/errors.ts';
import type { PoolSpec } from '../model/pool.ts';
import { AgentContext } from './context.ts';
import type { Agent, AgentDeps, DirectUse } from './deps.ts';
import { KeyRing } from './encryption/key-ring.ts';
import { checkMountPoint } from './filesystem/mount-point.ts';
import { NodeReporter } from './node/reporter.ts';
import { reconcileOrphans } from './pool/orphans.ts';
import { reconcilePool } from './pool/reconcile.ts';
import { PoolWatch } from './pool/watch.ts';
import { sweepFreezes } from './snapshot/freezes.ts';
import { reconcileGroup } from './snapshot/group.ts';
import { type AgentState, createState } from './state.ts';
import { TaskBook } from './tasks.ts';
import { listen } from './triggers.ts';
import { MountWatch } from './volume/mount-watch.ts';
import { reconcileVolume } from './volume/reconcile.ts';
import { TrimWatch, trimVolume } from './volume/trim.ts';
import { refreshUsage } from './volume/usage.ts';
import { beginUse } from './volume/use.ts';

const parallelism = 16;
const perPool = 4;

/** Makes the agent of a node. */
export function createAgent(deps: AgentDeps): Agent {
  return new NodeAgent(deps);
}

class NodeAgent implements Agent {
  readonly #deps: AgentDeps;
  readonly #queue: WorkQueue;
  readonly #tasks: TaskBook;
  readonly keys = new KeyRing();
  readonly #inspecting = new KeyedLock();
  #state: AgentState | undefined;
  #context: AgentContext | undefined;
  #reporter: NodeReporter | undefined;
  #watches: { stop(): void }[] = [];

  constructor(deps: AgentDeps) {
    this.#deps = deps;
    this.#tasks = new TaskBook({ ...deps, crashPoint: deps.crashPoint ?? (() => {}) });
    this.#queue = new WorkQueue({
      clock: deps.clock,
      parallelism,
      groupParallelism: perPool,
      groupOf: (key) => this.#groupOf(key),
      run: (key) => this.#run(key),
      onError: (key, err, failures, retryAfterMs) =>
        deps.log.warn({ err, key, failures, retryAfterMs }, 'not converged; it is tried again'),
    });
  }

  async start(): Promise<void> {
    const state = createState(this.#deps);
    this.#state = state;
    const context = new AgentContext(
      this.#deps,
      state,
      this.#tasks,
      (key, afterMs) => (afterMs === undefined ? this.#queue.add(key) : this.#queue.addAfter(key, afterMs)),
      this.keys,
    );
    this.#context = context;
    await state.synced;
    await this.#tasks.recover();
    for (const folder of [context.mountsDir, `${context.runDir}/freezes`, `${context.runDir}/mount-points`])
      await context.ownKernel.makeDirectory(folder, 0o700);
    await sweepFreezes(context);
    this.#reporter = new NodeReporter(context);
    await this.#reporter.register();
    await this.#settleGone(state);
    listen(context);
    this.#watches = [new PoolWatch(context), new MountWatch(context), new TrimWatch(context), this.#reporter];
  }

  async stop(deadlineMs = 10_000): Promise<void> {
    for (const watch of this.#watches) watch.stop();
    this.#watches = [];
    const ended = (await this.#queue.stop(deadlineMs)) && (await this.#endUses(deadlineMs));
    if (!ended)
      this.#deps.log.warn(
        { running: this.#queue.running },
        'steps still run at the deadline; the next start goes on with them',
      );
    await this.#tasks.idle();
    await this.#state?.close();
  }

  async inspectPool(name: string, spec: PoolSpec) {
    const context = this.#started();
    const { source, reservePercent, acceptNoJournal, trial, leavingDisks } = spec;
    return this.#inspecting.run(name, () =>
      context.engine(spec.engine).pools.inspect({ name, source, reservePercent, acceptNoJournal, trial, leavingDisks }),
    );
  }

  beginUse(volumeId: string): DirectUse | undefined {
    // Before it has started, the start looks at everything; once it stops, nothing begins.
    return this.#watches.length === 0 ? undefined : beginUse(this.#started(), volumeId);
  }

  async checkMountPoint(path: string, mode: 'filesystem' | 'block', volumeId: string): Promise<void> {
    await checkMountPoint(this.#started(), path, mode, volumeId);
  }

  /** @returns whether all direct uses ended in time */
  async #endUses(deadlineMs: number): Promise<boolean> {
    const running = [...(this.#context?.inUse ?? [])];
    if (running.length === 0) return true;
    let cancel = () => {};
    const late = new Promise<boolean>((resolve) => {
      cancel = this.#deps.clock.after(deadlineMs, () => resolve(false));
    });
    const ended = await Promise.race([Promise.all(running).then(() => true), late]);
    cancel();
    return ended;
  }

  #started(): AgentContext {
    if (!this.#context) throw new AzekuraError('Unavailable', 'the agent of this node has not started yet');
    return this.#context;
  }

  async #run(key: string): Promise<RunResult> {
    const context = this.#started();
    const [kind, name = ''] = key.split('/');
    switch (kind) {
      case 'pool':
        return reconcilePool(context, name);
      case 'orphans':
        return reconcileOrphans(context, name);
      case 'volume':
        return reconcileVolume(context, name);
      case 'group':
        return reconcileGroup(context, name);
      case 'trim':
        return trimVolume(context, name);
      case 'usage':
        return refreshUsage(context, name);
      case 'sweep':
        return sweepFreezes(context);
      default:
        return this.#reporter?.refresh();
    }
  }

  /** Volumes share their pool's places; everything else has places of its own. */
  #groupOf(key: string): string | undefined {
    const [kind, name = ''] = key.split('/');
    if (kind === 'pool') return undefined;
    if (kind !== 'volume' && kind !== 'usage') return kind;
    return `pool/${this.#state?.replicasOf(name)[0]?.spec.poolName ?? ''}`;
  }

  /** Tasks that a crash left running on objects that are gone meanwhile. */
  async #settleGone(state: AgentState): Promise<void> {
    const present = new Set<string>();
    for (const informer of [state.pools, state.replicas, state.attachments, state.snapshots, state.groups])
      for (const object of informer.list()) present.add(object.metadata.uid);
    for (const uid of this.#tasks.interruptedObjects())
      if (!present.has(uid)) await this.#tasks.settle(uid, 'Cancelled');
  }
}
