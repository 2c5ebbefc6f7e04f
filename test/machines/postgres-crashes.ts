/** PostgreSQL on a thin volume, encrypted or not, and what a power cut that takes all that was never flushed leaves of it. */
import { mkdtempSync } from 'node:fs';
import path from 'node:path';
import {
  type Ack,
  acknowledgedBy,
  CrashReplay,
  type Machine,
  MachinePostgres,
  type Survivors,
} from '../../lab/machines/index.ts';
import { azekuraIn } from './azekura.ts';

/** Cuts of each run. */
export const seeds = process.env.AZEKURA_LONG === '1' ? Array.from({ length: 20 }, (_, index) => index + 1) : [1, 2, 3];
const keyFile = '/run/keys/db';

export interface Scene {
  /** Without barriers the file system never flushes: what must lose. */
  readonly barriers: boolean;
  /** Encrypts the volume with this key. */
  readonly key?: string;
}

interface Crashed {
  readonly group: string;
  readonly volume: string;
  readonly promised: readonly Ack[];
  readonly sealed: boolean;
}

async function putKey(machine: Machine, key: string): Promise<void> {
  const line = 'mkdir -p /run/keys; umask 377; rm -f "$1"; cat >"$1"';
  await machine.exec(['sh', '-c', line, '-', keyFile], { input: key });
}

/** Runs PostgreSQL on a volume, cuts the power, and looks at the disk as several cuts would have left it. */
export async function survivors(
  machine: Machine,
  scratch: string,
  { barriers, key }: Scene,
): Promise<{ readonly acks: readonly Ack[]; readonly found: readonly Survivors[] }> {
  const disk = await machine.addDisk({ size: '1G', log: true });
  const azekura = azekuraIn(machine);
  await azekura.up();
  await azekura.run('pool', 'add', 'main', disk.device, '--engine', 'lvm');
  await azekura.run('class', 'create', 'lvm', '--engine', 'lvm', '--filesystem', 'ext4', '--default');
  if (key !== undefined) await putKey(machine, key);
  const sealed = key === undefined ? [] : ['--key-file', keyFile];
  await azekura.run('volume', 'create', 'db', '--size', '500Mi', ...sealed);
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
  if (key !== undefined) await putKey(machine, key);
  // The copies have the ids of the original: it must not be there.
  await disk.pull();
  const folder = mkdtempSync(path.join(scratch, 'run-'));
  const replay = new CrashReplay([disk], folder);
  const found: Survivors[] = [];
  for (const [index, seed] of seeds.entries()) {
    const instant = acks[Math.floor(((index + 1) * acks.length) / seeds.length) - 1]?.instant ?? replay.end();
    const crashed = replay.crash(instant, seed);
    const image = await machine.addDisk({ image: crashed.images[0] ?? '' });
    const promised = acknowledgedBy(acks, instant);
    found.push(await look(machine, { group, volume, promised, sealed: key !== undefined }));
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
async function look(machine: Machine, { group, volume, promised, sealed }: Crashed): Promise<Survivors> {
  const all = { ok: 0, wrong: 0, missing: promised.length };
  const stored = `/dev/${group}/${volume}`;
  const device = sealed ? '/dev/mapper/look' : stored;
  const open = sealed ? `cryptsetup open --key-file ${keyFile} ${stored} look;` : '';
  const close = sealed ? 'cryptsetup close look;' : '';
  try {
    await machine.sh(`lvchange -qay -K ${group}/${volume}; ${open} mkdir -p /mnt/look; mount ${device} /mnt/look`, {
      deadlineMs: 180_000,
    });
  } catch {
    await machine.sh(`${close.replace(';', ' || true;')} vgchange -qan ${group} || true`);
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
    await machine.sh(`umount /mnt/look; ${close} vgchange -qan ${group}`, { deadlineMs: 180_000 });
  }
}
