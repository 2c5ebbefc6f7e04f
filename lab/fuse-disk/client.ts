/** A fuse disk as a test uses it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { unmountLazily } from './kernel.ts';

export interface FuseDiskOptions {
  /** A folder of the disk's own; the mount point `fuse` and the base file are made in it. */
  readonly directory: string;
  readonly sizeBytes: number;
  /** Where to log writes and flushes; no log when absent. */
  readonly logPath?: string;
}

export interface FuseDiskStatus {
  readonly reads: number;
  readonly writes: number;
  readonly flushes: number;
  readonly writtenBytes: number;
  readonly fault: string;
  /** Requests that wait while the disk hangs. */
  readonly held: number;
}

export class FuseDisk {
  /** The file that stands for the disk. */
  readonly path: string;
  readonly #mountPoint: string;
  readonly #child: ChildProcess;
  readonly #answers: ((line: string) => void)[] = [];
  readonly #exited: Promise<void>;
  #stderr = '';

  private constructor(options: FuseDiskOptions) {
    this.#mountPoint = `${options.directory}/fuse`;
    this.path = `${this.#mountPoint}/disk`;
    mkdirSync(this.#mountPoint, { recursive: true });
    const server = fileURLToPath(new URL('./server.ts', import.meta.url));
    const args = ['--import', 'tsx', server, this.#mountPoint, `${options.directory}/base`, String(options.sizeBytes)];
    this.#child = spawn(process.execPath, [...args, ...(options.logPath ? [options.logPath] : [])], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#exited = new Promise((resolve) => this.#child.once('exit', () => resolve()));
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString();
    });
    if (this.#child.stdout) createInterface(this.#child.stdout).on('line', (line) => this.#answers.shift()?.(line));
  }

  /** Starts the process and waits until the file is there. */
  static async start(options: FuseDiskOptions): Promise<FuseDisk> {
    const disk = new FuseDisk(options);
    await disk.#answer();
    return disk;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** From now on nothing is answered; requests are taken and held. */
  async hang(): Promise<void> {
    await this.#command('hang');
  }

  /** From now on every read, write and flush fails with EIO. */
  async fail(): Promise<void> {
    await this.#command('fail');
  }

  /** From now on every write fails with ENOSPC. */
  async fill(): Promise<void> {
    await this.#command('fill');
  }

  /** Ends hang, fail and fill; held requests are carried out. */
  async resume(): Promise<void> {
    await this.#command('resume');
  }

  async slow(delayMs: number): Promise<void> {
    await this.#command(`slow ${delayMs}`);
  }

  async ignoreFlush(on: boolean): Promise<void> {
    await this.#command(`ignore-flush ${on ? 'on' : 'off'}`);
  }

  async status(): Promise<FuseDiskStatus> {
    return (await this.#command('status')) as FuseDiskStatus;
  }

  /** Ends the disk: what still uses it gets errors. Safe to repeat. */
  async stop(): Promise<void> {
    unmountLazily(this.#mountPoint);
    this.#child.stdin?.end();
    await this.#exited;
    // A server that was killed has left its mount behind.
    unmountLazily(this.#mountPoint);
  }

  async #command(line: string): Promise<unknown> {
    this.#child.stdin?.write(`${line}\n`);
    return this.#answer();
  }

  async #answer(): Promise<unknown> {
    const line = await Promise.race([
      new Promise<string>((resolve) => this.#answers.push(resolve)),
      this.#exited.then(() => {
        throw new Error(`the fuse disk has ended: ${this.#stderr.trim()}`);
      }),
    ]);
    return JSON.parse(line);
  }
}
