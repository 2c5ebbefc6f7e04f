/** A real daemon that is driven only by the command line, as a user does. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBuilt, launcher } from '../lab/daemon.ts';

export interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a command to its end. */
export function execute(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    child.on('close', (code) => resolve({ code, out, err }));
  });
}

export class CliBench {
  /** In memory where there is room: nothing here is about the disk below. */
  readonly folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'azekura-cli-'));
  readonly dataDir = join(this.folder, 'data');
  #daemon: ChildProcess | undefined;
  #log = '';

  constructor() {
    ensureBuilt();
    mkdirSync(join(this.folder, 'mnt'));
  }

  /** What the daemon has printed since its start. */
  get log(): string {
    return this.#log;
  }

  path(...names: string[]): string {
    return join(this.folder, ...names);
  }

  /** `azekura …` on this instance. */
  run(...args: string[]): Promise<Outcome> {
    return execute(process.execPath, [launcher, ...args], {
      ...process.env,
      AZEKURA_DATA_DIR: this.dataDir,
      NO_COLOR: '1',
    });
  }

  /** The same, which must succeed. @returns standard output */
  async ok(...args: string[]): Promise<string> {
    const { code, out, err } = await this.run(...args);
    if (code !== 0)
      throw new Error(`azekura ${args.join(' ')}: exit ${code}\n${out}${err}\n${this.#log.slice(-2_000)}`);
    return out;
  }

  /** The same with -o json. */
  // biome-ignore lint/suspicious/noExplicitAny: the shape of each answer is what the tests are about
  async json(...args: string[]): Promise<any> {
    return JSON.parse(await this.ok(...args, '-o', 'json'));
  }

  /** `azekura up` until it says that it is up. @returns what it printed */
  async up(...args: string[]): Promise<string> {
    this.#log = '';
    const child = spawn(process.execPath, [launcher, 'up', '--data-dir', this.dataDir, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#daemon = child;
    await new Promise<void>((resolve, reject) => {
      const read = (chunk: Buffer) => {
        this.#log += chunk;
        if (this.#log.includes('azekura status"')) resolve();
      };
      child.stdout.on('data', read);
      child.stderr.on('data', read);
      child.on('close', (code) => reject(new Error(`azekura up ended with ${code}: ${this.#log}`)));
    });
    return this.#log;
  }

  /** Sends a signal and waits for the end. @returns the exit code */
  async down(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const child = this.#daemon;
    this.#daemon = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    return new Promise((resolve) => {
      child.once('close', (code) => resolve(code));
      child.kill(signal);
    });
  }

  /** Gives everything back, by the means that a user has. */
  async close(): Promise<void> {
    await this.down();
    for (const name of existsSync(this.path('mnt'))
      ? (await execute('findmnt', ['-rno', 'TARGET'])).out.split('\n')
      : []) {
      if (name.startsWith(`${this.path('mnt')}/`)) await execute('umount', [name]);
    }
    if (existsSync(this.dataDir)) await this.run('uninstall', '--delete-data', '--yes');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Why system tests cannot run here; undefined when they can. */
export const whyNot =
  process.getuid?.() !== 0 ? 'needs root' : existsSync('/dev/loop-control') ? undefined : 'needs loop devices';
