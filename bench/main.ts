/**
 * `npm run bench -- [--only NAME]… [--quick] [--out FILE]`: runs the benchmarks one after the other, prints a table, and
 * ends with 1 when a goal is missed.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Cleanup } from '../lab/workbench.ts';
import { type Bench, isMet, type Measurement } from './bench.ts';
import { cliStart } from './cli-start.ts';
import { controllerSize } from './controller-size.ts';
import { csi } from './csi.ts';
import { idleDaemon } from './idle-daemon.ts';
import { kubernetes } from './kubernetes.ts';
import { loopOverhead } from './loop-overhead.ts';
import { lvm } from './lvm.ts';
import { manyVolumes } from './many-volumes.ts';
import { placement } from './placement.ts';
import { toRows, toTable } from './report.ts';
import { snapshotStall } from './snapshot-stall.ts';
import { volumesPerSecond } from './volumes-per-second.ts';

const benches: readonly Bench[] = [
  loopOverhead,
  volumesPerSecond,
  snapshotStall,
  csi,
  manyVolumes,
  idleDaemon,
  placement,
  cliStart,
  kubernetes,
  controllerSize,
  lvm,
];

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', multiple: true },
      quick: { type: 'boolean' },
      out: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  const names = benches.map((bench) => bench.name);
  const unknown = values.only?.find((name) => !names.includes(name));
  if (values.help || unknown !== undefined) {
    console.log(
      `${unknown === undefined ? '' : `no benchmark "${unknown}"\n`}usage: npm run bench -- [--only NAME]… [--quick] [--out FILE]`,
    );
    for (const bench of benches) console.log(`  ${bench.name.padEnd(20)} ${bench.title}`);
    return unknown === undefined ? 0 : 2;
  }
  if (process.getuid?.() !== 0) {
    console.error('the benchmarks need root: they attach loop devices and mount file systems');
    return 9;
  }
  const chosen = benches.filter((bench) => !values.only || values.only.includes(bench.name));
  const measurements: Measurement[] = [];
  const failed: string[] = [];
  for (const bench of chosen) {
    console.error(`# ${bench.name}: ${bench.title}`);
    const cleanup = new Cleanup();
    try {
      const scratch = cleanup.directory('/dev/shm/azekura-bench-');
      const context = {
        quick: values.quick ?? false,
        cleanup,
        scratch,
        note: (text: string) => console.error(`  ${text}`),
      };
      const measured = await bench.run(context);
      measurements.push(...measured);
      // One after the other, so that an hour of figures does not hang on the last of them.
      if (chosen.length > 1) console.error(toTable(measured));
      if (values.out) writeFileSync(values.out, `${JSON.stringify(toRows(measurements), undefined, 2)}\n`);
    } catch (error) {
      failed.push(bench.name);
      console.error(`  failed: ${error instanceof Error ? error.message : String(error)}`);
    } finally {
      await cleanup.run();
    }
  }
  console.log(toTable(measurements));
  const missed = measurements
    .filter((measurement) => isMet(measurement) === false)
    .map((measurement) => measurement.name);
  if (missed.length > 0) console.error(`goals missed: ${missed.join(', ')}`);
  if (failed.length > 0) console.error(`benchmarks failed: ${failed.join(', ')}`);
  return missed.length + failed.length > 0 ? 1 : 0;
}

process.exit(await main());
