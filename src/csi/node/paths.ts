import { realpath } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { AzekuraError } from '../../model/errors.ts';

const deadlineMs = 5_000;
/** Of the process' few threads for file-system calls, so many at most may hang here. */
const mostThreads = 2;

/** Checks the paths that an orchestrator hands over. */
export class TargetPaths {
  readonly #clock: Clock;
  readonly #root: string | undefined;
  #free = mostThreads;
  readonly #waiting: (() => void)[] = [];

  /** @param root all paths must lie below it */
  constructor(clock: Clock, root?: string) {
    this.#clock = clock;
    this.#root = root;
  }

  /**
   * Admits a path in its shortest absolute form whose folders exist and are no symbolic links: mounting follows links,
   * and would end somewhere else than the path says.
   *
   * @param field as in csi.proto, for the message
   * @throws AzekuraError InvalidArgument; FailedPrecondition when its folder does not exist; Unavailable when the file
   *   system below does not answer
   */
  async check(target: string, field: string): Promise<void> {
    const { missing } = await this.#look(target, field);
    if (missing !== undefined)
      throw new AzekuraError('FailedPrecondition', `the folder of ${field} does not exist: ${missing}`);
  }

  /**
   * As check(), for a path that something is to be taken away from.
   *
   * @returns whether there is anything at the path; false also when its folder does not exist
   */
  async exists(target: string, field: string): Promise<boolean> {
    return (await this.#look(target, field)).there;
  }

  /** @returns whether something is there, and the folder when it does not exist */
  async #look(target: string, field: string): Promise<{ readonly there: boolean; readonly missing?: string }> {
    checkForm(target, field);
    if (this.#root !== undefined && !target.startsWith(`${this.#root}/`))
      throw new AzekuraError('InvalidArgument', `field ${field} is not below ${this.#root}: ${target}`, {
        next: "start the agent with --kubelet-dir and the kubelet's own --root-dir",
      });
    const itself = await this.#realPath(target);
    // What is its own real path has no link in it anywhere.
    if (itself === target) return { there: true };
    const folder = path.dirname(target);
    const real = await this.#realPath(folder);
    if (real === undefined) return { there: false, missing: folder };
    if (real !== folder)
      throw new AzekuraError('InvalidArgument', `${field} leads over a symbolic link: ${folder} is ${real}`, {
        next: 'give the real path, for example to the kubelet with --root-dir',
      });
    if (itself !== undefined)
      throw new AzekuraError('InvalidArgument', `${field} is a symbolic link: ${target} leads to ${itself}`);
    return { there: false };
  }

  /** Undefined when it does not exist. */
  async #realPath(target: string): Promise<string | undefined> {
    const outcome = await this.#inTime(async () => {
      await this.#take();
      try {
        return { real: await realpath(target) };
      } catch (error) {
        return { error: error as NodeJS.ErrnoException };
      } finally {
        this.#give();
      }
    });
    if (!outcome)
      throw new AzekuraError('Unavailable', `the file system that holds ${target} does not answer`, {
        next: 'call again',
      });
    if ('real' in outcome) return outcome.real;
    const { code, message } = outcome.error;
    if (code === 'ENOENT') return undefined;
    if (code === 'ENOTDIR' || code === 'ELOOP' || code === 'ENAMETOOLONG')
      throw new AzekuraError('InvalidArgument', `${target} is no possible path: ${code}`);
    throw new AzekuraError('HostFailure', `cannot look at ${target}: ${message}`, { cause: outcome.error });
  }

  /** Undefined when it takes too long. A call that hangs keeps its thread until it comes back. */
  async #inTime<T>(work: () => Promise<T>): Promise<T | undefined> {
    let cancel: () => void = () => {};
    const late = new Promise<undefined>((resolve) => {
      cancel = this.#clock.after(deadlineMs, () => resolve(undefined));
    });
    try {
      return await Promise.race([work(), late]);
    } finally {
      cancel();
    }
  }

  async #take(): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #give(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free += 1;
  }
}

function checkForm(target: string, field: string): void {
  const refuse = (problem: string) => new AzekuraError('InvalidArgument', `field ${field} ${problem}`);
  if (!target.startsWith('/')) throw refuse('is not an absolute path');
  if (target === '/' || path.posix.normalize(target) !== target || target.endsWith('/'))
    throw refuse('is not in its shortest form: no "." or "..", no "//", no "/" at its end');
}
