/** A real `azekura up` with a data folder of its own, as the tests and benchmarks use it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
} from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Client, createClient, objectPath } from '../src/cli/client.ts';
import { hasCode } from '../src/model/errors.ts';
import type { Kind, Resource } from '../src/model/kinds.ts';
import { eventually, run, sleep } from './workbench.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
export const launcher = `${root}bin/azekura.mjs`;

/** Builds dist/ when it is older than the sources: `npm test` has built it, a single test file may come first. */
export function ensureBuilt(): void {
  const builtAt = statSync(`${root}dist/build-info.json`, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const sources = readdirSync(`${root}src`, { recursive: true, encoding: 'utf8' });
  if (sources.every((name) => statSync(`${root}src/${name}`).mtimeMs <= builtAt)) return;
  execFileSync(process.execPath, [`${root}scripts/build.mjs`], { stdio: 'ignore' });
}

export interface DaemonOptions {
  readonly dataDir: string;
  /** Additional environment, such as crash points. */
  readonly env?: Readonly<Record<string, string>>;
  /** Additional arguments of `azekura up`. */
  readonly arguments?: readonly string[];
}

export class Daemon {
  readonly dataDir: string;
  readonly client: Client;
  /** Of all lives. */
  readonly logPath: string;
  #child: ChildProcess | undefined;
  #exited: Promise<number | null> = Promise.resolve(null);
  #env: Readonly<Record<string, string>>;
  readonly #arguments: readonly string[];

  private constructor(options: DaemonOptions, client: Client) {
    this.dataDir = options.dataDir;
    this.logPath = `${options.dataDir}.log`;
    this.client = client;
    this.#env = options.env ?? {};
    this.#arguments = options.arguments ?? [];
  }

  /** Starts the daemon without a pool and waits until it is ready. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    ensureBuilt();
    const client = await createClient({
      dataDir: options.dataDir,
      color: false,
      timeoutMs: 60_000,
      wait: true,
      dryRun: false,
    });
    const daemon = new Daemon(options, client);
    daemon.launch();
    await daemon.ready();
    return daemon;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Whether this life has ended. */
  get ended(): boolean {
    return !this.#child || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Begins a life; does not wait. */
  launch(env: Readonly<Record<string, string>> = this.#env): void {
    this.#env = env;
    appendFileSync(this.logPath, '');
    const log = openSync(this.logPath, 'a');
    const up = ['up', '--data-dir', this.dataDir, '--no-pool', '--json', ...this.#arguments];
    const child = spawn(process.execPath, ['--max-semi-space-size=1', launcher, ...up], {
      stdio: ['ignore', log, log],
      // As deploy/azekura.service has it.
      env: { ...process.env, MALLOC_ARENA_MAX: '1', ...env },
    });
    closeSync(log);
    this.#child = child;
    this.#exited = new Promise((resolve) => child.once('exit', resolve));
  }

  /** @throws with the end of the log when the daemon has ended or does not become ready */
  async ready(deadlineMs = 90_000): Promise<void> {
    await eventually(
      async () => {
        if (this.ended) return;
        await this.client.call('GET', '/readyz');
      },
      deadlineMs,
      20,
    );
    if (this.ended) throw new Error(`the daemon has ended: ${this.tail()}`);
  }

  /** kill -9, and waits for the end. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#exited;
  }

  /** Waits for the end of this life. */
  async exit(): Promise<void> {
    await this.#exited;
  }

  /** SIGTERM, and waits for the end. */
  async stop(): Promise<void> {
    if (this.ended) return;
    this.#child?.kill('SIGTERM');
    await this.#exited;
  }

  /** The last lines of the log. */
  tail(lines = 20): string {
    return existsSync(this.logPath)
      ? readFileSync(this.logPath, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')
      : '';
  }

  /** The last warnings and errors of the log. */
  complaints(): string {
    const lines = existsSync(this.logPath) ? readFileSync(this.logPath, 'utf8').split('\n') : [];
    return lines
      .filter((line) => /"level":"(warn|error|fatal)"|^\S*Error/.test(line))
      .slice(-3)
      .join('\n')
      .slice(0, 2_000);
  }

  post(kind: Kind, name: string | undefined, action: string | undefined, body: unknown): Promise<unknown> {
    return this.client.call('POST', objectPath(kind, name, action), { body });
  }

  create(kind: Kind, name: string, spec: object): Promise<unknown> {
    return this.post(kind, undefined, undefined, { metadata: { name }, spec });
  }

  delete(kind: Kind, name: string, query: Readonly<Record<string, string | boolean>> = {}): Promise<unknown> {
    return this.client.call('DELETE', objectPath(kind, name), { query });
  }

  expand(name: string, sizeBytes: number): Promise<unknown> {
    return this.client.call('PATCH', objectPath('Volume', name), { body: { spec: { sizeBytes } } });
  }

  async find<K extends Kind>(kind: K, name: string): Promise<Resource<K> | undefined> {
    return this.client.get(kind, name).catch((error: unknown) => {
      if (hasCode(error, 'NotFound')) return undefined;
      throw error;
    });
  }

  /**
   * Waits until an object is as it shall be; also while the daemon is down, because somebody will start it again.
   *
   * @throws after the deadline, with the object as it was last
   */
  async until<K extends Kind>(
    kind: K,
    name: string,
    done: (object: Resource<K> | undefined) => boolean,
    deadlineMs = 30_000,
    pauseMs = 20,
  ): Promise<Resource<K> | undefined> {
    const end = performance.now() + deadlineMs;
    let last: unknown;
    for (;;) {
      try {
        const object = await this.find(kind, name);
        last = object?.status;
        if (done(object)) return object;
      } catch (error) {
        last = error instanceof Error ? error.message : error;
      }
      if (performance.now() > end)
        throw new Error(`${kind} ${name} did not become as it shall be: ${JSON.stringify(last)}\n${this.complaints()}`);
      await sleep(pauseMs);
    }
  }

  /** Waits until no task is running. */
  async settled(deadlineMs = 30_000): Promise<void> {
    await eventually(
      async () => {
        const running = (await this.client.list('Task')).filter((task) => task.status.phase === 'Running');
        if (running.length > 0)
          throw new Error(
            `tasks still run: ${running.map((task) => `${task.spec.verb} ${task.spec.subject.name}`).join(', ')}`,
          );
      },
      deadlineMs,
      50,
    );
  }
}

/** What an instance holds of the machine, to be compared before and after. */
export interface Holdings {
  readonly mounts: readonly string[];
  readonly loops: readonly string[];
}

/** Mounts and loop devices below a folder, from the kernel. */
export function holdings(directory: string): Holdings {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((target) => target.startsWith(`${directory}/`));
  const loops: string[] = [];
  for (const name of readdirSync('/sys/block')) {
    if (!name.startsWith('loop')) continue;
    const path = `/sys/block/${name}/loop/backing_file`;
    const backing = existsSync(path) ? readFileSync(path, 'utf8').trim() : '';
    if (backing.startsWith(`${directory}/`)) loops.push(backing);
  }
  return { mounts: mounts.sort(), loops: loops.sort() };
}

/**
 * After a failed test: takes away mounts and loop devices that a daemon which is no more has left below a folder, the
 * topmost first, so that the disks under them can go. Disks of the test itself (`…-disk`, `disk`) stay to their owner.
 */
export async function releaseLeftovers(directory: string): Promise<void> {
  await eventually(() => {
    const { mounts, loops } = holdings(directory);
    const pools = new Set([
      `${directory}/pool`,
      `${directory}/pool2`,
      `${directory}/healthy`,
      `${directory}/sick`,
      `${directory}/fuse`,
    ]);
    for (const target of mounts.toReversed()) if (!pools.has(target)) run('umount', target);
    const left = loops.filter((file) => !file.endsWith('disk'));
    for (const line of run('losetup', '--list', '--noheadings', '--output', 'NAME,BACK-FILE').split('\n')) {
      const [device, file] = line.trim().split(/\s+/);
      if (device && file && left.includes(file)) run('losetup', '--detach', device);
    }
    if (left.length > 0) throw new Error(`loop devices are left: ${left.join(', ')}`);
  });
}

/** A process and all its descendants, without those that ended meanwhile. */
export function processTree(pid: number): readonly number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = statusField(Number(name), 'PPid');
    if (parent !== undefined) parents.set(Number(name), parent);
  }
  const tree = [pid];
  for (let index = 0; index < tree.length; index++)
    for (const [child, parent] of parents) if (parent === tree[index]) tree.push(child);
  return tree;
}

/** A number of /proc/<pid>/status (VmRSS in KiB, Threads, PPid …); undefined when the process has ended. */
export function statusField(pid: number, field: string): number | undefined {
  try {
    const match = new RegExp(`^${field}:\\s*(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return match ? Number(match[1]) : undefined;
  } catch {
    return undefined;
  }
}

/** User and system time of a process and of its children that have ended, in clock ticks (1/100 s), from /proc/<pid>/stat. */
export function cpuTicks(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field]), 0);
  } catch {
    return 0;
  }
}

/** What a process's file descriptors lead to. */
export function openFiles(pid: number): readonly string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return [];
    }
  });
}
