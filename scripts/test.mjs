// `npm test`: everything that CI runs, complete on a fresh clone. Ends with "N passed, N failed, N skipped"; every
// skipped test is named with its reason before that line.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  fail,
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

for (const stage of stages) stageResult(stage.name, run('npx', ['--no-install', ...stage.command]));
stageResult('build', run(process.execPath, ['scripts/build.mjs']));
if (totals.failed === 0 || process.env.AZEKURA_TEST_ALL) {
  vitest('unit');
  for (const major of otherMajors) onOtherNode(major);
  // Real Kubernetes from Go modules: minutes on a machine that never built it, nothing afterwards. Where that cannot be,
  // its tests say so in their names.
  if (process.getuid?.() === 0 && hasProgram('go')) {
    const build = ['tsx', 'lab/main.ts', 'kubernetes', 'build'];
    stageResult('binaries of the Kubernetes lab', run('npx', ['--no-install', ...build]));
  }
  vitest('system');
  vitest('lab');
  vitest('kubernetes');
}
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
function onOtherNode(major) {
  const found = otherNode(major);
  if ('problem' in found) {
    totals.skipped += 1;
    skips.push(`unit tests on Node ${major} (skipped: ${found.problem})`);
    return;
  }
  console.log(`Unit tests on Node ${found.version}`);
  vitest('unit', found);
}

/**
 * Runs one vitest project and adds its counts; a project that ran no test counts as a failure.
 *
 * @param {string} project
 * @param {{ node: string, version: string }} [other] the Node that runs it, when it is not this one
 */
function vitest(project, other) {
  const where = other ? ` on Node ${other.version}` : '';
  const folder = mkdtempSync(path.join(tmpdir(), 'azekura-test-'));
  const report = path.join(folder, 'report.json');
  const [program, ...first] = other
    ? [other.node, 'node_modules/vitest/vitest.mjs']
    : ['npx', '--no-install', 'vitest'];
  const status = run(program, [
    ...first,
    'run',
    '--project',
    project,
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ]);
  if (!existsSync(report)) fail(`vitest wrote no report for the project ${project}${where}`, 'read its output above');
  const results = JSON.parse(readFileSync(report, 'utf8'));
  rmSync(folder, { recursive: true });
  totals.passed += results.numPassedTests;
  totals.failed += results.numFailedTests;
  for (const file of results.testResults) {
    for (const test of file.assertionResults) {
      const name = `${path.basename(file.name)}${where}: ${test.fullName}`;
      if (test.status === 'pending' || test.status === 'skipped' || test.status === 'todo') {
        totals.skipped += 1;
        skips.push(name);
      } else if (test.status === 'failed') failures.push(name);
    }
  }
  if (results.numTotalTests === 0 || (status !== 0 && results.numFailedTests === 0)) {
    totals.failed += 1;
    failures.push(`project ${project}${where} as a whole`);
  }
}
