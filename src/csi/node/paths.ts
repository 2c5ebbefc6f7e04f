import { realpath } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { AzekuraError } from '../../model/errors.ts';

const deadlineMs = 5_000;
/** Calls that may hang at the same time: each takes one of the process' few threads for file-system calls. */
const mostHung = 2;

/** Checks the paths that an orchestrator hands over. */
export class TargetPaths {
  readonly #clock: Clock;
  #pending = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
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
    checkForm(target, field);
    const folder = path.dirname(target);
    const real = await this.#realPath(folder);
    if (real === undefined)
      throw new AzekuraError('FailedPrecondition', `the folder of ${field} does not exist: ${folder}`);
    if (real !== folder)
      throw new AzekuraError('InvalidArgument', `${field} leads over a symbolic link: ${folder} is ${real}`, {
        next: 'give the real path, for example to the kubelet with --root-dir',
      });
    const itself = await this.#realPath(target);
    if (itself !== undefined && itself !== target)
      throw new AzekuraError('InvalidArgument', `${field} is a symbolic link: ${target} leads to ${itself}`);
  }

  /** Undefined when it does not exist. */
  async #realPath(target: string): Promise<string | undefined> {
    if (this.#pending >= mostHung) throw unanswered(target);
    this.#pending += 1;
    const found = realpath(target).then(
      (real) => ({ real }),
      (error: NodeJS.ErrnoException) => ({ error }),
    );
    let late = false;
    void found.then(() => {
      if (late) this.#pending -= 1;
    });
    let cancel: () => void = () => {};
    const outcome = await Promise.race([
      found,
      new Promise<undefined>((resolve) => {
        cancel = this.#clock.after(deadlineMs, () => resolve(undefined));
      }),
    ]);
    cancel();
    if (!outcome) {
      late = true;
      throw unanswered(target);
    }
    this.#pending -= 1;
    if ('real' in outcome) return outcome.real;
    if (outcome.error.code === 'ENOENT') return undefined;
    if (outcome.error.code === 'ENOTDIR' || outcome.error.code === 'ELOOP' || outcome.error.code === 'ENAMETOOLONG')
      throw new AzekuraError('InvalidArgument', `${target} is no possible path: ${outcome.error.code}`);
    throw new AzekuraError('HostFailure', `cannot look at ${target}: ${outcome.error.message}`, {
      cause: outcome.error,
    });
  }
}

function unanswered(target: string): AzekuraError {
  return new AzekuraError('Unavailable', `the file system that holds ${target} does not answer`, {
    next: 'call again',
  });
}

function checkForm(target: string, field: string): void {
  const refuse = (problem: string) => new AzekuraError('InvalidArgument', `field ${field} ${problem}`);
  if (!target.startsWith('/')) throw refuse('is not an absolute path');
  if (target === '/' || path.posix.normalize(target) !== target || target.endsWith('/'))
    throw refuse('is not in its shortest form: no "." or "..", no "//", no "/" at its end');
}
