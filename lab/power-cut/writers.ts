import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Ack, readAcks } from './records.ts';

/** A writer process on one mounted volume. */
export class RecordWriter {
  readonly acksPath: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | null>;
  #stderr = '';

  constructor(options: {
    readonly directory: string;
    readonly logPath: string;
    readonly acksPath: string;
    readonly seed: number;
  }) {
    this.acksPath = options.acksPath;
    writeFileSync(options.acksPath, '');
    const program = fileURLToPath(new URL('./writer.ts', import.meta.url));
    const args = [
      '--import',
      'tsx',
      program,
      options.directory,
      options.logPath,
      options.acksPath,
      String(options.seed),
    ];
    this.#child = spawn(process.execPath, args, { stdio: ['pipe', 'ignore', 'pipe'] });
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString();
    });
    this.#exited = new Promise((resolve) => this.#child.once('exit', resolve));
  }

  /** What is acknowledged so far. */
  acks(): readonly Ack[] {
    return readAcks(this.acksPath);
  }

  /** Ends the writer at once, whatever it does. Safe to repeat. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  /** @throws when the writer met an error: on a healthy disk it must not */
  async stop(): Promise<readonly Ack[]> {
    this.#child.stdin?.end();
    const status = await this.#exited;
    if (status !== 0) throw new Error(`the writer ended with ${status}: ${this.#stderr.trim()}`);
    return this.acks();
  }
}
