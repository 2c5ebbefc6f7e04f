// `npm test`: everything that CI runs, complete on a fresh clone. Ends with the slowest files, the names of what was
// skipped, each with its reason, and of what failed, and "N passed, N failed, N skipped".
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import {
  hasProgram,
  installPackages,
  requireNode,
  requireNodeModules,
  requireTools,
  testTools,
} from './lib/environment.mjs';
import { testJobs } from './lib/jobs.mjs';
import { otherMajors, otherNode } from './lib/other-nodes.mjs';
import { inLanes, start, underWay } from './lib/process.mjs';
import { stages } from './lib/stages.mjs';
import { runVitest } from './lib/vitest.mjs';

/** Clusters and machines wait much of their time, so that three lanes keep two cores busy. */
const lanes = 3;
const slowest = 10;

requireNode();
requireTools(testTools);
const postgresql = '/usr/lib/postgresql';
const hasPostgres =
  existsSync(postgresql) &&
  readdirSync(postgresql).some((version) => existsSync(path.join(postgresql, version, 'bin', 'pgbench')));
const isRoot = process.getuid?.() === 0;
if (!hasPostgres && isRoot) installPackages(['postgresql', 'postgresql-contrib']);
requireNodeModules();

const totals = { passed: 0, failed: 0, skipped: 0 };
const failures = [];
const skips = [];
const times = [];
const fileSeconds = [];

// What the labs run comes from Debian packages and Go modules: minutes on a machine that never built it, nothing
// afterwards. It is made beside the other stages. Where it cannot be, tests say so in their names.
const made = isRoot
  ? {
      lab: underWay(stage('files of the machines', labVerb('build'))),
      kubernetes: hasProgram('go')
        ? underWay(stage('binaries of Kubernetes', labVerb('kubernetes', 'build')))
        : undefined,
    }
  : {};
const allMade = Promise.all(Object.values(made).map((one) => one?.end));
const checks = stages.map(({ name, command }) => ({ name, argv: ['npx', '--no-install', ...command] }));
checks.push({ name: 'build', argv: [process.execPath, 'scripts/build.mjs'] });
let sound = true;
await inLanes(2, checks, async ({ name, argv }) => {
  sound = (await stage(name, argv)) && sound;
});
if (sound || process.env.AZEKURA_TEST_ALL) {
  add('unit', await runVitest('unit'));
  for (const major of otherMajors) await onOtherNode(major);
  const jobs = testJobs().map((job) => ({ ...job, after: made[job.project], holdOutput: job.project !== 'system' }));
  const runJob = async (job) => {
    console.log(`— ${job.name}`);
    add(job.name, await runVitest(job.project, job));
  };
  await inLanes(lanes, jobs, runJob, allMade);
}
await allMade;
for (const time of times) console.log(time);
for (const { name, seconds } of fileSeconds.sort((a, b) => b.seconds - a.seconds).slice(0, slowest))
  console.log(`${seconds} s: ${name}`);
for (const skip of skips) console.log(`skipped: ${skip}`);
for (const failure of failures) console.log(`failed: ${failure}`);
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
process.exit(totals.failed === 0 ? 0 : 1);

function labVerb(...verb) {
  return ['npx', '--no-install', 'tsx', 'lab/main.ts', ...verb];
}

/** Counts as one test, whose output is printed at its end. @returns whether it succeeded */
async function stage(name, argv) {
  const startedMs = performance.now();
  const succeeded = (await start(argv, { holdOutput: true })) === 0;
  times.push(`${name}: ${Math.round((performance.now() - startedMs) / 1000)} s`);
  if (succeeded) totals.passed += 1;
  else {
    totals.failed += 1;
    failures.push(name);
  }
  return succeeded;
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

function add(name, outcome) {
  totals.passed += outcome.passed;
  totals.failed += outcome.failed;
  totals.skipped += outcome.skips.length;
  failures.push(...outcome.failures);
  skips.push(...outcome.skips);
  times.push(`${name}: ${outcome.passed} passed, ${outcome.failed} failed, ${outcome.seconds} s`);
  for (const [file, seconds] of Object.entries(outcome.files)) fileSeconds.push({ name: file, seconds });
}
