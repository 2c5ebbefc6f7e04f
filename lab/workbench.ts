/** What the system tests and benchmarks share: commands, scratch places, and giving everything back in reverse order. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { basename } from 'node:path';
import { promisify } from 'node:util';

const execFileAsync = promisify(execFile);

/** Runs a command and returns its trimmed output. @throws with the command's own words */
export function run(command: string, ...args: string[]): string {
  try {
    return execFileSync(command, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 2 ** 28,
    }).trim();
  } catch (error) {
    throw new Error(`${command} ${args.join(' ')}: ${failureText(error)}`);
  }
}

/** The same without holding up the event loop. */
export async function runAsync(command: string, ...args: string[]): Promise<string> {
  try {
    return (await execFileAsync(command, args, { encoding: 'utf8', maxBuffer: 2 ** 28 })).stdout.trim();
  } catch (error) {
    throw new Error(`${command} ${args.join(' ')}: ${failureText(error)}`);
  }
}

function failureText(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message?: string };
  return (stderr?.trim() || message) ?? 'failed';
}

/** Undoes things in the reverse order, all of them, and then throws the first thing that went wrong. */
export class Cleanup {
  readonly #undo: (() => void | Promise<void>)[] = [];

  add(undo: () => void | Promise<void>): void {
    this.#undo.push(undo);
  }

  async run(): Promise<void> {
    const failures: unknown[] = [];
    for (let undo = this.#undo.pop(); undo; undo = this.#undo.pop()) {
      try {
        await undo();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** A folder that goes with everything in it. */
  directory(prefix: string): string {
    const path = mkdtempSync(prefix);
    this.add(() => rmSync(path, { recursive: true, force: true }));
    return path;
  }

  /** A loop device on a file, outside of Azekura: the disk under a test. */
  loop(file: string, options: { readonly directIo?: boolean; readonly readOnly?: boolean } = {}): string {
    const flags = [
      `--direct-io=${options.directIo === false ? 'off' : 'on'}`,
      '--sector-size',
      '4096',
      ...(options.readOnly ? ['--read-only'] : []),
    ];
    const device = run('losetup', '--find', '--show', ...flags, file);
    const backing = backingOf(device);
    this.add(() => detachLoop(device, backing));
    return device;
  }

  /** Mounts a device on a folder, which is made. */
  mount(device: string, target: string, ...options: string[]): void {
    mkdirSync(target, { recursive: true });
    run('mount', ...(options.length > 0 ? ['-o', options.join(',')] : []), device, target);
    this.add(() => unmount(target));
  }
}

/** Runs work with a Cleanup of its own. When both fail, the work's error is the one that counts. */
export async function withCleanup<T>(work: (cleanup: Cleanup) => Promise<T>): Promise<T> {
  const cleanup = new Cleanup();
  let result: T;
  try {
    result = await work(cleanup);
  } catch (error) {
    await cleanup.run().catch(() => undefined);
    throw error;
  }
  await cleanup.run();
  return result;
}

/** What backs a loop device; undefined when nothing does. */
function backingOf(device: string): string | undefined {
  try {
    return readFileSync(`/sys/block/${basename(device)}/loop/backing_file`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** Detaches a loop device and waits until the kernel has let go. Somebody else may have it at once. */
async function detachLoop(device: string, backing: string | undefined): Promise<void> {
  await eventually(() => {
    if (backingOf(device) !== backing) return;
    run('losetup', '--detach', device);
    throw new Error(`${device} is still attached`);
    // A mount namespace that somebody has made meanwhile holds a copy of every mount until it goes.
  }, 30_000);
}

/** Unmounts, again while it is busy. Not an error when nothing is mounted there. */
export async function unmount(target: string): Promise<void> {
  await eventually(() => {
    if (readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${target} `)) run('umount', target);
  });
}

/**
 * Repeats until it does not throw.
 *
 * @throws what it threw last, after the deadline
 */
export async function eventually<T>(attempt: () => T | Promise<T>, deadlineMs = 10_000, pauseMs = 50): Promise<T> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > end) throw error;
      await sleep(pauseMs);
    }
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The middle value. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}
