/** Starting programs: the lab's only way to the outside. */
import { type SpawnOptions, spawn } from 'node:child_process';

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** For its standard input; none by default. */
  readonly input?: string | Buffer;
  readonly timeoutMs?: number;
  /** Gets what the program prints as it comes; it is then not in the answer. */
  readonly onOutput?: (text: string) => void;
}

export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program that did not answer 0. */
export class CommandFailed extends Error {
  readonly result: RunResult;

  constructor(argv: readonly string[], result: RunResult) {
    const words = (result.stderr.trim() || result.stdout.trim()).split('\n').slice(-12).join('\n');
    super(`${argv.join(' ').slice(0, 200)}: ${words || `exit code ${result.code}`}`);
    this.result = result;
  }
}

/** Runs a program to its end and returns how it ended. @throws Error when it cannot be started or does not end in time */
export function tryRun(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const [program, ...args] = argv;
  if (program === undefined) throw new Error('no program');
  const { input, timeoutMs = 120_000, onOutput } = options;
  const settings: SpawnOptions = { stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] };
  if (options.cwd !== undefined) settings.cwd = options.cwd;
  if (options.env !== undefined) settings.env = options.env;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, settings);
    const out: Buffer[] = [];
    const errors: Buffer[] = [];
    const collect = (to: Buffer[]) => (chunk: Buffer) => {
      if (onOutput) onOutput(chunk.toString());
      to.push(chunk);
    };
    child.stdout?.on('data', onOutput ? (chunk: Buffer) => onOutput(chunk.toString()) : collect(out));
    child.stderr?.on('data', collect(errors));
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${argv.join(' ').slice(0, 200)}: not done after ${timeoutMs} ms`));
    }, timeoutMs);
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const stdout = Buffer.concat(out).toString();
      const stderr = Buffer.concat(errors).toString();
      resolve({ code: code ?? 128, stdout, stderr: signal ? `${stderr}\nended by ${signal}` : stderr });
    });
    if (input !== undefined) {
      child.stdin?.on('error', () => {}); // it may end without reading
      child.stdin?.end(input);
    }
  });
}

/** Runs a program to its end. @returns its output @throws CommandFailed when it does not answer 0 */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await tryRun(argv, options);
  if (result.code !== 0) throw new CommandFailed(argv, result);
  return result.stdout;
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Asks again and again until the answer is true.
 *
 * @throws Error with `what` when it does not become true in time; an error of the last question is part of it
 */
export async function until(
  what: string,
  timeoutMs: number,
  question: () => boolean | Promise<boolean>,
  everyMs = 50,
): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    let problem: unknown;
    try {
      if (await question()) return;
    } catch (error) {
      problem = error;
    }
    if (performance.now() > endMs) {
      const because = problem instanceof Error ? `: ${problem.message}` : '';
      throw new Error(`${what}: not within ${timeoutMs / 1000} s${because}`);
    }
    await sleep(everyMs);
  }
}
