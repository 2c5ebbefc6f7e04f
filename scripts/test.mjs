// `npm test`: everything that CI runs, complete on a fresh clone. Ends with "N passed, N failed, N skipped"; every
// skipped test is named with its reason before that line.
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import {
  hasProgram,
  installPackages,
  requireNode,
  requireNodeModules,
  requireTools,
  run,
  testTools,
} from './lib/environment.mjs';
import { otherMajors, otherNode } from './lib/other-nodes.mjs';
import { stages } from './lib/stages.mjs';
import { runVitest } from './lib/vitest.mjs';

requireNode();
requireTools(testTools);
const postgresql = '/usr/lib/postgresql';
const hasPostgres =
  existsSync(postgresql) &&
  readdirSync(postgresql).some((version) => existsSync(path.join(postgresql, version, 'bin', 'pgbench')));
if (!hasPostgres && process.getuid?.() === 0) installPackages(['postgresql', 'postgresql-contrib']);
requireNodeModules();

const totals = { passed: 0, failed: 0, skipped: 0 };
const failures = [];
const skips = [];
const times = [];

for (const stage of stages) stageResult(stage.name, run('npx', ['--no-install', ...stage.command]));
stageResult('build', run(process.execPath, ['scripts/build.mjs']));
if (totals.failed === 0 || process.env.AZEKURA_TEST_ALL) {
  add('unit', await runVitest('unit'));
  for (const major of otherMajors) await onOtherNode(major);
  // Real Kubernetes from Go modules: minutes on a machine that never built it, nothing afterwards. Where that cannot be,
  // its tests say so in their names.
  if (process.getuid?.() === 0 && hasProgram('go')) {
    const build = ['tsx', 'lab/main.ts', 'kubernetes', 'build'];
    stageResult('binaries of the Kubernetes lab', run('npx', ['--no-install', ...build]));
  }
  // Machines of the lab bring kernels, disks and networks of their own, and a cluster has its own view of the mounts, so
  // they disturb no loop device or mount of the system tests; more than two at a time would be too much for two cores.
  // The long ones come first, so that both lanes end at about the same time.
  const jobs = [
    { project: 'system' },
    { project: 'lab', shard: '2/2', holdOutput: true },
    { project: 'kubernetes', shard: '2/2', holdOutput: true },
    { project: 'lab', shard: '1/2', holdOutput: true },
    { project: 'kubernetes', shard: '1/2', holdOutput: true },
  ];
  const done = new Map();
  await inLanes(2, jobs, async (job) => done.set(job, await runVitest(job.project, job)));
  for (const job of jobs) add(job.shard ? `${job.project} ${job.shard}` : job.project, done.get(job));
}
for (const time of times) console.log(time);
for (const skip of skips) console.log(`skipped: ${skip}`);
for (const failure of failures) console.log(`failed: ${failure}`);
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
process.exit(totals.failed === 0 ? 0 : 1);

function stageResult(name, status) {
  if (status === 0) totals.passed += 1;
  else {
    totals.failed += 1;
    failures.push(name);
  }
}

/** The unit tests once more on another version of Node; skipped by name where it is not to be had. */
async function onOtherNode(major) {
  const found = otherNode(major);
  if ('problem' in found) {
    totals.skipped += 1;
    skips.push(`unit tests on Node ${major} (skipped: ${found.problem})`);
    return;
  }
  console.log(`Unit tests on Node ${found.version}`);
  add(`unit on Node ${found.version}`, await runVitest('unit', { other: found }));
}

/** Does the jobs in their order, so many of them at a time. */
async function inLanes(lanes, jobs, run) {
  const rest = [...jobs];
  const lane = async () => {
    for (let job = rest.shift(); job !== undefined; job = rest.shift()) await run(job);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

function add(name, outcome) {
  totals.passed += outcome.passed;
  totals.failed += outcome.failed;
  totals.skipped += outcome.skips.length;
  failures.push(...outcome.failures);
  skips.push(...outcome.skips);
  times.push(`${name}: ${outcome.passed} passed, ${outcome.failed} failed, ${outcome.seconds} s`);
}
