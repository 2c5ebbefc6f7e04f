import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { type CsiClient, connectCsi } from '../lab/csi/client.ts';
import { mountCapability } from '../lab/csi/instance.ts';
import { buildLabtool } from '../lab/kubernetes/tools/csi/build.ts';
import { eventually, median } from '../lab/workbench.ts';
import { csiSocketPath } from '../src/csi/index.ts';
import type { Bench, BenchContext, Measurement } from './bench.ts';
import { startKernelPath } from './kernel-path.ts';
import { daemonWithPool } from './pool-under-daemon.ts';

const volumeBytes = 2 ** 30;
const concurrency = 8;
const callDeadlineMs = 60_000;

/** A driver that is measured: ours, or the plain-directory one. */
interface Driver {
  readonly client: CsiClient;
  /** Folder for staging and target paths. */
  readonly folder: string;
}

/** Times of single calls, in milliseconds, by the name of the call. */
type Times = Map<string, number[]>;

/** Work that is done once for each index; it notes how long each of its calls took. */
interface Load {
  readonly name: string;
  readonly what: string;
  readonly count: number;
  readonly goal?: number;
  run(driver: Driver, index: number, timed: <T>(call: string, work: Promise<T>) => Promise<T>): Promise<void>;
  /** What the work needs and is not measured. */
  prepare?(driver: Driver, count: number): Promise<void>;
  end?(driver: Driver, count: number): Promise<void>;
}

const deadline = { deadlineMs: callDeadlineMs };
const capability = mountCapability({ fsType: 'ext4' });

function loads(quick: boolean): readonly Load[] {
  const handles: string[] = [];
  return [
    {
      name: 'get-capacity',
      what: 'GetCapacity per s',
      count: quick ? 500 : 3_000,
      run: async ({ client }, _, timed) => {
        await timed('get-capacity', client.controller.getCapacity({}, deadline));
      },
    },
    {
      name: 'create-delete',
      what: 'CreateVolume+DeleteVolume per s',
      count: quick ? 60 : 250,
      run: async ({ client }, index, timed) => {
        const volumeId = await timed('create', createVolume(client, `pair-${index}`));
        await timed('delete', client.controller.deleteVolume({ volumeId }, deadline));
      },
    },
    {
      name: 'full-path',
      what: 'stage→publish→unpublish→unstage per s',
      count: quick ? 60 : 250,
      goal: 0.8,
      prepare: async (driver, count) => {
        handles.length = 0;
        await atOnce(count, async (index) => {
          handles[index] = await createVolume(driver.client, `path-${index}`);
        });
      },
      run: async ({ client, folder }, index, timed) => {
        const volumeId = handles[index] ?? '';
        const stagingTargetPath = `${folder}/staging-${index}`;
        const targetPath = `${folder}/target-${index}`;
        const place = { volumeId, stagingTargetPath };
        // The orchestrator makes the staging folder (CSI 1.13, NodeStageVolume).
        mkdirSync(stagingTargetPath);
        await timed('stage', client.node.nodeStageVolume({ ...place, volumeCapability: capability }, deadline));
        await timed(
          'publish',
          client.node.nodePublishVolume({ ...place, targetPath, volumeCapability: capability }, deadline),
        );
        await timed('unpublish', client.node.nodeUnpublishVolume({ volumeId, targetPath }, deadline));
        await timed('unstage', client.node.nodeUnstageVolume(place, deadline));
        rmSync(stagingTargetPath, { recursive: true, force: true });
      },
      end: ({ client }, count) =>
        atOnce(count, async (index) => {
          await client.controller.deleteVolume({ volumeId: handles[index] ?? '' }, deadline);
        }),
    },
  ];
}

async function createVolume(client: CsiClient, name: string): Promise<string> {
  const request = {
    name,
    capacityRange: { requiredBytes: BigInt(volumeBytes) },
    volumeCapabilities: [capability],
  };
  const { volume } = await client.controller.createVolume(request, deadline);
  return volume?.volumeId ?? '';
}

/** Does the work for 0 … count−1, eight at a time. */
async function atOnce(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < count; index = next++) await work(index);
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

/** @returns how often per second the work was done */
async function rateOf(load: Load, driver: Driver, count: number, times: Times): Promise<number> {
  await load.prepare?.(driver, count);
  const start = performance.now();
  await atOnce(count, (index) =>
    load.run(driver, index, async (call, work) => {
      const before = performance.now();
      const answer = await work;
      const known = times.get(call) ?? [];
      known.push(performance.now() - before);
      times.set(call, known);
      return answer;
    }),
  );
  const rate = count / ((performance.now() - start) / 1_000);
  await load.end?.(driver, count);
  return rate;
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

/** The plain-directory driver: volumes without size, format or durability, so that it only shows what the calls cost. */
async function startPlain({ cleanup, scratch }: BenchContext): Promise<Driver> {
  const binary = await buildLabtool();
  const socket = `${scratch}/plain/csi.sock`;
  const state = `${scratch}/plain-state`;
  const folder = `${scratch}/plain-paths`;
  for (const made of [`${scratch}/plain`, folder]) mkdirSync(made);
  const options = ['--endpoint', socket, '--state', state, '--capacity', String(2 ** 50)];
  const child = spawn(binary, ['csi', ...options], { stdio: 'ignore' });
  cleanup.add(() => ended(child));
  await eventually(() => {
    if (child.exitCode !== null) throw new Error(`labtool csi has ended with ${child.exitCode}`);
    if (!existsSync(socket)) throw new Error('labtool csi does not serve');
  });
  const client = connectCsi(socket);
  cleanup.add(() => client.close());
  return { client, folder };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await exit;
}

/** What a CSI client gets per second, and how long it waits, beside a driver that does next to nothing. */
async function measure(context: BenchContext): Promise<readonly Measurement[]> {
  const { cleanup, scratch, quick, note } = context;
  const plain = await startPlain(context);
  const daemon = await daemonWithPool(context, '400G');
  const client = connectCsi(csiSocketPath(daemon.dataDir));
  cleanup.add(() => client.close());
  const ours: Driver = { client, folder: `${scratch}/paths` };
  mkdirSync(ours.folder);
  note(`plain: labtool csi, ${execFileSync('uname', ['-r'], { encoding: 'utf8' }).trim()}`);

  const kernel = await startKernelPath(cleanup, `${scratch}/pool/kernel-path`, { concurrency, volumeBytes });
  const rounds = quick ? 1 : 3;
  const measurements: Measurement[] = [];
  for (const load of loads(quick)) {
    const drivers = [
      { driver: ours, rates: [] as number[], times: new Map() as Times },
      { driver: plain, rates: [] as number[], times: new Map() as Times },
    ];
    // Neither pays for what the first calls of a process cost.
    for (const { driver } of drivers) await rateOf(load, driver, Math.min(load.count, 40), new Map());
    const floor: number[] = [];
    for (let round = 0; round < rounds; round++) {
      for (const { driver, rates, times } of drivers) rates.push(await rateOf(load, driver, load.count, times));
      if (load.goal !== undefined) floor.push(await kernel.rate(load.count));
    }
    const [mine, theirs] = drivers;
    if (!mine || !theirs) throw new Error('there are two drivers');
    measurements.push({
      name: `csi/${load.name}`,
      value: median(mine.rates),
      unit: load.what,
      baseline: median(theirs.rates),
      ...(load.goal === undefined ? {} : { goal: { of: 'ratio', is: 'at least', than: load.goal } }),
    });
    if (floor.length > 0)
      measurements.push({
        name: `csi/${load.name}/kernel`,
        value: median(floor),
        unit: 'per s, the kernel calls of it alone',
        baseline: median(theirs.rates),
      });
    for (const [call, values] of mine.times)
      measurements.push({
        name: `csi/${call}/p99`,
        value: percentile(values, 0.99),
        unit: 'ms',
        baseline: percentile(theirs.times.get(call) ?? [], 0.99),
      });
  }
  return measurements;
}

export const csi: Bench = {
  name: 'csi',
  title: 'CSI calls, eight at a time, beside a driver of plain directories',
  run: measure,
};
