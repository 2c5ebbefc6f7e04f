import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Clock, systemClock } from '../lib/clock.ts';
import { FakeClock } from '../lib/fake-clock.ts';
import { Containment } from './containment.ts';
import { ExecError, execCommand, lastLines } from './exec.ts';
import type { ExecOptions } from './host.ts';

const containment = new Containment(systemClock);
const exec = (argv: readonly [string, ...string[]], options?: ExecOptions) =>
  execCommand({ clock: systemClock, containment }, argv, options);

/** Runs a script of Node: the only program that is surely there. */
const node = (script: string, options?: ExecOptions, ...args: string[]) =>
  exec([process.execPath, '-e', script, ...args], options);

const failure = async (promise: Promise<unknown>): Promise<ExecError> => {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ExecError);
  return error as ExecError;
};

describe('exec', { timeout: 300_000 }, () => {
  it('hands over arguments and input as they are and gives back both outputs', async () => {
    const script = 'process.stdin.on("data", (d) => process.stdout.write(d)); process.stderr.write(process.argv[1])';
    const result = await node(script, { input: 'in\0put' }, '$(touch /x); "quoted" *');
    expect(result).toEqual({ exitCode: 0, stdout: 'in\0put', stderr: '$(touch /x); "quoted" *' });
  });

  it('has all that a command wrote, also when this process stood still as it ended', async () => {
    const standStill = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
    // What is waited for after the end of a command is over before anything is read.
    const hasty: Clock = {
      nowMs: () => Date.now(),
      after(delayMs, callback) {
        const grace = delayMs === 2_000;
        const cancel = systemClock.after(grace ? 1 : delayMs, callback);
        if (grace) standStill(20);
        return cancel;
      },
    };
    // One child speaks and ends; while what it said is heard, the other one does both. So its end is seen before its words.
    const first = spawn('echo', ['first']);
    standStill(500);
    first.stdout.once('data', () => standStill(2_500));
    const second = execCommand({ clock: hasty, containment }, ['sh', '-c', 'sleep 1; echo second']);
    expect(await second).toMatchObject({ stdout: 'second\n' });
  });

  it('gives a command nothing of our environment but the path, and the C locale', async () => {
    const { stdout } = await node('process.stdout.write(JSON.stringify(process.env))', { env: { EXTRA: 'yes' } });
    expect(Object.keys(JSON.parse(stdout) as object).sort()).toEqual(['EXTRA', 'HOME', 'LC_ALL', 'PATH']);
    expect(JSON.parse(stdout)).toMatchObject({ LC_ALL: 'C', EXTRA: 'yes' });
  });

  it('says what a failed command said last, and never its input', async () => {
    const script = 'console.error("first\\nsecond\\n\\nthird\\nfourth"); process.exitCode = 3';
    const error = await failure(node(script, { input: 'hunter2' }));
    expect(error).toMatchObject({ code: 'HostFailure', exitCode: 3 });
    expect(error.message).toBe(`${process.execPath} failed with exit code 3: second; third; fourth`);
    expect(JSON.stringify([error.message, error.details, error])).not.toContain('hunter2');
    expect(await node(script, { okExitCodes: [3] })).toMatchObject({ exitCode: 3 });
  });

  it('names the package of a tool that is missing', async () => {
    const error = await failure(exec(['/nowhere/mkfs.xfs', '/dev/null']));
    expect(error).toMatchObject({
      code: 'FailedPrecondition',
      blame: { code: 'ToolMissing', evidence: { package: 'xfsprogs' } },
    });
  });

  it('ends the whole process group at the deadline, children included', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'azekura-exec-'));
    const said = join(folder, 'pid');
    // Says who its child is when it has one, and that it will not go when it is asked to.
    const script = `const c = require("child_process").spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "inherit" });
      process.on("SIGTERM", () => {}); setInterval(() => {}, 1000);
      require("fs").writeFileSync(process.argv[1] + ".new", String(c.pid)); require("fs").renameSync(process.argv[1] + ".new", process.argv[1])`;
    // Time passes when the child is there, however long that takes on a busy machine.
    const clock = new FakeClock();
    const ended = failure(
      execCommand({ clock, containment }, [process.execPath, '-e', script, said], { deadlineMs: 500 }),
    );
    await expect.poll(() => existsSync(said), { timeout: 100_000 }).toBe(true);
    const pid = Number(readFileSync(said, 'utf8'));
    expect(isRunning(pid)).toBe(true);
    await clock.advance(499);
    expect(isRunning(pid)).toBe(true);
    await clock.advance(1);
    await clock.advance(2_000);
    expect((await ended).code).toBe('DeadlineExceeded');
    // The child is gone or, where nobody reaps it, a zombie; it is never left running.
    await expect.poll(() => isRunning(pid), { timeout: 100_000 }).toBe(false);
    rmSync(folder, { recursive: true });
  });

  it('ends when it is aborted and then throws the reason', async () => {
    const controller = new AbortController();
    const running = node('setInterval(() => {}, 1000)', { signal: controller.signal });
    controller.abort(new Error('no longer wanted'));
    await expect(running).rejects.toThrow('no longer wanted');
    await expect(node('', { signal: controller.signal })).rejects.toThrow('no longer wanted');
  });

  it('is refused in a domain that hangs, and only there', async () => {
    const release = containment.add({ domain: 'volume/a', call: 'stat', sinceMs: 0, pid: 1 });
    const error = { code: 'Unavailable', blame: { code: 'HungCall' } };
    await expect(node('', { domain: 'volume/a/x' })).rejects.toMatchObject(error);
    expect(await node('', { domain: 'volume/ab' })).toMatchObject({ exitCode: 0 });
    release();
    expect(await node('', { domain: 'volume/a' })).toMatchObject({ exitCode: 0 });
  });
});

describe('lastLines', () => {
  it('stays short', () => {
    expect(lastLines('')).toBe('');
    expect(lastLines('x'.repeat(10_000)).length).toBeLessThanOrEqual(501);
  });
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
