import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import type { Clock } from '../lib/clock.ts';
import { makeCause } from '../model/cause.ts';
import { AzekuraError } from '../model/errors.ts';
import type { Containment } from './containment.ts';
import type { ExecOptions, ExecResult } from './host.ts';

/** Bytes kept of each of a command's outputs; a command that prints more has the rest dropped. */
const outputLimitBytes = 8 * 1024 * 1024;
const defaultDeadlineMs = 30_000;
/** Between SIGTERM and SIGKILL, and between SIGKILL and giving the process up. */
const graceMs = 2_000;

type Argv = readonly [string, ...string[]];

/**
 * A command that failed: HostFailure for its exit code, DeadlineExceeded, Unavailable with blame HungCall when it could
 * not even be killed, NotFound when there is no such program. details = { argv, exitCode, signal, stderr }; its input
 * is in none of them.
 */
export class ExecError extends AzekuraError {
  readonly argv: Argv;
  readonly exitCode: number | undefined;
  readonly stderr: string;

  constructor(
    code: ConstructorParameters<typeof AzekuraError>[0],
    message: string,
    facts: { readonly argv: Argv; readonly exitCode?: number; readonly signal?: string; readonly stderr?: string },
    options: Pick<ConstructorParameters<typeof AzekuraError>[2] & object, 'next' | 'blame' | 'cause'> = {},
  ) {
    super(code, message, { ...options, details: { ...facts, stderr: facts.stderr ?? '' } });
    this.argv = facts.argv;
    this.exitCode = facts.exitCode;
    this.stderr = facts.stderr ?? '';
  }
}

/**
 * Runs a command without a shell, in a process group of its own, with an environment of only PATH, HOME, LC_ALL=C and
 * what `env` adds. At the deadline, or when the signal aborts, the group gets SIGTERM, then SIGKILL. A process that
 * survives even this sits in a kernel call that hangs: it is abandoned and its domain refused until it is gone.
 *
 * @throws ExecError; the signal's reason when it aborts
 */
export async function execCommand(
  deps: { readonly clock: Clock; readonly containment: Containment },
  argv: Argv,
  options: ExecOptions = {},
): Promise<ExecResult> {
  const domain = options.domain ?? 'exec';
  options.signal?.throwIfAborted();
  const refusal = options.domain === undefined ? undefined : deps.containment.refusal(domain);
  if (refusal) throw refusal;

  const [command, ...args] = argv;
  const child = spawn(command, args, {
    detached: true,
    cwd: options.cwd ?? '/',
    env: { PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', LC_ALL: 'C', ...options.env },
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  // EPIPE: a command may end without having read all of its input.
  child.stdin?.on('error', () => {});
  child.stdin?.end(options.input);

  const startedMs = deps.clock.nowMs();
  const timers: (() => void)[] = [];
  let timedOut = false;
  return await new Promise<ExecResult>((resolve, reject) => {
    const settle = (how: () => void) => {
      for (const cancel of timers) cancel();
      options.signal?.removeEventListener('abort', onAbort);
      how();
    };
    const onAbort = () => stop();
    const stop = () => {
      killGroup(child.pid, 'SIGTERM');
      timers.push(
        deps.clock.after(graceMs, () => {
          killGroup(child.pid, 'SIGKILL');
          timers.push(deps.clock.after(graceMs, abandon));
        }),
      );
    };
    const abandon = () => {
      const sinceMs = startedMs;
      const release = deps.containment.add({ domain, call: command, sinceMs, pid: child.pid ?? 0 });
      child.once('exit', release);
      for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe?.destroy();
      child.unref();
      const seconds = Math.round((deps.clock.nowMs() - startedMs) / 1_000);
      const blame = makeCause('HungCall', { call: command, what: domain, seconds });
      settle(() => reject(new ExecError('Unavailable', blame.message, { argv, stderr: stderr() }, { blame })));
    };
    timers.push(
      deps.clock.after(options.deadlineMs ?? defaultDeadlineMs, () => {
        timedOut = true;
        stop();
      }),
    );
    options.signal?.addEventListener('abort', onAbort, { once: true });

    child.once('error', (error) => settle(() => reject(startFailure(argv, error))));
    let outcome: { code: number | null; signal: string | null } | undefined;
    child.once('exit', (code, signal) => {
      outcome = { code, signal };
      // A grandchild that keeps the pipes open must not keep us waiting: what is left of the group goes.
      killGroup(child.pid, 'SIGKILL');
      // When this process itself stood still, the timer is due before what the pipes hold was read: first a turn for them.
      const afterReading = () => setImmediate(() => setImmediate(() => finish(code, signal)));
      timers.push(deps.clock.after(graceMs, afterReading));
    });
    child.once('close', () => finish(outcome?.code ?? null, outcome?.signal ?? null));
    const finish = (code: number | null, signal: string | null) => {
      settle(() => {
        if (options.signal?.aborted) reject(options.signal.reason);
        else if (timedOut) {
          const seconds = Math.round((deps.clock.nowMs() - startedMs) / 1_000);
          const facts = { argv, stderr: stderr() };
          reject(new ExecError('DeadlineExceeded', `${command} was not done within ${seconds} s and was ended`, facts));
        } else if (code === 0 || (code !== null && options.okExitCodes?.includes(code))) {
          resolve({ exitCode: code, stdout: stdout(), stderr: stderr() });
        } else reject(exitFailure(argv, code, signal, stderr()));
      });
    };
  });
}

/** Collects a stream up to the limit; the returned function answers what has come so far. */
function collect(stream: Readable | null): () => string {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream?.on('data', (chunk: Buffer) => {
    if (bytes < outputLimitBytes) chunks.push(chunk.subarray(0, outputLimitBytes - bytes));
    bytes += chunk.length;
  });
  return () => Buffer.concat(chunks).toString('utf8');
}

/** ESRCH: it is gone already. */
function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (!pid) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function startFailure(argv: Argv, error: Error & { readonly code?: string }): ExecError {
  if (error.code !== 'ENOENT')
    return new ExecError('HostFailure', `${argv[0]} cannot be started: ${error.message}`, { argv }, { cause: error });
  const tool = argv[0].slice(argv[0].lastIndexOf('/') + 1);
  const blame = makeCause('ToolMissing', { tool, package: packageOf(tool) });
  return new ExecError('FailedPrecondition', blame.message, { argv }, { blame, cause: error });
}

/** The Debian package of a tool. */
function packageOf(tool: string): string {
  if (/^(mkfs\.xfs|xfs_\w+)$/.test(tool)) return 'xfsprogs';
  if (/^(mkfs\.ext[234]|mke2fs|e2fsck|fsck\.ext[234]|resize2fs|tune2fs|dumpe2fs)$/.test(tool)) return 'e2fsprogs';
  if (/^(lsblk|blkid|wipefs|losetup|mount|umount|fsfreeze|fstrim|findmnt)$/.test(tool)) return 'util-linux';
  return tool;
}

function exitFailure(argv: Argv, code: number | null, signal: string | null, stderr: string): ExecError {
  const how = code === null ? `was ended by ${signal ?? 'a signal'}` : `failed with exit code ${code}`;
  const said = lastLines(stderr);
  return new ExecError('HostFailure', `${argv[0]} ${how}${said ? `: ${said}` : ''}`, {
    argv,
    ...(code === null ? {} : { exitCode: code }),
    ...(signal === null ? {} : { signal }),
    stderr: stderr.slice(-4_000),
  });
}

/** The last lines of what a command said, as one sentence of bounded length. */
export function lastLines(text: string, count = 3): string {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const joined = lines.slice(-count).join('; ');
  return joined.length > 500 ? `…${joined.slice(-500)}` : joined;
}
