import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LoopDevice } from './host.ts';

const maxAgeMs = 5_000;
const deletedSuffix = ' (deleted)';

/**
 * Reads all loop devices in use from sysfs. Configuring, clearing and resizing a loop device each send a uevent, so
 * while the kernel's count of uevents stands still the last answer is still true and costs one small read; with a
 * thousand volumes a full scan costs milliseconds.
 */
export class LoopReader {
  readonly #root: string;
  readonly #nowMs: () => number;
  #sequence = '';
  #readMs = Number.NEGATIVE_INFINITY;
  #loops: readonly LoopDevice[] = [];

  /** @param root "/sys", or a copy of parts of it in tests */
  constructor(root: string, nowMs: () => number) {
    this.#root = root;
    this.#nowMs = nowMs;
  }

  /** Reads sysfs, which answers without touching any device. */
  read(): readonly LoopDevice[] {
    // Before the scan: what changes during it changes the count too, and is seen by the next call.
    const sequence = attribute(join(this.#root, 'kernel/uevent_seqnum')) ?? '';
    const nowMs = this.#nowMs();
    // Switching direct I/O on or off sends none, hence the greatest age.
    if (sequence !== '' && sequence === this.#sequence && nowMs - this.#readMs < maxAgeMs) return this.#loops;
    const known = new Map(this.#loops.map((loop) => [loop.device, loop]));
    this.#loops = loopNames(this.#root).flatMap((name) => readLoop(this.#root, name, known.get(`/dev/${name}`)) ?? []);
    this.#sequence = sequence;
    this.#readMs = nowMs;
    return this.#loops;
  }
}

/** Names of all loop devices, in use or not. */
export function loopNames(root: string): readonly string[] {
  return readdirSync(join(root, 'block')).filter((name) => /^loop\d+$/.test(name));
}

/** The file below a loop device as the kernel writes it, " (deleted)" included; undefined when it is not in use. */
export function backingOf(root: string, name: string): string | undefined {
  return attribute(join(root, 'block', name, 'loop/backing_file'));
}

/**
 * A loop device that is in use; undefined when it is not.
 *
 * @param name such as "loop7"
 * @param before what was read earlier: what cannot change while the device has the same file is taken from it. That
 *   halves the cost, and the block size is the only attribute here whose reading takes a lock
 */
export function readLoop(root: string, name: string, before?: LoopDevice): LoopDevice | undefined {
  const folder = join(root, 'block', name);
  const backing = backingOf(root, name);
  if (backing === undefined) return undefined;
  const backingDeleted = backing.endsWith(deletedSuffix);
  const backingFile = backingDeleted ? backing.slice(0, -deletedSuffix.length) : backing;
  const same = before?.backingFile === backingFile ? before : undefined;
  return {
    device: `/dev/${name}`,
    deviceNumber: same?.deviceNumber ?? attribute(join(folder, 'dev')) ?? `7:${name.slice('loop'.length)}`,
    backingFile,
    backingDeleted,
    sizeBytes: Number(attribute(join(folder, 'size')) ?? 0) * 512,
    readOnly: attribute(join(folder, 'ro')) === '1',
    directIo: attribute(join(folder, 'loop/dio')) === '1',
    logicalBlockBytes: same?.logicalBlockBytes ?? Number(attribute(join(folder, 'queue/logical_block_size')) ?? 512),
  };
}

/** An attribute of sysfs without its newline; undefined when it is not there: the device may go while we read. */
function attribute(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').replace(/\n$/, '');
  } catch {
    return undefined;
  }
}
