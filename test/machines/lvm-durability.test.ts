import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt } from '../../lab/daemon.ts';
import { type Lab, startMachines } from '../../lab/machines/index.ts';
import { seeds, survivors } from './postgres-crashes.ts';

/*
 * Whether what PostgreSQL acknowledged on a thin volume is still on the disk after a power cut that takes everything that
 * was never flushed: the disk's log is replayed up to moments at which something had just been acknowledged. With LUKS2
 * between file system and volume flushes must pass through that, too.
 */
let lab: Lab;
let scratch: string;

beforeAll(async () => {
  ensureBuilt();
  lab = await startMachines({ memory: '768M', disks: [] });
  scratch = mkdtempSync(path.join(tmpdir(), 'azekura-lvm-crash-'));
});
afterAll(async () => {
  await lab.down();
  rmSync(scratch, { recursive: true, force: true });
});

describe.each([
  { on: 'a thin volume', sealed: {} },
  { on: 'an encrypted thin volume', sealed: { key: randomBytes(36).toString('base64') } },
])('PostgreSQL on $on', { timeout: 900_000 }, ({ sealed }) => {
  it('loses nothing that it acknowledged', async () => {
    const { acks, found } = await survivors(lab.machine(1), scratch, { barriers: true, ...sealed });
    expect(acks.length).toBeGreaterThanOrEqual(150);
    expect(found).toHaveLength(seeds.length);
    for (const { ok, missing, wrong } of found) {
      expect({ missing, wrong }).toEqual({ missing: 0, wrong: 0 });
      expect(ok).toBeGreaterThan(0);
    }
  });

  it('loses some without barriers, which shows that the test sees losses', async () => {
    const { found } = await survivors(lab.machine(1), scratch, { barriers: false, ...sealed });
    expect(found.reduce((sum, { missing }) => sum + missing, 0)).toBeGreaterThan(0);
  });
});
