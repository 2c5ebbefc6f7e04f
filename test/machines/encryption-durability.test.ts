import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt } from '../../lab/daemon.ts';
import { type Lab, startMachines } from '../../lab/machines/index.ts';
import { seeds, survivors } from './postgres-crashes.ts';

/*
 * The same as lvm-durability.test.ts with LUKS2 between file system and thin volume: flushes must pass through it.
 * Twenty cuts, four minutes: by hand.
 */
const long = process.env.AZEKURA_LONG === '1';
let lab: Lab;
let scratch: string;
const key = randomBytes(36).toString('base64');

beforeAll(async () => {
  if (!long) return;
  ensureBuilt();
  lab = await startMachines({ memory: '768M', disks: [] });
  scratch = mkdtempSync(path.join(tmpdir(), 'azekura-luks-crash-'));
});
afterAll(async () => {
  if (!long) return;
  await lab.down();
  rmSync(scratch, { recursive: true, force: true });
});

describe.skipIf(!long)(
  `PostgreSQL on an encrypted volume${long ? '' : ' (skipped: AZEKURA_LONG=1 runs it)'}`,
  { timeout: 900_000 },
  () => {
    it('loses nothing that it acknowledged', async () => {
      const { acks, found } = await survivors(lab.machine(1), scratch, { barriers: true, key });
      expect(acks.length).toBeGreaterThanOrEqual(150);
      expect(found).toHaveLength(seeds.length);
      for (const { ok, missing, wrong } of found) {
        expect({ missing, wrong }).toEqual({ missing: 0, wrong: 0 });
        expect(ok).toBeGreaterThan(0);
      }
    });

    it('loses some without barriers, which shows that the test sees losses', async () => {
      const { found } = await survivors(lab.machine(1), scratch, { barriers: false, key });
      expect(found.reduce((sum, { missing }) => sum + missing, 0)).toBeGreaterThan(0);
    });
  },
);
