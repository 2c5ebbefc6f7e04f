import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import type { Engine, PoolRef, VolumeIdentity, VolumeRef } from '../../../src/engines/contract.ts';
import { encrypted } from '../../../src/engines/encrypted/index.ts';
import { lvmEngine } from '../../../src/engines/lvm/engine.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { KeyedLock } from '../../../src/lib/keyed-lock.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { makeSteps } from '../../../src/lib/steps.ts';
import { machineHost } from './parts/host.ts';

/*
 * A program of a machine, bundled: `bench-lvm WORKER DISK VOLUMES ROUNDS`. Measures the engine against LVM's own commands in
 * turns, and prints JSON: medians in milliseconds, and fio's results for a volume and for a logical volume made by hand.
 */
const [, , worker = '', disk = '', volumeCount = '500', rounds = '9'] = process.argv;
const most = Number(volumeCount);
const host = machineHost(worker);
const sizeBytes = 16 * 2 ** 20;
const blank: PoolRef = {
  name: 'bench',
  source: { kind: 'disks', disks: [disk] },
  reservePercent: 5,
  acceptNoJournal: true,
  trial: false,
};
const deps = {
  host,
  clock: systemClock,
  log: silentLogger,
  steps: makeSteps(),
  locks: new KeyedLock(),
  nodeName: 'bench',
  runtimeDir: '/run/bench',
};
const engine = lvmEngine.create(deps);
const key = { bytes: randomBytes(32) };
const sealed = encrypted(lvmEngine, { keysOf: async () => [key], discards: true }).create(deps);
const { poolId, path } = await engine.pools.open(blank);
const pool: PoolRef = { ...blank, poolId };
const group = path.slice('/dev/'.length);
mkdirSync('/run/bench', { recursive: true });

let made = 0;
const identity = (volumeId: string, bytes: number): VolumeIdentity => ({
  name: `bench-${volumeId}`,
  uid: '3b1f6b0e-7d43-4c67-9d31-0d6f2a1c9a56',
  volumeId,
  sizeBytes: bytes,
  className: 'c',
  mode: 'block',
  provisioning: 'thin',
  createdAt: '2026-01-01T00:00:00.000Z',
  generation: 1,
});
async function create(bytes = sizeBytes, by: Engine = engine): Promise<VolumeRef> {
  const volume = { pool, volumeId: `b${made++}` };
  await by.volumes.create({ volume, identity: identity(volume.volumeId, bytes), parameters: {} });
  return volume;
}
async function snapshot(volume: VolumeRef): Promise<void> {
  const ref = { ...volume, snapshotId: `s${made++}` };
  await engine.snapshots?.prepare(ref);
  await engine.snapshots?.cut(ref);
  await engine.snapshots?.commit(ref, {
    name: ref.snapshotId,
    uid: '3b1f6b0e-7d43-4c67-9d31-0d6f2a1c9a57',
    snapshotId: ref.snapshotId,
    volumeId: volume.volumeId,
    sizeBytes,
    cutAt: '2026-01-01T00:00:00.000Z',
    consistency: 'crash',
  });
}
/** As somebody who knows LVM would: the same kind of volume, the same switches against waiting for udev. */
const config = 'activation{udev_sync=0 udev_rules=0 monitoring=0} backup{backup=0 archive=0}';
const bare = (...words: readonly string[]) =>
  host.exec(['lvm', words[0] ?? '', '--config', config, ...words.slice(1)], { deadlineMs: 120_000 });
const bareCreate = (name: string) =>
  bare(
    'lvcreate',
    '-qqy',
    '--type',
    'thin',
    '-V',
    `${sizeBytes}b`,
    '--thinpool',
    'azk_pool',
    '-an',
    '-ky',
    '-n',
    name,
    group,
  );
/** With the tag that says that it is complete: the engine's second command. */
async function bareSnapshot(origin: string, name: string): Promise<void> {
  await bare('lvcreate', '-qqy', '-s', '-an', '-ky', '-n', name, '--addtag', 'state=cut', `${group}/${origin}`);
  await bare('lvchange', '-qqy', '--deltag', 'state=cut', '--addtag', 'state=ready', `${group}/${name}`);
}
const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

async function measureCommands() {
  const ours: Record<'create' | 'snapshot' | 'observe', number[]> = { create: [], snapshot: [], observe: [] };
  const theirs: Record<'create' | 'snapshot', number[]> = { create: [], snapshot: [] };
  for (let round = 0; round < Number(rounds); round++) {
    let volume: VolumeRef | undefined;
    ours.create.push(await timed(async () => (volume = await create())));
    const name = `hand${made++}`;
    theirs.create.push(await timed(() => bareCreate(name)));
    const target = volume as VolumeRef;
    ours.snapshot.push(await timed(() => snapshot(target)));
    theirs.snapshot.push(await timed(() => bareSnapshot(name, `${name}s`)));
    ours.observe.push(await timed(() => engine.volumes.observe(target)));
    await engine.volumes.delete(target);
    await bare('lvremove', '-qqfy', `${group}/${name}s`, `${group}/${name}`);
  }
  return {
    create: median(ours.create),
    bareCreate: median(theirs.create),
    snapshot: median(ours.snapshot),
    bareSnapshot: median(theirs.snapshot),
    observe: median(ours.observe),
  };
}

interface FioJobs {
  readonly jobs: readonly { readonly read: { readonly iops: number }; readonly write: { readonly iops: number } }[];
}
function fio(device: string, kind: string, depth: number): number {
  const bytes = kind.startsWith('rand') ? '4k' : '256k';
  const argv = [
    '--name=b',
    `--filename=${device}`,
    `--rw=${kind}`,
    `--bs=${bytes}`,
    `--iodepth=${depth}`,
    '--direct=1',
  ];
  const engineName = depth === 1 ? 'psync' : 'libaio';
  const out = execFileSync('fio', [
    ...argv,
    `--ioengine=${engineName}`,
    '--size=256m',
    '--time_based',
    '--runtime=1',
    '--output-format=json',
  ]);
  const text = out.toString();
  const { jobs } = JSON.parse(text.slice(text.indexOf('{'))) as FioJobs;
  return (kind.endsWith('read') ? jobs[0]?.read.iops : jobs[0]?.write.iops) ?? 0;
}

interface Pair {
  readonly volume: number;
  readonly byHand: number;
}

/** Both devices in turns, filled before, so that no thin chunk is made while it is looked at. */
function compare(device: string, hand: string, kinds: readonly string[]): Record<string, Pair> {
  for (const each of [device, hand])
    execFileSync('dd', ['if=/dev/urandom', `of=${each}`, 'bs=1M', 'count=256', 'oflag=direct', 'status=none']);
  const results: Record<string, Pair> = {};
  for (const kind of kinds)
    for (const depth of [1, 32]) {
      const seen = { volume: [] as number[], byHand: [] as number[] };
      for (let round = 0; round < 5; round++) {
        seen.volume.push(fio(device, kind, depth));
        seen.byHand.push(fio(hand, kind, depth));
      }
      results[`${kind} QD${depth}`] = { volume: median(seen.volume), byHand: median(seen.byHand) };
    }
  return results;
}

async function thinByHand(name: string, bytes: number): Promise<string> {
  await bare('lvcreate', '-qqy', '--type', 'thin', '-V', `${bytes}b`, '--thinpool', 'azk_pool', '-n', name, group);
  return `/dev/mapper/${group.replaceAll('-', '--')}-${name}`;
}

async function measureDevices() {
  const bytes = 256 * 2 ** 20;
  const volume = await create(bytes);
  const { device } = await engine.volumes.attach(volume, { readOnly: false });
  const results = compare(device, await thinByHand('byhand', bytes), ['read', 'write', 'randread', 'randwrite']);
  await engine.volumes.detach(volume);
  return results;
}

/** The same under LUKS2: ours, and by the commands that cryptsetup's manual page names, with our sector size. */
async function measureEncrypted() {
  const bytes = 256 * 2 ** 20;
  const volume = await create(bytes, sealed);
  const { device } = await sealed.volumes.attach(volume, { readOnly: false });
  const hand = await thinByHand('luksbyhand', bytes + 16 * 2 ** 20);
  const cryptsetup = (...words: readonly string[]) =>
    execFileSync('cryptsetup', ['--batch-mode', '--key-file', '-', ...words], { input: key.bytes });
  cryptsetup('luksFormat', '--type', 'luks2', '--sector-size', '4096', hand);
  cryptsetup('open', '--allow-discards', hand, 'luksbyhand');
  const results = compare(device, '/dev/mapper/luksbyhand', ['read', 'write', 'randread', 'randwrite']);
  execFileSync('cryptsetup', ['close', 'luksbyhand']);
  await sealed.volumes.detach(volume);
  return results;
}

const io = await measureDevices();
const luks = await measureEncrypted();
const few = await measureCommands();
for (let count = 0; count < most; count++) await create();
const many = await measureCommands();
process.stdout.write(`${JSON.stringify({ io, luks, few, many, volumes: most })}\n`);
await host.close();
