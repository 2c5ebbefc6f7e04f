import { chmodSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Killer, persist } from '../lab/chaos.ts';
import { Daemon, holdings, releaseLeftovers } from '../lab/daemon.ts';
import { longestGapMs, Postgres, postgresBinaries, type Sums } from '../lab/postgres.ts';
import { seededRandom } from '../lab/random.ts';
import { Cleanup, eventually, run } from '../lab/workbench.ts';

const long = process.env.AZEKURA_LONG === '1';
/** It goes on until the daemon was killed so often, in rounds of this length. */
const wantedKills = long ? 300 : 50;
const roundSeconds = 15;
const seed = Number(process.env.AZEKURA_SEED ?? Date.now() % 2 ** 31);
const binaries = postgresBinaries();
const mebibyte = 2 ** 20;

const cleanup = new Cleanup();
let scratch: string;
let daemon: Daemon;

beforeAll(async () => {
  if (!binaries) return;
  scratch = cleanup.directory('/dev/shm/azekura-pg-');
  chmodSync(scratch, 0o755);
  run('truncate', '--size', '24G', `${scratch}/disk`);
  const device = cleanup.loop(`${scratch}/disk`);
  run('mkfs.xfs', '-q', '-K', '-m', 'reflink=1', '-s', 'size=4096', device);
  cleanup.mount(device, `${scratch}/pool`);
  cleanup.add(() => releaseLeftovers(scratch));
  daemon = await Daemon.start({ dataDir: `${scratch}/data` });
  cleanup.add(() => daemon.stop());
  await daemon.create('Pool', 'main', { source: { kind: 'directory', path: `${scratch}/pool` } });
  await daemon.until('Pool', 'main', (pool) => pool?.status.phase === 'Ready');
});
afterAll(() => cleanup.run());

function placesOf(name: string, port: number) {
  if (!binaries) throw new Error('PostgreSQL is not installed');
  return {
    binaries,
    data: `${scratch}/${name}/data`,
    wal: `${scratch}/${name}/wal`,
    scratch: `${scratch}/${name}/run`,
    port,
  };
}

async function mountVolume(name: string, path: string): Promise<void> {
  mkdirSync(path, { recursive: true });
  chmodSync(`${path}/..`, 0o755);
  await persist(() => daemon.post('Volume', name, 'mount', { path }), 'AlreadyExists');
  await eventually(() => expect(holdings(scratch).mounts).toContain(path), 90_000);
}

async function removeVolume(name: string, ...snapshots: string[]): Promise<void> {
  await persist(() => daemon.post('Volume', name, 'unmount', {}), 'NotFound');
  await daemon.until('Volume', name, (volume) => volume?.status.attachedTo.length === 0, 90_000);
  for (const snapshot of snapshots) await persist(() => daemon.delete('Snapshot', snapshot), 'NotFound');
  await persist(() => daemon.delete('Volume', name, { skipRecycleBin: true }), 'NotFound');
  await daemon.until('Volume', name, (volume) => volume === undefined, 90_000);
}

function expectConsistent(sums: Sums): void {
  expect({ ...sums, transactions: 0 }).toEqual({
    accounts: sums.history,
    tellers: sums.history,
    branches: sums.history,
    history: sums.history,
    transactions: 0,
  });
}

/** A snapshot group of both volumes, clones of its members, and a second PostgreSQL on them. */
async function cloneAndCheck(turn: number, killer: Killer): Promise<number> {
  const group = `night-${turn}`;
  await persist(() => daemon.create('SnapshotGroup', group, { volumeNames: ['data', 'wal'] }), 'AlreadyExists');
  await daemon.until('SnapshotGroup', group, (one) => one?.status.phase === 'Ready', 120_000);
  killer.progress();
  const postgres = new Postgres(placesOf(`clone-${turn}`, 5_500 + turn));
  for (const part of ['data', 'wal'] as const) {
    const name = `clone-${turn}-${part}`;
    await persist(
      () => daemon.create('Volume', name, { source: { kind: 'snapshot', name: `${group}-${part}` } }),
      'AlreadyExists',
    );
    await daemon.until('Volume', name, (volume) => volume?.status.phase === 'Ready', 120_000);
    await mountVolume(name, postgres.places[part]);
  }
  postgres.adopt();
  postgres.start();
  let sums: Sums;
  try {
    postgres.amcheck();
    sums = postgres.sums();
  } finally {
    postgres.stop();
  }
  expectConsistent(sums);
  for (const part of ['data', 'wal']) await removeVolume(`clone-${turn}-${part}`);
  await persist(() => daemon.delete('SnapshotGroup', group), 'NotFound');
  await daemon.until('SnapshotGroup', group, (one) => one === undefined, 90_000);
  return sums.transactions;
}

describe.skipIf(!binaries)(`PostgreSQL on two volumes (skipped without the package postgresql; seed ${seed})`, () => {
  it('commits on while azekura is killed again and again among snapshots, groups, clones and growth', {
    timeout: long ? 1_800_000 : 480_000,
  }, async () => {
    const postgres = new Postgres(placesOf('main', 5_499));
    let volumeBytes = 768 * mebibyte;
    for (const part of ['data', 'wal'] as const) {
      await daemon.create('Volume', part, { sizeBytes: volumeBytes, filesystem: 'xfs' });
      await daemon.until('Volume', part, (volume) => volume?.status.phase === 'Ready');
      await mountVolume(part, postgres.places[part]);
    }
    const owned = new Postgres(postgres.places);
    owned.initialise();
    owned.start();
    cleanup.add(() => {
      if (owned.running()) owned.stop();
    });
    owned.prepareBench(5);

    const killer = new Killer(daemon, seededRandom(seed));
    killer.start();
    cleanup.add(() => killer.end());
    let benching = true;
    const rounds = async (): Promise<readonly string[]> => {
      const reports: string[] = [];
      while (killer.kills < wantedKills)
        reports.push(await owned.bench(roundSeconds, `${postgres.places.scratch}/bench-${reports.length}`));
      return reports;
    };
    const bench = rounds().finally(() => {
      benching = false;
    });
    const counts = { snapshots: 0, clones: 0, growths: 0 };
    let seen = 0;
    for (let turn = 0; benching; turn++) {
      killer.progress();
      const snapshot = `hour-${turn}`;
      await persist(() => daemon.create('Snapshot', snapshot, { volumeName: 'data' }), 'AlreadyExists');
      await daemon.until('Snapshot', snapshot, (one) => one?.status.readyToUse === true, 120_000);
      counts.snapshots++;
      killer.progress();
      if (turn % 3 === 0) {
        const transactions = await cloneAndCheck(turn, killer);
        expect(transactions).toBeGreaterThanOrEqual(seen);
        seen = transactions;
        counts.clones++;
        killer.progress();
      }
      if (turn % 2 === 0) {
        volumeBytes += 64 * mebibyte;
        await persist(() => daemon.expand('data', volumeBytes), 'AlreadyExists');
        await daemon.until('Volume', 'data', (volume) => volume?.status.sizeBytes === volumeBytes, 120_000);
        counts.growths++;
      }
      if (turn % 2 === 1) {
        await persist(() => daemon.delete('Snapshot', snapshot), 'NotFound');
        await daemon.until('Snapshot', snapshot, (one) => one === undefined, 90_000);
      }
    }
    const reports = await bench;
    await killer.stop();
    const { gapMs, transactions } = longestGapMs(postgres.places.scratch, 'bench');
    console.log(`${JSON.stringify({ kills: killer.kills, ...counts, transactions, longestGapMs: Math.round(gapMs) })}`);

    expect(killer.kills).toBeGreaterThanOrEqual(wantedKills);
    for (const report of reports) expect(report).toMatch(/number of failed transactions: 0 /);
    expect(counts.clones).toBeGreaterThan(0);
    // Nothing that was committed is lost, and the server's own copy is sound.
    owned.amcheck();
    const sums = owned.sums();
    expectConsistent(sums);
    expect(sums.transactions).toBe(transactions);
    expect(sums.transactions).toBeGreaterThanOrEqual(seen);
    // The grown file system has the size that was acknowledged.
    await eventually(
      () =>
        expect(
          Number(run('findmnt', '--noheadings', '--bytes', '--output', 'SIZE', postgres.places.data)),
        ).toBeGreaterThan(volumeBytes * 0.85),
      30_000,
      200,
    );
    owned.stop();

    for (const one of await daemon.client.list('Snapshot')) await daemon.delete('Snapshot', one.metadata.name);
    for (const part of ['data', 'wal']) await removeVolume(part);
    await daemon.settled(60_000);
    await eventually(() => expect(holdings(scratch).loops).toEqual([`${scratch}/disk`]), 30_000, 200);
    expect(holdings(`${scratch}/data`).mounts).toEqual([]);
    expect(holdings(scratch).mounts).toEqual([`${scratch}/pool`]);
    for (const folder of ['volumes', 'recycled', 'tmp']) {
      const path = `${scratch}/pool/${folder}`;
      await eventually(() => expect(existsSync(path) ? readdirSync(path) : []).toEqual([]), 30_000, 200);
    }
    expect((await daemon.client.list('Replica')).length + (await daemon.client.list('Attachment')).length).toBe(0);
  });
});
