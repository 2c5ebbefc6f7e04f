/** Commands on a machine, by ssh over the management network through one connection that stays. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import type { Build } from './build/build.ts';
import { type ProcessIdentity, runProgram, waitUntil } from './command.ts';
import { LabError } from './error.ts';
import { hostProgram, inNamespaces } from './keeper.ts';

export interface ExecOptions {
  /** After this long the command and what it started are killed on the machine; 60 000 unless told. */
  readonly deadlineMs?: number;
  readonly input?: string | Buffer;
  /** Folder to run in. */
  readonly cwd?: string;
  /** Additional environment. Not for secrets: it is in the command line. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export type RemoteProcess = ChildProcessByStdio<Writable, Readable, Readable>;

export interface ChannelOptions {
  readonly machine: string;
  readonly address: string;
  readonly controlPath: string;
  readonly keeper: ProcessIdentity;
  readonly build: Build;
}

/** ssh's own exit code when the connection is lost. */
const connectionLost = 255;

export class Channel {
  readonly #options: ChannelOptions;
  readonly #ssh: string;
  readonly #env: Record<string, string>;

  constructor(options: ChannelOptions) {
    this.#options = options;
    const program = hostProgram(options.build, 'ssh');
    this.#ssh = program.path;
    this.#env = program.env;
  }

  /** Connects when there is no connection. It lives in the lab's namespaces and ends with them. */
  async connect(deadlineMs: number): Promise<void> {
    if (await this.connected()) return;
    rmSync(this.#options.controlPath, { force: true });
    const [program = '', ...args] = [
      ...inNamespaces(this.#options.keeper),
      ...[this.#ssh, ...this.#settings(), '-o', 'ControlMaster=yes', '-o', 'ConnectTimeout=2', '-N', this.#target()],
    ];
    const end = performance.now() + deadlineMs;
    while (performance.now() < end) {
      const child = spawn(program, args, { detached: true, stdio: 'ignore', cwd: '/', env: this.#environment() });
      let ended = false;
      child.once('exit', () => (ended = true));
      child.once('error', () => (ended = true));
      child.unref();
      await waitUntil(
        async () => ended || (await this.connected()),
        10_000,
        () => 'no connection',
      ).catch(() => undefined);
      if (await this.connected()) return;
      child.kill('SIGKILL');
    }
    throw new LabError(`${this.#options.machine} does not answer`, this.#hint());
  }

  async connected(): Promise<boolean> {
    const argv = [this.#ssh, ...this.#settings(), '-O', 'check', this.#target()];
    const result = await runProgram(argv, { deadlineMs: 5_000, env: this.#env });
    return result.exitCode === 0;
  }

  /** Ends the connection; commands under way end with it. */
  async close(): Promise<void> {
    const argv = [this.#ssh, ...this.#settings(), '-O', 'exit', this.#target()];
    await runProgram(argv, { deadlineMs: 5_000, env: this.#env });
    rmSync(this.#options.controlPath, { force: true });
  }

  /**
   * Runs a command to its end, whatever its exit code.
   *
   * @throws LabError when the machine does not answer or the deadline comes first
   */
  async run(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    const deadlineMs = options.deadlineMs ?? 60_000;
    const line = commandLine(argv, options, deadlineMs);
    if (!existsSync(this.#options.controlPath)) await this.connect(10_000);
    const started = performance.now();
    const result = await runProgram([this.#ssh, ...this.#clientSettings(), this.#target(), line], {
      deadlineMs: deadlineMs + 5_000,
      env: this.#env,
      ...(options.input === undefined ? {} : { input: options.input }),
    });
    // The machine's `timeout` ends itself by the same signal, which ssh reports as a lost connection.
    const killed = [137, connectionLost].includes(result.exitCode) && performance.now() - started >= deadlineMs;
    if (result.timedOut || killed)
      throw new LabError(`${this.#options.machine}: no end after ${deadlineMs} ms: ${argv.join(' ').slice(0, 200)}`);
    if (result.exitCode === connectionLost && !(await this.connected()))
      throw new LabError(`${this.#options.machine} does not answer`, this.#hint());
    return result;
  }

  /** Starts a command whose streams the caller reads and writes. It ends with the machine, with 255. */
  start(argv: readonly string[], options: Omit<ExecOptions, 'input' | 'deadlineMs'> = {}): RemoteProcess {
    const line = commandLine(argv, options, undefined);
    return spawn(this.#ssh, [...this.#clientSettings(), this.#target(), line], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: this.#environment(),
    });
  }

  /** The host's command line that runs a command; it fails when there is no connection. */
  entering(argv: readonly string[], env: Readonly<Record<string, string>>): readonly string[] {
    const variables = Object.entries(this.#env).map(([name, value]) => `${name}=${value}`);
    const line = commandLine(argv, { env }, undefined);
    return ['env', ...variables, this.#ssh, ...this.#clientSettings(), this.#target(), line];
  }

  /** Hands this program's terminal or streams to a command, or to a shell without one; resolves with the exit code. */
  attach(argv: readonly string[]): Promise<number> {
    const terminal = argv.length === 0 || (process.stdin.isTTY && process.stdout.isTTY);
    const line = argv.length === 0 ? [] : [commandLine(argv, {}, undefined)];
    const child = spawn(this.#ssh, [...this.#clientSettings(), ...(terminal ? ['-t'] : []), this.#target(), ...line], {
      stdio: 'inherit',
      env: this.#environment(),
    });
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve(code ?? connectionLost));
    });
  }

  #settings(): readonly string[] {
    const key = `${this.#options.build.keys}/id`;
    const words = [
      'StrictHostKeyChecking=no',
      'UserKnownHostsFile=/dev/null',
      'IdentitiesOnly=yes',
      'BatchMode=yes',
      // A machine that hangs for 30 s has lost its connections.
      'ServerAliveInterval=5',
      'ServerAliveCountMax=6',
      `ControlPath=${this.#options.controlPath}`,
    ];
    return ['-q', '-F', 'none', '-i', key, ...words.flatMap((word) => ['-o', word])];
  }

  /** Clients use the connection that is there, or fail: the machine's address means nothing outside of the lab. */
  #clientSettings(): readonly string[] {
    return [...this.#settings(), '-o', 'ControlMaster=no', '-o', 'ProxyCommand=/bin/false'];
  }

  #target(): string {
    return `root@${this.#options.address}`;
  }

  #environment(): Record<string, string | undefined> {
    return { ...process.env, ...this.#env };
  }

  #hint(): string {
    return `read its console: npm run lab -- console ${this.#options.machine.slice(1)}`;
  }
}

/** What the machine's shell gets: every word quoted, the deadline kept on the machine itself. */
function commandLine(
  argv: readonly string[],
  options: Pick<ExecOptions, 'cwd' | 'env'>,
  deadlineMs: number | undefined,
): string {
  const env = Object.entries(options.env ?? {}).map(([name, value]) => `${name}=${value}`);
  const words = [
    'exec',
    ...(env.length > 0 || options.cwd ? ['env', ...(options.cwd ? ['-C', options.cwd] : []), ...env] : []),
    ...(deadlineMs === undefined ? [] : ['timeout', '-s', 'KILL', String(deadlineMs / 1_000)]),
    ...argv,
  ];
  return words.map((word, index) => (index === 0 ? word : quote(word))).join(' ');
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
