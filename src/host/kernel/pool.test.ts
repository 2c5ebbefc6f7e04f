import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Clock, systemClock } from '../../lib/clock.ts';
import { FakeClock } from '../../lib/fake-clock.ts';
import { silentLogger } from '../../lib/log.ts';
import { hasCode } from '../../model/errors.ts';
import type { Host } from '../host.ts';
import { createHost } from '../linux.ts';
import type { PoolLimits } from './pool.ts';

let directory: string;
let fifo: string;
const hosts: Host[] = [];

const makeHost = (
  limits: Partial<PoolLimits> = {},
  workerArgv?: readonly [string, ...string[]],
  clock: Clock = systemClock,
) => {
  const host = createHost({ log: silentLogger, clock, limits, ...(workerArgv ? { workerArgv } : {}) });
  hosts.push(host);
  return host;
};

/** A call that really hangs: open(2) for reading of a FIFO that nobody writes to. */
const hang = (host: Host, domain: string, deadlineMs: number) =>
  host.kernel(domain, { deadlineMs }).attachLoop(fifo, { readOnly: true });

/** Helper processes of this process that are alive, from /proc/<pid>/stat and cmdline, see proc(5). */
const helpers = () =>
  readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const [, parent] = /\) [^Z] (\d+) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
      return parent === String(process.pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('worker');
    } catch {
      return false;
    }
  });
const helperCount = () => helpers().length;
const isAsleep = (pid: string) => /\) S /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));

const isHung = (error: unknown) => hasCode(error, 'Unavailable') && error.blame?.code === 'HungCall';

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'azekura-pool-'));
  fifo = join(directory, 'fifo');
  await makeHost().exec(['mkfifo', fifo]);
});

afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
  rmSync(directory, { recursive: true });
});

describe('worker pool', { timeout: 300_000 }, () => {
  it('brings results, absence and errors back from the helper', async () => {
    const kernel = makeHost().kernel('test');
    const file = join(directory, 'ü\n"');
    await kernel.writeTextFile(file, 'größe\n'.repeat(10_000));
    expect(await kernel.readTextFile(file)).toBe('größe\n'.repeat(10_000));
    expect(await kernel.readTextFile(join(directory, 'none'))).toBeUndefined();
    const error = await kernel.sync(join(directory, 'none')).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'NotFound', details: { errno: 'ENOENT', call: 'open' } });
    expect(String(error)).toContain(join(directory, 'none'));
  });

  it('abandons a call that hangs, while other domains go on at once', async () => {
    // Time stands still until the neighbours are done, however slow the machine is.
    const clock = new FakeClock();
    const host = makeHost({}, undefined, clock);
    let answered = 0;
    const hung = Array.from({ length: 12 }, () =>
      hang(host, 'pool/bad', 3_000)
        .catch((error: unknown) => error)
        .finally(() => {
          answered += 1;
        }),
    );
    const neighbours = Array.from({ length: 12 }, (_, n) => host.kernel(`pool/good/${n}`).stat(directory));
    for (const stat of await Promise.all(neighbours)) expect(stat?.kind).toBe('directory');
    expect(answered).toBe(0);
    await clock.advance(60_000);
    for (const error of await Promise.all(hung)) expect(isHung(error)).toBe(true);
    // The FIFO lets itself be killed, so the domain is well again when the processes are gone.
    await expect.poll(() => host.hungCalls(), { timeout: 100_000 }).toEqual([]);
    expect((await host.kernel('pool/bad').stat(directory))?.kind).toBe('directory');
  });

  it('does not take a call for hung that was answered while this process itself stood still', async () => {
    const host = makeHost();
    await host.kernel('warm').stat(directory);
    const made = join(directory, 'made');
    const deadlineMs = 300;
    const end = performance.now() + 2 * deadlineMs;
    const answered = host.kernel('pool/good', { deadlineMs }).makeDirectory(made, 0o700, { sync: false });
    // It has answered when it has done its work and waits for more, all without our reading it.
    while (performance.now() < end || !existsSync(made) || !helpers().every(isAsleep));
    await answered;
    expect(host.hungCalls()).toEqual([]);
  });

  it('keeps the number of processes bounded when everything hangs', { timeout: 120_000 }, async () => {
    const host = makeHost({ busy: 2, perDomain: 1, slowPerFamily: 3, slowMs: 20, processes: 6 });
    const pending = Array.from({ length: 30 }, (_, n) =>
      // Longer than the start of all helpers takes on a busy machine; close() ends it.
      hang(host, `pool/bad/${n}`, 100_000).catch((error: unknown) => error),
    );
    expect((await host.kernel('pool/good').stat(directory))?.kind).toBe('directory');
    await expect.poll(helperCount, { timeout: 60_000 }).toBeGreaterThan(2);
    expect(helperCount()).toBeLessThanOrEqual(6);
    await host.close();
    for (const error of await Promise.all(pending)) expect(hasCode(error, 'Unavailable')).toBe(true);
  });

  it('says what keeps helpers from starting', async () => {
    const host = makeHost({}, [process.execPath, '-e', 'console.error("no koffi here"); process.exit(7)']);
    await expect(host.kernel('x').stat('/')).rejects.toThrow(/helper process can be started.*code 7: no koffi here/);
    await expect(makeHost({}, ['/nowhere']).kernel('x').stat('/')).rejects.toThrow(/ENOENT/);
  });

  it('ends idle helpers, starts them anew, and refuses when it is closed', async () => {
    const host = makeHost({ idleMs: 100 });
    await host.kernel('x').stat('/');
    await expect.poll(helperCount, { timeout: 100_000 }).toBe(0);
    expect((await host.kernel('x').stat('/'))?.kind).toBe('directory');
    await host.close();
    await expect(host.kernel('x').stat('/')).rejects.toMatchObject({ code: 'Unavailable' });
  });
});
