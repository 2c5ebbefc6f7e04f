import { mkdtempSync, rmSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { cutAtRandom, type Tally } from '../lab/power-cut/cuts.ts';
import { type HostFilesystem, recordHistory } from '../lab/power-cut/scenario.ts';

const long = process.env.AZEKURA_LONG === '1';
const seed = Number(process.env.AZEKURA_SEED ?? Date.now() % 2 ** 31);
const directories: string[] = [];

afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

async function cutAndCount(options: {
  hostFilesystem: HostFilesystem;
  barriers: boolean;
  seconds: number;
  cuts: number;
}): Promise<Tally> {
  const directory = mkdtempSync('/dev/shm/azekura-cut-');
  directories.push(directory);
  const history = await recordHistory({ ...options, directory, seed });
  const tally = await cutAtRandom({
    history,
    directory,
    hostFilesystem: options.hostFilesystem,
    cuts: options.cuts,
    seed,
  });
  console.log(
    `${options.hostFilesystem} host, barriers ${options.barriers ? 'on' : 'off'}, seed ${seed}: ${JSON.stringify({ ...tally, problems: tally.problems.length })}`,
  );
  rmSync(directory, { recursive: true });
  return tally;
}

describe('power cut', () => {
  for (const hostFilesystem of ['ext4', 'xfs'] as const) {
    it(`loses nothing that was acknowledged, with the pool image on ${hostFilesystem}`, {
      timeout: long ? 3_600_000 : 170_000,
    }, async () => {
      const tally = await cutAndCount({
        hostFilesystem,
        barriers: true,
        seconds: long ? 60 : 8,
        cuts: long ? 300 : 26,
      });
      expect(tally.problems).toEqual([]);
      expect(tally.cuts).toBe(long ? 300 : 26);
      // A run that acknowledged little or dropped nothing would prove nothing.
      expect(tally.records).toBeGreaterThan(1_000);
      expect(tally.snapshotsMounted).toBeGreaterThan(10);
      expect(tally.operations).toBeGreaterThan(10);
      expect(tally.storeWrites).toBeGreaterThan(10);
      // What flushes after each write leaves little to drop: a block a cut is enough to lose a record, as the last test shows.
      expect(tally.droppedBlocks).toBeGreaterThan(tally.cuts);
    });
  }

  it('sees losses when the volume is mounted without barriers', { timeout: long ? 600_000 : 120_000 }, async () => {
    const tally = await cutAndCount({ hostFilesystem: 'ext4', barriers: false, seconds: 6, cuts: 12 });
    expect(tally.problems.filter((problem) => problem.startsWith('ext4 volume:'))).not.toEqual([]);
  });
});
