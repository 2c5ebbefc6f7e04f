import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import { silentLogger } from '../../lib/log.ts';
import { hasCode } from '../../model/errors.ts';
import type { Host } from '../host.ts';
import { createHost } from '../linux.ts';
import type { PoolLimits } from './pool.ts';

let directory: string;
let fifo: string;
const hosts: Host[] = [];
/** How long a helper takes to start here and now: deadlines that must not come before it are many times that. */
let startMs = 0;

const makeHost = (limits: Partial<PoolLimits> = {}, workerArgv?: readonly [string, ...string[]]) => {
  const host = createHost({ log: silentLogger, clock: systemClock, limits, ...(workerArgv ? { workerArgv } : {}) });
  hosts.push(host);
  return host;
};

/** A call that really hangs: open(2) for reading of a FIFO that nobody writes to. */
const hang = (host: Host, domain: string, deadlineMs: number) =>
  host.kernel(domain, { deadlineMs }).attachLoop(fifo, { readOnly: true });

/** Helper processes of this process that are alive, from /proc/<pid>/stat and cmdline, see proc(5). */
const helperCount = () =>
  readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const [, parent] = /\) [^Z] (\d+) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
      return parent === String(process.pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('worker');
    } catch {
      return false;
    }
  }).length;

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
  beforeAll(async () => {
    const host = makeHost();
    const beganMs = performance.now();
    await host.kernel('first', { deadlineMs: 120_000 }).stat(tmpdir());
    startMs = performance.now() - beganMs;
    await host.close();
  }, 150_000);

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
    const host = makeHost();
    const hung = Array.from({ length: 12 }, () =>
      hang(host, 'pool/bad', Math.max(3_000, 15 * startMs)).catch((error: unknown) => error),
    );
    // All of these are done before the first deadline comes.
    const order: string[] = [];
    const neighbours = Promise.all(
      Array.from({ length: 12 }, (_, n) =>
        host
          .kernel(`pool/good/${n}`)
          .stat(directory)
          .then(() => order.push('neighbour')),
      ),
    );
    await Promise.all([neighbours, Promise.race(hung).then(() => order.push('hung'))]);
    expect(order.indexOf('hung')).toBe(12);
    for (const error of await Promise.all(hung)) expect(isHung(error)).toBe(true);
    // The FIFO lets itself be killed, so the domain is well again when the processes are gone.
    await expect.poll(() => host.hungCalls(), { timeout: 5_000 + 10 * startMs }).toEqual([]);
    expect((await host.kernel('pool/bad').stat(directory))?.kind).toBe('directory');
  });

  it('does not take a call for hung that was answered while this process itself stood still', async () => {
    const host = makeHost();
    await host.kernel('warm').stat(directory);
    const answered = host.kernel('pool/good', { deadlineMs: 300 }).stat(directory);
    await new Promise((resolve) => setImmediate(resolve));
    const end = performance.now() + 1_000;
    while (performance.now() < end);
    expect((await answered)?.kind).toBe('directory');
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
    await expect.poll(helperCount, { timeout: 5_000 + 10 * startMs }).toBe(0);
    expect((await host.kernel('x').stat('/'))?.kind).toBe('directory');
    await host.close();
    await expect(host.kernel('x').stat('/')).rejects.toMatchObject({ code: 'Unavailable' });
  });
});
