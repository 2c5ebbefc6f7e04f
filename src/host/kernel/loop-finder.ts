import { constants, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { LoopDevice } from '../host.ts';
import { backingOf, loopNames, readLoop } from '../loops.ts';
import { errno } from './errno.ts';
import { isOpenHereOnly } from './libc.ts';
import { withFile } from './open.ts';
import { unless } from './raise.ts';

const mostRemembered = 10_000;

/** The path by which the kernel knows a file: without links in its folders. */
export function realFile(file: string): string {
  const folder = unless([errno.ENOENT, errno.ENOTDIR], () => realpathSync(dirname(file)));
  return folder === undefined ? file : join(folder, basename(file));
}

/** Finds the loop device of a file without asking all loop devices, when that can be avoided. */
export class LoopFinder {
  readonly #root: string;
  /** Where a file was seen last, by path. Only a hint: it is looked at again each time. */
  readonly #seen = new Map<string, string>();

  constructor(root: string) {
    this.#root = root;
  }

  /**
   * The device that stands on the file; undefined when there is none or the file is not there.
   *
   * @param hint the device that is looked at first
   */
  find(file: string, hint?: string): LoopDevice | undefined {
    const hinted = hint === undefined ? undefined : this.#verify(realFile(file), basename(hint));
    if (hinted) return hinted;
    // A loop device holds its file open, so a file that nobody has open has none.
    const alone = unless(
      [errno.ENOENT, errno.ENOTDIR],
      () => withFile(file, constants.O_RDONLY, isOpenHereOnly) ?? false,
    );
    if (alone !== false) return undefined;
    const real = realFile(file);
    return this.#verify(real, this.#seen.get(real)) ?? this.#scan(real);
  }

  #verify(file: string, name: string | undefined): LoopDevice | undefined {
    const loop = name === undefined ? undefined : readLoop(this.#root, name);
    return loop?.backingFile === file && !loop.backingDeleted ? loop : undefined;
  }

  #scan(file: string): LoopDevice | undefined {
    this.#seen.clear();
    for (const name of loopNames(this.#root)) {
      const backing = backingOf(this.#root, name);
      if (backing !== undefined && this.#seen.size < mostRemembered) this.#seen.set(backing, name);
    }
    return this.#verify(file, this.#seen.get(file));
  }
}
