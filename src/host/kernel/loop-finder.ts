import { type BigIntStats, constants, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { LoopDevice } from '../host.ts';
import { backingOf, loopNames, readLoop } from '../loops.ts';
import { errno } from './errno.ts';
import { ioctl, isOpenHereOnly } from './libc.ts';
import { withFile } from './open.ts';
import { unless } from './raise.ts';

const mostRemembered = 10_000;

/** The path by which the kernel knows a file: without links in its folders. */
export function realFile(file: string): string {
  const folder = unless([errno.ENOENT, errno.ENOTDIR], () => realpathSync(dirname(file)));
  return folder === undefined ? file : join(folder, basename(file));
}

/**
 * Finds the loop device of a file without asking all loop devices, when that can be avoided.
 *
 * The kernel tells the path by which a file was opened. When the mount namespace of who opened it is gone, as that of an
 * agent's pod is after its restart, that path begins at the mount that is no more: its end only is that of the file's
 * path, and whether it is the file is asked of the device.
 */
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
    const real = realFile(file);
    const hinted =
      hint === undefined ? undefined : (this.#verify(real, basename(hint)) ?? this.#ask(real, basename(hint)));
    if (hinted) return hinted;
    // A loop device holds its file open, so a file that nobody has open has none.
    const alone = unless(
      [errno.ENOENT, errno.ENOTDIR],
      () => withFile(file, constants.O_RDONLY, isOpenHereOnly) ?? false,
    );
    if (alone !== false) return undefined;
    return this.#verify(real, this.#seen.get(real)) ?? this.#scan(real);
  }

  #verify(file: string, name: string | undefined): LoopDevice | undefined {
    const loop = name === undefined ? undefined : readLoop(this.#root, name);
    return loop?.backingFile === file && !loop.backingDeleted ? loop : undefined;
  }

  #scan(file: string): LoopDevice | undefined {
    this.#seen.clear();
    const cutOff: string[] = [];
    for (const name of loopNames(this.#root)) {
      const backing = backingOf(this.#root, name);
      if (backing === undefined) continue;
      if (this.#seen.size < mostRemembered) this.#seen.set(backing, name);
      if (backing !== file && file.endsWith(backing)) cutOff.push(name);
    }
    const found = this.#verify(file, this.#seen.get(file));
    if (found) return found;
    for (const name of cutOff) {
      const loop = this.#ask(file, name);
      if (loop) return loop;
    }
    return undefined;
  }

  /** The device when its path is the end of the file's, and it says that it stands on this very file. */
  #ask(file: string, name: string): LoopDevice | undefined {
    const loop = readLoop(this.#root, name);
    if (!loop || loop.backingDeleted || !file.endsWith(loop.backingFile)) return undefined;
    const stat = unless([errno.ENOENT, errno.ENOTDIR], () => statSync(file, { bigint: true }));
    const same = stat && unless([errno.ENXIO, errno.ENOENT], () => standsOn(loop.device, stat));
    return same ? loop : undefined;
  }
}

/** struct loop_info64 of include/uapi/linux/loop.h begins with device and inode of the file, as stat(2) has them. */
function standsOn(device: string, { dev, ino }: BigIntStats): boolean {
  const info = Buffer.alloc(232);
  withFile(device, constants.O_RDONLY, (fd) => ioctl(fd, 'LOOP_GET_STATUS64', info, device));
  return info.readBigUInt64LE(0) === dev && info.readBigUInt64LE(8) === ino;
}
