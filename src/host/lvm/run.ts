import { backoffMs } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import type { KeyedLock } from '../../lib/keyed-lock.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed, type ErrorCode } from '../../model/errors.ts';
import { ExecError, lastLines } from '../exec.ts';
import type { ExecResult, Host } from '../host.ts';
import type { LvmArgv } from './argv.ts';
import { type LvmScope, lockFolder, lvmConfig } from './config.ts';
import { classifyLvmFailure, type LvmFailure } from './errors.ts';

export interface LvmDeps {
  readonly host: Pick<Host, 'exec' | 'lockHolder'>;
  readonly clock: Clock;
  /** One command at a time for each group. */
  readonly locks: KeyedLock;
}

export interface LvmCall extends LvmScope {
  readonly group: string;
  /** Domain of containment: what hangs with this group. */
  readonly domain: string;
  /** After which the command is ended; two minutes unless told. Ending one that changes something is the last resort. */
  readonly deadlineMs?: number;
}

/** Commands of people and of the host's services hold the group for moments; longer is named as the cause. */
const lockWaitMs = 20_000;
const deadlineMs = 120_000;

/** Nothing is passed on to LVM but this: no udev to wait for. */
export const lvmEnv = { DM_DISABLE_UDEV: '1', LVM_SUPPRESS_FD_WARNINGS: '1' } as const;

const codes: Readonly<Record<LvmFailure, ErrorCode>> = {
  locked: 'Unavailable',
  'in-use': 'FailedPrecondition',
  'not-found': 'NotFound',
  exists: 'AlreadyExists',
  'no-space': 'ResourceExhausted',
  'too-few-disks': 'FailedPrecondition',
  'missing-disk': 'FailedPrecondition',
  'read-only': 'FailedPrecondition',
  'metadata-full': 'ResourceExhausted',
  'pool-damaged': 'FailedPrecondition',
  foreign: 'FailedPrecondition',
  'disk-refused': 'FailedPrecondition',
  kernel: 'HostFailure',
  other: 'HostFailure',
};

/**
 * Runs an LVM command, alone in its group, with its own configuration. While somebody else holds the group's lock it is
 * tried again, for a while.
 *
 * @throws AzekuraError with details.failure (LvmFailure); Unavailable with blame GroupLocked when the lock was not to be
 *   had; DeadlineExceeded; Unavailable with blame HungCall
 */
export async function runLvm(deps: LvmDeps, argv: LvmArgv, call: LvmCall): Promise<ExecResult> {
  return deps.locks.run(`lvm/${call.group}`, () => patiently(deps, argv, call));
}

async function patiently(deps: LvmDeps, argv: LvmArgv, call: LvmCall): Promise<ExecResult> {
  const untilMs = deps.clock.nowMs() + lockWaitMs;
  const [verb, ...args] = argv;
  for (let attempt = 0; ; attempt++) {
    try {
      return await deps.host.exec(['lvm', verb, '--config', lvmConfig(call), ...args], {
        deadlineMs: call.deadlineMs ?? deadlineMs,
        domain: call.domain,
        env: lvmEnv,
      });
    } catch (error) {
      const failure = failureOf(error);
      if (failure === undefined) throw error;
      if (failure !== 'locked') throw explain(error as ExecError, failure, verb, call.group);
      if (deps.clock.nowMs() >= untilMs) throw await lockedError(deps, call.group, error);
      await wait(deps.clock, backoffMs(attempt, { baseMs: 100, capMs: 1_000 }));
    }
  }
}

/** What the command itself said was wrong; undefined when it did not come to say anything. */
function failureOf(error: unknown): LvmFailure | undefined {
  return error instanceof ExecError && error.exitCode !== undefined ? classifyLvmFailure(error.stderr) : undefined;
}

function explain(error: ExecError, failure: LvmFailure, verb: string, group: string): AzekuraError {
  const said = lastLines(error.stderr.replace(/^\s*WARNING:.*$/gm, ''), 3) || error.message;
  return new AzekuraError(codes[failure], `${verb} in volume group ${group} failed: ${said}`, {
    details: { failure, stderr: error.stderr.slice(-2_000), exitCode: error.exitCode },
    cause: error,
  });
}

async function lockedError(deps: LvmDeps, group: string, error: unknown): Promise<AzekuraError> {
  const holder = (await deps.host.lockHolder(`${lockFolder}/V_${group}`)) ?? 'another program';
  return blamed('Unavailable', makeCause('GroupLocked', { group, holder }), {
    details: { failure: 'locked' },
    cause: error,
  });
}

function wait(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(ms, resolve);
  });
}

/** Whether an LVM command failed in one of these ways. */
export function lvmFailed(error: unknown, ...failures: readonly LvmFailure[]): boolean {
  return error instanceof AzekuraError && failures.includes(error.details.failure as LvmFailure);
}
