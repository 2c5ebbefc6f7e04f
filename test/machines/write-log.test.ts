import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type Ack,
  acknowledgedBy,
  CrashReplay,
  type Instant,
  type Lab,
  type Machine,
  type MachineDisk,
  MachinePostgres,
  type Survivors,
  startMachines,
  verifyFiles,
  writeFiles,
} from '../../lab/machines/index.ts';

const seeds = [1, 2, 3];
const mkfs = 'mkfs.ext4 -q -J size=4 -E lazy_journal_init=1';
let lab: Lab;
let machine: Machine;
let disk: MachineDisk;
let scratch: string;

beforeAll(async () => {
  lab = await startMachines({ disks: [], memory: '384M' });
  machine = lab.machine(1);
});
afterAll(() => lab.down());
beforeEach(async () => {
  scratch = mkdtempSync(path.join(tmpdir(), 'azekura-crash-'));
  disk = await machine.addDisk({ size: '512M', log: true });
});
afterEach(async () => {
  for (const each of machine.disks) await each.remove();
  rmSync(scratch, { recursive: true, force: true });
});

const sum = (all: readonly Survivors[], part: keyof Survivors) => all.reduce((total, each) => total + each[part], 0);

/** So many moments between two acks are tried for one at which the cut drops something. */
const momentsPerAck = 8;

/** A cut at an ack or soon after it, if possible one that drops something: right at an ack all may have been flushed. */
function cutAfter(replay: CrashReplay, from: Instant, to: Instant, seed: number) {
  for (let moment = 0; ; moment++) {
    const instant = from.map((position, index) =>
      Math.floor(position + (((to[index] ?? position) - position) * moment) / momentsPerAck),
    );
    const crashed = replay.crash(instant, seed * (momentsPerAck + 1) + moment);
    const lost = crashed.pendingBlocks - crashed.survivingBlocks;
    if (lost > 0 || moment === momentsPerAck) return { instant, lost, image: crashed.images[0] ?? '' };
  }
}

/** Crashes after several acks, the last among them, and looks what a machine finds on each image. */
async function survivorsOf(
  acks: readonly Ack[],
  look: (device: string, promised: readonly Ack[]) => Promise<Survivors>,
  until: (found: Survivors) => boolean = () => false,
): Promise<{ readonly found: readonly Survivors[]; readonly lostBlocks: number }> {
  const replay = new CrashReplay([disk], scratch);
  const found: Survivors[] = [];
  let lostBlocks = 0;
  for (const [index, seed] of seeds.entries()) {
    const at = Math.floor(((index + 1) * acks.length) / seeds.length) - 1;
    const from = acks[at]?.instant ?? replay.end();
    const cut = cutAfter(replay, from, acks[at + 1]?.instant ?? replay.end(), seed);
    lostBlocks += cut.lost;
    const image = await machine.addDisk({ image: cut.image });
    const seen = await look(image.device, acknowledgedBy(acks, cut.instant));
    found.push(seen);
    await image.remove();
    if (until(seen)) break;
  }
  replay.close();
  return { found, lostBlocks };
}

describe('a disk with a log', () => {
  it('shows what a power cut alone cannot: the unflushed write is lost, the flushed one is not', async () => {
    await machine.sh(`
      yes FLUSHED | dd of=/dev/nbd0 bs=4k count=1 iflag=fullblock oflag=direct conv=fsync,notrunc
      yes VOLATILE | dd of=/dev/nbd0 bs=4k count=1 seek=256 iflag=fullblock oflag=direct conv=notrunc`);
    await machine.powerCut();
    await machine.boot();
    const heads = (device: string) =>
      machine.sh(
        `for at in 0 256; do dd if=${device} bs=4k skip=$at count=1 status=none | tr -d '\\0' | head -c 8; echo; done`,
      );
    expect(await heads('/dev/nbd0')).toBe('FLUSHED\n\nVOLATILE');
    const replay = new CrashReplay([disk], scratch);
    const outcomes = new Set<string>();
    for (let seed = 1; seed <= 8; seed++) {
      const crashed = replay.crash(replay.end(), seed);
      const image = await machine.addDisk({ image: crashed.images[0] ?? '' });
      outcomes.add(await heads(image.device));
      await image.remove();
    }
    replay.close();
    expect(outcomes).toEqual(new Set(['FLUSHED', 'FLUSHED\n\nVOLATILE']));
  });

  /** Writes files under ext4, cuts the power, and replays. */
  async function files(mountOptions: string) {
    await machine.sh(`${mkfs} /dev/nbd0; mkdir -p /mnt/w; mount -o ${mountOptions} /dev/nbd0 /mnt/w; sync`);
    const writer = writeFiles(machine, '/mnt/w', [disk]);
    await writer.reach(60);
    await machine.powerCut();
    const acks = await writer.end();
    await machine.boot();
    await machine.sh('mkdir -p /mnt/w; mount -o ro /dev/nbd0 /mnt/w');
    const plain = await verifyFiles(machine, '/mnt/w', acks);
    await machine.sh('umount /mnt/w');
    const replayed = await survivorsOf(acks, async (device, promised) => {
      const mounted = await machine.run(['mount', device, '/mnt/w']);
      if (mounted.exitCode !== 0) return { ok: 0, wrong: 0, missing: promised.length };
      const result = await verifyFiles(machine, '/mnt/w', promised);
      await machine.sh('umount /mnt/w');
      return result;
    });
    return { acks, plain, ...replayed };
  }

  it('keeps every file that ext4 acknowledged, whatever unflushed writes are dropped, torn or reordered', async () => {
    const { acks, plain, found, lostBlocks } = await files('barrier');
    expect(plain).toEqual({ ok: acks.length, wrong: 0, missing: 0 });
    expect(sum(found, 'ok')).toBeGreaterThan(acks.length);
    expect(sum(found, 'missing') + sum(found, 'wrong')).toBe(0);
    expect(lostBlocks).toBeGreaterThan(0);
  });

  it('loses acknowledged files when ext4 sends no barriers, which a power cut alone does not show', async () => {
    const { acks, plain, found } = await files('nobarrier');
    expect(plain).toEqual({ ok: acks.length, wrong: 0, missing: 0 });
    expect(sum(found, 'missing') + sum(found, 'wrong')).toBeGreaterThan(0);
  });

  /** The same with PostgreSQL: numbers committed one by one. */
  async function numbers(ignoreFlush: boolean, until?: (found: Survivors) => boolean) {
    await machine.sh(`${mkfs} /dev/nbd0; mkdir -p /mnt/w; mount /dev/nbd0 /mnt/w`);
    const postgres = new MachinePostgres(machine, '/mnt/w/pg');
    await postgres.initialise();
    await disk.ignoreFlush(ignoreFlush);
    const writer = postgres.insertNumbers([disk]);
    await writer.reach(60);
    await machine.powerCut();
    const acks = await writer.end();
    await machine.boot();
    await machine.sh('mkdir -p /mnt/w');
    return survivorsOf(
      acks,
      async (device, promised) => {
        const nothing = { ok: 0, wrong: 0, missing: promised.length };
        if ((await machine.run(['mount', device, '/mnt/w'])).exitCode !== 0) return nothing;
        try {
          await postgres.start();
        } catch {
          await machine.sh('umount /mnt/w');
          return nothing;
        }
        const result = await postgres.verify(promised);
        await postgres.stop();
        await machine.sh('umount /mnt/w');
        return result;
      },
      until,
    );
  }

  it('keeps every transaction that PostgreSQL committed', async () => {
    const { found } = await numbers(false);
    expect(sum(found, 'ok')).toBeGreaterThan(60);
    expect(sum(found, 'missing')).toBe(0);
  });

  it('loses committed transactions when the disk lies about flushes', async () => {
    const { found } = await numbers(true, ({ missing }) => missing > 0);
    expect(sum(found, 'missing')).toBeGreaterThan(0);
  });
});
