import path from 'node:path';
import { expect } from 'vitest';
import type { Machine } from '../../lab/machines/machine.ts';

const root = path.resolve(import.meta.dirname, '../..');
const deadlineMs = 20 * 60_000;

/**
 * Runs a test file of inside/ in a machine, which needs 768M of memory or more and a build; what it prints is shown when
 * it fails.
 *
 * @param file its name below inside/
 * @param disks devices of the machine that it may spoil, as AZEKURA_LAB_DISKS
 * @param env further variables
 */
export async function runInside(
  machine: Machine,
  file: string,
  disks: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const config = 'test/machines/inside/vitest.config.ts';
  // Without npx, which takes a machine seconds to start.
  const argv = [
    'node',
    'node_modules/vitest/vitest.mjs',
    'run',
    '--configLoader',
    'runner',
    '--config',
    config,
    '--reporter=verbose',
  ];
  const { exitCode, stdout, stderr } = await machine.run([...argv, `test/machines/inside/${file}`], {
    cwd: root,
    env: { ...env, AZEKURA_LAB_DISKS: disks.join(',') },
    deadlineMs,
  });
  const said = `${stdout}\n${stderr}`.slice(-20_000);
  expect(exitCode, said).toBe(0);
  expect(said).toMatch(/Tests.*\d passed/);
}
