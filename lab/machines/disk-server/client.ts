/** Commands to the process that holds a lab's controlled disks. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Fault } from '../../fuse-disk/disk.ts';
import { type ProcessIdentity, waitUntil } from '../command.ts';
import { LabError } from '../error.ts';
import { inNamespaces } from '../keeper.ts';

export type DiskCommand =
  | {
      readonly do: 'create';
      readonly name: string;
      readonly base: string;
      readonly sizeBytes: number;
      readonly log?: string;
    }
  | { readonly do: 'power-cut'; readonly prefix: string }
  | { readonly do: 'fault'; readonly name: string; readonly fault: Fault }
  | { readonly do: 'slow'; readonly name: string; readonly delayMs: number }
  | { readonly do: 'ignore-flush'; readonly name: string; readonly on: boolean }
  | { readonly do: 'disconnect' | 'remove' | 'status'; readonly name: string };

export interface DiskStatus {
  readonly reads: number;
  readonly writes: number;
  readonly flushes: number;
  readonly writtenBytes: number;
  readonly fault: Fault;
  readonly delayMs: number;
  /** Requests that wait while the disk hangs. */
  readonly held: number;
  readonly connected: boolean;
}

export class DiskServer {
  readonly #labFolder: string;
  readonly #keeper: ProcessIdentity;

  constructor(labFolder: string, keeper: ProcessIdentity) {
    this.#labFolder = labFolder;
    this.#keeper = keeper;
  }

  /** Starts the process when it does not run. It ends with the lab. */
  async start(): Promise<void> {
    if (this.running) return;
    const log = openSync(path.join(this.#labFolder, 'disks.log'), 'a');
    const server = path.join(import.meta.dirname, 'server.ts');
    const [program = '', ...args] = [
      ...inNamespaces(this.#keeper),
      ...[process.execPath, '--max-semi-space-size=4', '--import', import.meta.resolve('tsx'), server, this.#socket],
    ];
    const child = spawn(program, args, { detached: true, stdio: ['ignore', log, log], cwd: '/' });
    closeSync(log);
    child.once('error', () => undefined);
    child.unref();
    await waitUntil(
      () => this.running,
      60_000,
      () => `the process for controlled disks does not start: read ${this.#labFolder}/disks.log`,
    );
  }

  get running(): boolean {
    return existsSync(this.#socket);
  }

  async status(name: string): Promise<DiskStatus> {
    return (await this.send({ do: 'status', name })) as DiskStatus;
  }

  /** @throws LabError with what the process says, or when it does not run */
  send(command: DiskCommand): Promise<object> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.#socket);
      socket.setTimeout(10_000, () => socket.destroy(new Error('no answer in 10 s')));
      socket.once('error', (error) =>
        reject(new LabError(`the process for controlled disks does not answer: ${error.message}`)),
      );
      createInterface(socket).once('line', (line) => {
        socket.end();
        const answer = JSON.parse(line) as { error?: string };
        if (answer.error) reject(new LabError(answer.error));
        else resolve(answer);
      });
      socket.write(`${JSON.stringify(command)}\n`);
    });
  }

  get #socket(): string {
    return path.join(this.#labFolder, 'disks.sock');
  }
}
