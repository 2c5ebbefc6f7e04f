import { type Clock, timestamp } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { type CrashPoint, makeSteps, type Steps } from '../lib/steps.ts';
import type { Cause } from '../model/cause.ts';
import { blamed, hasCode, toAzekuraError } from '../model/errors.ts';
import { taskName } from '../model/names.ts';
import type { TaskSpec, TaskStatus, TaskStep } from '../model/task.ts';
import { changeStatus } from '../store/change.ts';
import type { Store } from '../store/store.ts';
import { causeOfError } from './causes.ts';

/** The uid of the object that the agent worked on; the subject may be another one, which a person knows. */
export const objectUidLabel = 'azekura.dev/object-uid';

/** Written while it runs only when it takes longer than this: a quick operation costs one write. */
const showAfterMs = 300;
const updateEveryMs = 1_000;
const keptSteps = 200;

export interface TaskRequest {
  readonly verb: string;
  readonly subject: TaskSpec['subject'];
  /** uid of the object that is converged, and what makes this operation on it a new one: its generation, a request id. */
  readonly objectUid: string;
  readonly round: string | number;
  /** The request that asked for it, as the object says. */
  readonly requestId?: string;
}

/** The running operation, as its steps see it. */
export interface Operation {
  readonly steps: Steps;
  readonly taskName: string;
}

export interface TaskBookDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  readonly nodeName: string;
  readonly crashPoint: CrashPoint;
}

/** Keeps the history: one Task for each operation, continued after a crash or a failure under the same name. */
export class TaskBook {
  readonly #deps: TaskBookDeps;
  /** Tasks that were found running at start, by the uid of their object. */
  readonly #interrupted = new Map<string, Set<string>>();
  readonly #ending = new Set<Promise<void>>();

  constructor(deps: TaskBookDeps) {
    this.#deps = deps;
  }

  /** Steps of something that is looked at only, or too small for a Task; they still pass the crash points. */
  get quietSteps(): Steps {
    return makeSteps({}, this.#deps.crashPoint);
  }

  /** Finds tasks that an earlier process left running. */
  async recover(): Promise<void> {
    const { items } = await this.#deps.store.list('Task');
    for (const task of items) {
      if (task.status.phase !== 'Running' || task.spec.nodeName !== this.#deps.nodeName) continue;
      const uid = task.metadata.labels[objectUidLabel] ?? '';
      this.#interrupted.set(uid, (this.#interrupted.get(uid) ?? new Set()).add(task.metadata.name));
    }
  }

  /**
   * Ends what an earlier process left running on an object, once the object was found as it should be or is gone.
   *
   * @param outcome Succeeded when the operation's end was reached, Cancelled when its object went away
   */
  async settle(objectUid: string, outcome: 'Succeeded' | 'Cancelled'): Promise<void> {
    const names = this.#interrupted.get(objectUid);
    if (!names) return;
    this.#interrupted.delete(objectUid);
    const now = timestamp(this.#deps.clock);
    for (const name of names) {
      await changeStatus(this.#deps.store, 'Task', name, ({ status }) => ({
        phase: outcome,
        endedAt: now,
        steps: status.steps.map((step) =>
          step.outcome === 'Running'
            ? { ...step, outcome: outcome === 'Succeeded' ? ('Succeeded' as const) : ('Failed' as const), endedAt: now }
            : step,
        ),
      }));
    }
  }

  /** Resolves when the records of all operations that have ended are stored. */
  async idle(): Promise<void> {
    await Promise.all(this.#ending);
  }

  /** Objects with tasks that an earlier process left running. */
  interruptedObjects(): readonly string[] {
    return [...this.#interrupted.keys()];
  }

  /**
   * Runs an operation and records it. The record of a success is not waited for: it goes to the store in the same turn
   * as what the caller writes next about its object, so that both are flushed together, and either both or none is there
   * after a crash.
   *
   * @throws AzekuraError what the work throws, always with a blame; what a store that does not answer throws is logged only
   */
  async run<T>(request: TaskRequest, work: (operation: Operation) => Promise<T>): Promise<T> {
    const name = taskName(request.verb, request.objectUid, request.round);
    const record = new Record(this.#deps, name, request);
    this.#interrupted.get(request.objectUid)?.delete(name);
    if (this.#interrupted.get(request.objectUid)?.size === 0) this.#interrupted.delete(request.objectUid);
    try {
      const result = await work({ steps: makeSteps(record, this.#deps.crashPoint), taskName: name });
      const ending = record.end('Succeeded');
      this.#ending.add(ending);
      void ending.finally(() => this.#ending.delete(ending));
      return result;
    } catch (error) {
      const blame = causeOfError(error, { step: record.lastStep ?? request.verb, task: name });
      await record.end('Failed', blame);
      throw blamed(toAzekuraError(error).code, blame, { cause: error });
    }
  }
}

/** One Task in the making: gathers steps and writes them now and then. */
class Record {
  readonly #deps: TaskBookDeps;
  readonly #name: string;
  readonly #request: TaskRequest;
  readonly #startedAt: string;
  readonly #steps: TaskStep[] = [];
  #progress: TaskStatus['progress'];
  #cancelTimer: () => void = () => {};
  #writing: Promise<void> = Promise.resolve();
  #previous: TaskStatus | undefined;
  /** Made by this record: what is stored is its own earlier state, not an earlier attempt. */
  #own = false;
  #ended = false;

  constructor(deps: TaskBookDeps, name: string, request: TaskRequest) {
    this.#deps = deps;
    this.#name = name;
    this.#request = request;
    this.#startedAt = timestamp(deps.clock);
    this.#schedule(showAfterMs);
  }

  get lastStep(): string | undefined {
    return this.#steps.findLast((step) => step.outcome === 'Failed')?.name ?? this.#steps.at(-1)?.name;
  }

  started(name: string): void {
    this.#steps.push({ name, startedAt: timestamp(this.#deps.clock), outcome: 'Running' });
    if (this.#steps.length > keptSteps) this.#steps.shift();
  }

  ended(name: string, error?: unknown): void {
    const index = this.#steps.findLastIndex((step) => step.name === name && step.outcome === 'Running');
    const step = this.#steps[index];
    if (!step) return;
    const message = error === undefined ? {} : { message: error instanceof Error ? error.message : String(error) };
    this.#steps[index] = {
      ...step,
      ...message,
      endedAt: timestamp(this.#deps.clock),
      outcome: error === undefined ? 'Succeeded' : 'Failed',
    };
  }

  progress(doneBytes: number, totalBytes: number): void {
    this.#progress = { doneBytes, totalBytes };
  }

  async end(phase: 'Succeeded' | 'Failed', cause?: Cause): Promise<void> {
    this.#ended = true;
    this.#cancelTimer();
    await this.#writing;
    await this.#write({ phase, endedAt: timestamp(this.#deps.clock), ...(cause ? { cause } : {}) });
  }

  #schedule(delayMs: number): void {
    this.#cancelTimer = this.#deps.clock.after(delayMs, () => {
      this.#writing = this.#write({ phase: 'Running' }).finally(() => {
        if (!this.#ended) this.#schedule(updateEveryMs);
      });
    });
  }

  /** History is worth much, but not as much as the operation: an error here is logged only. */
  async #write(state: Pick<TaskStatus, 'phase'> & Partial<TaskStatus>): Promise<void> {
    try {
      if (!(await this.#update(state)) && !(await this.#create(state))) await this.#update(state);
    } catch (error) {
      this.#deps.log.warn({ err: error, task: this.#name }, 'the task could not be written');
    }
  }

  /** @returns false when there is no such task yet */
  async #update(state: Pick<TaskStatus, 'phase'> & Partial<TaskStatus>): Promise<boolean> {
    const stored = await changeStatus(this.#deps.store, 'Task', this.#name, ({ status }) => {
      if (!this.#own) this.#previous ??= status;
      return { ...this.#status(state), cause: state.cause };
    });
    return stored !== undefined;
  }

  /** @returns false when there is such a task */
  async #create(state: Pick<TaskStatus, 'phase'> & Partial<TaskStatus>): Promise<boolean> {
    const { verb, subject, objectUid, requestId } = this.#request;
    try {
      await this.#deps.store.create({
        kind: 'Task',
        metadata: { name: this.#name, labels: { [objectUidLabel]: objectUid } },
        spec: { verb, subject, nodeName: this.#deps.nodeName, ...(requestId === undefined ? {} : { requestId }) },
        status: this.#status(state),
      });
      this.#own = true;
      return true;
    } catch (error) {
      if (!hasCode(error, 'AlreadyExists')) throw error;
      return false;
    }
  }

  #status(state: Pick<TaskStatus, 'phase'> & Partial<TaskStatus>): TaskStatus {
    return {
      ...state,
      steps: [...this.#steps],
      startedAt: this.#previous?.startedAt ?? this.#startedAt,
      attempts: (this.#previous?.attempts ?? 0) + 1,
      ...(this.#progress ? { progress: this.#progress } : {}),
    };
  }
}
