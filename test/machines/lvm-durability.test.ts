import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt } from '../../lab/daemon.ts';
import {
  type Ack,
  acknowledgedBy,
  CrashReplay,
  type Lab,
  type Machine,
  MachinePostgres,
  type Survivors,
  startMachines,
} from '../../lab/machines/index.ts';
import { azekuraIn } from './azekura.ts';

/*
 * Whether what PostgreSQL acknowledged on a thin volume is still on the disk after a power cut that takes everything that
 * was never flushed: the disk's log is replayed up to moments at which something had just been acknowledged.
 */
const seeds = process.env.AZEKURA_LONG === '1' ? Array.from({ length: 20 }, (_, index) => index + 1) : [1, 2, 3];
let lab: Lab;
let machine: Machine;
let scratch: string;

beforeAll(async () => {
  ensureBuilt();
  lab = await startMachines({ memory: '768M', disks: [] });
  machine = lab.machine(1);
  scratch = mkdtempSync(path.join(tmpdir(), 'azekura-lvm-crash-'));
});
afterAll(async () => {
  await lab.down();
  rmSync(scratch, { recursive: true, force: true });
});

/** Runs PostgreSQL on a volume, cuts the power, and looks at the disk as several cuts would have left it. */
async function survivors(
  barriers: boolean,
): Promise<{ readonly acks: readonly Ack[]; readonly found: readonly Survivors[] }> {
  const disk = await machine.addDisk({ size: '1G', log: true });
  const azekura = azekuraIn(machine);
  await azekura.up();
  await azekura.run('pool', 'add', 'main', disk.device, '--engine', 'lvm');
  await azekura.run('class', 'create', 'lvm', '--engine', 'lvm', '--filesystem', 'ext4', '--default');
  await azekura.run('volume', 'create', 'db', '--size', '500Mi');
  await azekura.run('volume', 'mount', 'db', '/mnt/db');
  if (!barriers)
    await machine.sh(
      'mount -o remount,barrier=0 /mnt/db; grep barrier=0 /proc/self/mountinfo || grep nobarrier /proc/self/mountinfo',
    );
  const group = await machine.sh('vgs --noheadings -o name | tr -d " "');
  const volume = await machine.sh('lvs --noheadings -o name -S "name=~^azk_v" | tr -d " "');
  const server = new MachinePostgres(machine, '/mnt/db/pg');
  await server.initialise();
  const writer = server.insertNumbers([disk]);
  await writer.reach(150);
  await machine.powerCut();
  const acks = await writer.end();
  await machine.boot();
  // The copies have the ids of the original: it must not be there.
  await disk.pull();
  const folder = mkdtempSync(path.join(scratch, 'run-'));
  const replay = new CrashReplay([disk], folder);
  const found: Survivors[] = [];
  for (const [index, seed] of seeds.entries()) {
    const instant = acks[Math.floor(((index + 1) * acks.length) / seeds.length) - 1]?.instant ?? replay.end();
    const crashed = replay.crash(instant, seed);
    const image = await machine.addDisk({ image: crashed.images[0] ?? '' });
    found.push(await look(group, volume, acknowledgedBy(acks, instant)));
    await image.remove();
    if (!barriers && (found.at(-1)?.missing ?? 0) > 0) break;
  }
  replay.close();
  await disk.remove();
  await machine.powerCut();
  await machine.boot();
  return { acks, found };
}

/** With stock tools alone, as after a disaster. */
async function look(group: string, volume: string, promised: readonly Ack[]): Promise<Survivors> {
  const all = { ok: 0, wrong: 0, missing: promised.length };
  const device = `/dev/${group}/${volume}`;
  try {
    await machine.sh(`lvchange -qay -K ${group}/${volume}; mkdir -p /mnt/look; mount ${device} /mnt/look`, {
      deadlineMs: 180_000,
    });
  } catch {
    await machine.sh(`vgchange -qan ${group} || true`);
    return all;
  }
  const server = new MachinePostgres(machine, '/mnt/look/pg');
  try {
    await server.start();
    return await server.verify(promised);
  } catch {
    return all;
  } finally {
    await server.stop().catch(() => undefined);
    await machine.sh(`umount /mnt/look; vgchange -qan ${group}`, { deadlineMs: 180_000 });
  }
}

describe('PostgreSQL on a thin volume', { timeout: 900_000 }, () => {
  it('loses nothing that it acknowledged', async () => {
    const { acks, found } = await survivors(true);
    expect(acks.length).toBeGreaterThanOrEqual(150);
    expect(found).toHaveLength(seeds.length);
    for (const { ok, missing, wrong } of found) {
      expect({ missing, wrong }).toEqual({ missing: 0, wrong: 0 });
      expect(ok).toBeGreaterThan(0);
    }
  });

  it('loses some without barriers, which shows that the test sees losses', async () => {
    const { found } = await survivors(false);
    expect(found.reduce((sum, { missing }) => sum + missing, 0)).toBeGreaterThan(0);
  });
});
