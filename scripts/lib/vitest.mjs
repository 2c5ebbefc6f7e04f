// One vitest project as a process of its own, and what became of its tests.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root } from './environment.mjs';

const unfinished = new Set(['pending', 'skipped', 'todo']);

/**
 * Runs one vitest project and prints what it says, at once or, held back, when it has ended. A project that ran no test,
 * or that failed without a failed test, is itself a failure.
 *
 * @param {string} project
 * @param {object} [options]
 * @param {{ node: string, version: string }} [options.other] the Node that runs it, when it is not this one
 * @param {boolean} [options.holdOutput] because another project is printing
 * @param {string} [options.shard] only this part of its files: "1/2" is the first of two
 * @returns {Promise<{ passed: number, failed: number, skips: string[], failures: string[], seconds: number }>}
 */
export async function runVitest(project, { other, holdOutput = false, shard } = {}) {
  const where = other ? ` on Node ${other.version}` : '';
  const folder = mkdtempSync(path.join(tmpdir(), 'azekura-test-'));
  const report = path.join(folder, 'report.json');
  const started = performance.now();
  const status = await runProject(project, report, { other, holdOutput, shard });
  const seconds = Math.round((performance.now() - started) / 1000);
  const results = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : undefined;
  rmSync(folder, { recursive: true });
  const outcome = { passed: 0, failed: 0, skips: [], failures: [], seconds };
  for (const file of results?.testResults ?? []) {
    for (const test of file.assertionResults) {
      const name = `${path.basename(file.name)}${where}: ${test.fullName}`;
      if (unfinished.has(test.status)) outcome.skips.push(name);
      else if (test.status === 'failed') outcome.failures.push(`${name} (${reason(test)})`);
    }
  }
  outcome.passed = results?.numPassedTests ?? 0;
  outcome.failed = results?.numFailedTests ?? 0;
  if (!results?.numTotalTests || (status !== 0 && outcome.failed === 0)) {
    outcome.failed += 1;
    outcome.failures.push(`project ${project}${where} as a whole`);
  }
  return outcome;
}

/** The first line of why a test failed: the whole stands far above the summary. */
function reason({ failureMessages }) {
  return failureMessages?.[0]?.split('\n')[0].slice(0, 300) ?? 'no reason given';
}

/** Resolves with the exit code once the process has ended and its output is printed. */
function runProject(project, report, { other, holdOutput, shard }) {
  const [program, ...first] = other
    ? [other.node, 'node_modules/vitest/vitest.mjs']
    : ['npx', '--no-install', 'vitest'];
  const part = shard === undefined ? [] : [`--shard=${shard}`];
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const child = spawn(program, [...first, 'run', '--project', project, ...part, ...reporters], {
    cwd: root,
    stdio: ['ignore', holdOutput ? 'pipe' : 'inherit', holdOutput ? 'pipe' : 'inherit'],
  });
  const held = [];
  child.stdout?.on('data', (chunk) => held.push(chunk));
  child.stderr?.on('data', (chunk) => held.push(chunk));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      for (const chunk of held) process.stdout.write(chunk);
      resolve(code ?? 1);
    });
  });
}
