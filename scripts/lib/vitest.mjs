// One vitest project, or some of its files, as a process of its own, and what became of its tests.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { start } from './process.mjs';

const unfinished = new Set(['pending', 'skipped', 'todo']);

/**
 * Runs one vitest project and prints what it says, at once or, held back, when it has ended. A project that ran no test,
 * or that failed without a failed test, is itself a failure.
 *
 * @param {string} project
 * @param {object} [options]
 * @param {{ node: string, version: string }} [options.other] the Node that runs it, when it is not this one
 * @param {boolean} [options.holdOutput] because another project is printing
 * @param {readonly string[]} [options.files] only these
 * @returns {Promise<{ passed: number, failed: number, skips: string[], failures: string[], seconds: number, files: Record<string, number> }>}
 *   `files`: the seconds of each, with its hooks
 */
export async function runVitest(project, { other, holdOutput = false, files = [] } = {}) {
  const where = other ? ` on Node ${other.version}` : '';
  const folder = mkdtempSync(path.join(tmpdir(), 'azekura-test-'));
  const report = path.join(folder, 'report.json');
  const secondsFile = path.join(folder, 'seconds.json');
  const started = performance.now();
  const program = other ? [other.node, 'node_modules/vitest/vitest.mjs'] : ['npx', '--no-install', 'vitest'];
  const reporters = ['default', 'json', './scripts/lib/seconds-reporter.mjs'].map((name) => `--reporter=${name}`);
  const status = await start(
    [...program, 'run', '--project', project, ...reporters, `--outputFile.json=${report}`, ...files],
    { holdOutput, env: { ...process.env, AZEKURA_TEST_SECONDS: secondsFile } },
  );
  const seconds = Math.round((performance.now() - started) / 1000);
  const [results, ofFiles] = [report, secondsFile].map((file) =>
    existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined,
  );
  rmSync(folder, { recursive: true });
  const outcome = { passed: 0, failed: 0, skips: [], failures: [], seconds, files: ofFiles ?? {} };
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
    outcome.failures.push([`project ${project}${where} as a whole`, ...files].join(' '));
  }
  return outcome;
}

/** The first line of why a test failed: the whole stands far above the summary. */
function reason({ failureMessages }) {
  return failureMessages?.[0]?.split('\n')[0].slice(0, 300) ?? 'no reason given';
}
