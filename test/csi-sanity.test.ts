import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CsiClient } from '../lab/csi/client.ts';
import { nothingLeft, startInstance } from '../lab/csi/instance.ts';
import { startRetryProxy } from '../lab/csi/retry-proxy.ts';
import { type Daemon, holdings } from '../lab/daemon.ts';
import { ToolMissing } from '../lab/go.ts';
import { sanityArguments, sanityPending, sanitySpecs } from '../lab/sanity/arguments.ts';
import { buildSanity, mendedSpec } from '../lab/sanity/build.ts';
import { readSanityReport, type SanityReport } from '../lab/sanity/report.ts';
import { Cleanup, eventually, sleep } from '../lab/workbench.ts';
import { csiSocketPath } from '../src/csi/index.ts';

/** The test asks for this many attachments and one more, so a small number keeps it quick. */
const attachLimit = 4;
const passing = sanitySpecs - sanityPending.length;

const missing = await buildSanity(true).then(
  () => undefined,
  (error: unknown) => {
    if (error instanceof ToolMissing) return error.message;
    throw error;
  },
);

const cleanup = new Cleanup();
let scratch: string;
let daemon: Daemon;
let client: CsiClient;

beforeAll(async () => {
  if (missing !== undefined) return;
  const instance = await startInstance(cleanup, { arguments: ['--max-volumes-per-node', String(attachLimit)] });
  daemon = instance.daemon;
  scratch = instance.scratch;
  client = instance.client;
});
afterAll(() => cleanup.run());

interface Report extends SanityReport {
  readonly exitCode: number | null;
  readonly output: string;
}

/** Runs csi-sanity and reads its own report. @param mended see lab/sanity/build.ts */
async function sanity(
  name: string,
  mended: boolean,
  accessType: 'mount' | 'block',
  options: { readonly parameters: Record<string, string>; readonly endpoint?: string },
): Promise<Report> {
  const folder = path.join(scratch, name);
  mkdirSync(folder);
  const argv = sanityArguments({
    folder,
    scratch: folder,
    endpoint: options.endpoint ?? csiSocketPath(daemon.dataDir),
    access: accessType,
    parameters: options.parameters,
    secret: { canary },
  });
  const child = spawn(await buildSanity(mended), argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  child.stderr.on('data', (data: Buffer) => (output += data.toString()));
  const exitCode = await new Promise<number | null>((resolve) => child.once('exit', resolve));
  return { exitCode, output, ...readSanityReport(path.join(folder, 'report.json')) };
}

const canary = 'sanity-c4n4ry-77';

/** Kills the daemon every two seconds and starts it again at once. */
class Supervisor {
  kills = 0;
  readonly #stopped = new AbortController();
  readonly #running: Promise<void>;
  readonly #daemon: Daemon;

  constructor(supervised: Daemon) {
    this.#daemon = supervised;
    this.#running = this.#run();
  }

  /** Leaves the daemon running and ready. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
    await this.#daemon.ready(60_000);
  }

  async #run(): Promise<void> {
    for (;;) {
      await sleep(2_000);
      if (this.#stopped.signal.aborted) return;
      await this.#daemon.kill();
      this.kills += 1;
      this.#daemon.launch();
    }
  }
}

describe.skipIf(missing !== undefined)(`csi-sanity${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
  it.each([
    ['mount', 'thin'],
    ['block', 'thin'],
    ['mount', 'thick'],
    ['block', 'thick'],
  ] as const)(
    `passes ${passing} of ${sanitySpecs} specs with %s and %s volumes`,
    async (access, provisioning) => {
      const before = holdings(scratch);
      const report = await sanity(`${access}-${provisioning}`, true, access, {
        parameters: { provisioning, recycle: '0' },
      });
      expect(report.failed, report.output.slice(-20_000)).toEqual([]);
      expect(report.skipped).toEqual([]);
      expect(report.pending).toEqual(sanityPending);
      expect(report.passed).toHaveLength(passing);
      expect(report.exitCode).toBe(0);
      await expect.poll(() => holdings(scratch), { timeout: 30_000 }).toEqual(before);
      await nothingLeft(daemon, 1_000);
    },
    900_000,
  );

  it.each(['mount', 'block'] as const)(
    'passes with %s volumes while the daemon is killed every two seconds and every call is repeated',
    async (access) => {
      const before = holdings(scratch);
      const proxy = await startRetryProxy(path.join(scratch, `${access}.sock`), client);
      const supervisor = new Supervisor(daemon);
      try {
        // A run may be over before it was killed a few times.
        for (let round = 1; supervisor.kills < 4; round++) {
          const report = await sanity(`${access}-killed-${round}`, true, access, {
            parameters: { provisioning: 'thin', recycle: '0' },
            endpoint: proxy.socketPath,
          });
          expect(report.failed, report.output.slice(-20_000)).toEqual([]);
          expect(report.skipped).toEqual([]);
          expect(report.passed).toHaveLength(passing);
        }
      } finally {
        await supervisor.stop();
        proxy.close();
      }
      expect(proxy.counts.attempts).toBeGreaterThan(proxy.counts.calls);
      await nothingLeft(daemon);
      await eventually(() => expect(holdings(scratch)).toEqual(before));
    },
    900_000,
  );

  // As published it has an error that no driver with snapshot topology can pass; the mending hides nothing else.
  it(`passes all but "${mendedSpec}" of csi-sanity as published`, async () => {
    const report = await sanity('published', false, 'mount', { parameters: { provisioning: 'thin', recycle: '0' } });
    expect(report.failed).toEqual([`CreateSnapshot [Controller Server] › ${mendedSpec}`]);
    expect(report.output).toContain('sizeCache');
    expect(report.skipped).toEqual([]);
    expect(report.passed).toHaveLength(passing - 1);
  }, 900_000);

  it('has left no secret in the log', () => {
    expect(readFileSync(daemon.logPath, 'utf8')).toContain('(secret)');
    expect(readFileSync(daemon.logPath, 'utf8')).not.toContain(canary);
  });
});
