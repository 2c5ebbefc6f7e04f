/** Programs of the host: argument lists with deadlines. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { LabError } from './error.ts';

export interface CommandOptions {
  readonly deadlineMs?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string | Buffer;
}

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The deadline came first, and the program was killed. */
  readonly timedOut: boolean;
}

/** Runs a program to its end, whatever its exit code. @throws LabError when it cannot be started */
export function runProgram(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [program = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: { ...process.env, LC_ALL: 'C', ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, options.deadlineMs ?? 60_000);
    child.stdout.on('data', (data: Buffer) => stdout.push(data));
    child.stderr.on('data', (data: Buffer) => stderr.push(data));
    // The program may end without reading its input.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(new LabError(`${program} cannot be started: ${error.message}`, `install ${program}`, { cause: error }));
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      const text = (parts: Buffer[]) => Buffer.concat(parts).toString('utf8');
      resolve({ exitCode: code ?? 137, stdout: text(stdout), stderr: text(stderr), timedOut });
    });
  });
}

/** Runs a program that must succeed; resolves with what it printed. @throws LabError with the program's own words */
export async function command(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await runProgram(argv, options);
  if (result.exitCode === 0) return result.stdout;
  const words = result.timedOut
    ? `no end after ${options.deadlineMs ?? 60_000} ms`
    : result.stderr.trim() || result.stdout.trim() || `exit code ${result.exitCode}`;
  throw new LabError(`${argv.join(' ').slice(0, 300)}: ${words.split('\n').slice(-4).join('; ')}`);
}

/** A process that cannot be mistaken for a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks since the host booted. */
  readonly startTicks: string;
}

/** Undefined when there is no such process, or only what is left of it until its parent looks (a zombie). */
export function processIdentity(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state] = fields;
    const startTicks = fields[19];
    return state === 'Z' || state === 'X' || !startTicks ? undefined : { pid, startTicks };
  } catch {
    return undefined;
  }
}

export function isAlive(identity: ProcessIdentity | undefined): boolean {
  return identity !== undefined && processIdentity(identity.pid)?.startTicks === identity.startTicks;
}

/** Waits until a condition holds. @throws LabError with this sentence after the deadline */
export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  deadlineMs: number,
  sentence: () => string,
  pauseMs = 20,
): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new LabError(sentence());
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}
