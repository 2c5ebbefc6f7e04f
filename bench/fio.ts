/** fio, as the benchmarks use it. */
import { z } from 'zod';
import { run, runAsync } from '../lab/workbench.ts';

/** One direction of a job that did something: the percentiles are missing in the other. */
const Direction = z.object({
  iops: z.number(),
  lat_ns: z.object({ max: z.number() }),
  clat_ns: z.object({ percentile: z.object({ '50.000000': z.number() }) }),
});
const Output = z.object({ jobs: z.array(z.object({ read: z.unknown(), write: z.unknown() })).min(1) });

export interface FioResult {
  readonly iops: number;
  /** The median: the mean of a busy machine tells of its neighbours. */
  readonly latencyUs: number;
  readonly maxLatencyMs: number;
}

/** Reads fio's JSON output of one job. */
function parse(json: string, direction: 'read' | 'write'): FioResult {
  // Some versions print notes before the JSON.
  const job = Output.parse(JSON.parse(json.slice(json.indexOf('{')))).jobs[0];
  const result = job && Direction.parse(job[direction]);
  if (!result) throw new Error('fio did nothing');
  return {
    iops: result.iops,
    latencyUs: result.clat_ns.percentile['50.000000'] / 1e3,
    maxLatencyMs: result.lat_ns.max / 1e6,
  };
}

interface FioJob {
  readonly file: string;
  readonly kind: 'randread' | 'randwrite';
  readonly seconds: number;
  readonly sizeBytes: number;
  /** Requests per second; as many as it can when absent. */
  readonly rate?: number;
}

function argv(job: FioJob): string[] {
  return [
    '--name=bench',
    `--filename=${job.file}`,
    `--rw=${job.kind}`,
    '--bs=4k',
    '--direct=1',
    '--ioengine=psync',
    '--zero_buffers',
    `--size=${job.sizeBytes}`,
    '--time_based',
    `--runtime=${job.seconds}`,
    '--output-format=json',
    ...(job.rate ? [`--rate_iops=${job.rate}`] : []),
  ];
}

const directionOf = (job: FioJob) => (job.kind === 'randread' ? 'read' : 'write');

/** 4 KiB requests, one at a time, direct. */
export function fio(job: FioJob): FioResult {
  return parse(run('fio', ...argv(job)), directionOf(job));
}

/** The same beside other work. */
export async function fioBeside(job: FioJob): Promise<FioResult> {
  return parse(await runAsync('fio', ...argv(job)), directionOf(job));
}
