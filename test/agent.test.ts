import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cleanup, eventually, run } from '../lab/workbench.ts';
import { type Agent, createAgent } from '../src/agent/index.ts';
import { type Controllers, createControllers, createOperations } from '../src/control/index.ts';
import type { Operations } from '../src/control/operations.ts';
import { engineDefinition } from '../src/engines/registry.ts';
import type { Host } from '../src/host/host.ts';
import { createHost } from '../src/host/linux.ts';
import { systemClock } from '../src/lib/clock.ts';
import { silentLogger } from '../src/lib/log.ts';
import type { Kind, Resource } from '../src/model/kinds.ts';
import { openLmdbStore } from '../src/store/lmdb/lmdb-store.ts';
import type { Store } from '../src/store/store.ts';

/** Controllers, operations and the agent of one machine in this process, on a real XFS pool image. */
const mebibyte = 2 ** 20;
const cleanup = new Cleanup();
let scratch: string;
let host: Host;
let store: Store;
let agent: Agent;
let controllers: Controllers;
let operations: Operations;

const base = () => ({ store, clock: systemClock, log: silentLogger, engines: engineDefinition });

async function startAgent(): Promise<void> {
  agent = createAgent({ ...base(), host, nodeName: 'here', dataDir: `${scratch}/data`, version: 'test' });
  await agent.start();
}

beforeAll(async () => {
  scratch = cleanup.directory('/dev/shm/azekura-agent-');
  mkdirSync(`${scratch}/data`);
  mkdirSync(`${scratch}/mnt`);
  host = createHost({ log: silentLogger, clock: systemClock });
  cleanup.add(() => host.close());
  store = await openLmdbStore({ path: `${scratch}/data/state`, clock: systemClock });
  cleanup.add(() => store.close());
  await startAgent();
  cleanup.add(() => agent.stop());
  controllers = createControllers(base());
  await controllers.start();
  cleanup.add(() => controllers.stop());
  operations = createOperations({
    ...base(),
    view: controllers.view,
    nodeName: 'here',
    version: 'test',
    node: () => agent,
  });
  const source = { kind: 'image' as const, path: `${scratch}/pool.img`, sizeBytes: 3_072 * mebibyte };
  await operations.createPool({ name: 'main', spec: { source, acceptNoJournal: true } });
  await until('Pool', 'main', (pool) => pool?.status.phase === 'Ready');
});

afterAll(async () => {
  // What cannot be given back is in the way of the clean-up, whose complaint would say nothing.
  const failure = await giveBack().then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  await cleanup.run().catch((error: unknown) => {
    throw failure?.error ?? error;
  });
  if (failure) throw failure.error;
  expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(scratch);
  // A lab that starts beside this holds a copy of every mount for a moment, and with it their loop devices.
  await eventually(() => expect(backingFiles()).not.toContain(scratch), 30_000);
});

function backingFiles(): string {
  return run('losetup', '--list', '--noheadings', '--output', 'BACK-FILE');
}

/** Removes everything the way a user would, so that leaks show. */
async function giveBack(): Promise<void> {
  for (const { metadata } of (await store.list('Volume')).items) {
    await operations.unmountVolume(metadata.name);
    await until('Attachment', undefined, (found) => !found.some((one) => one.spec.volumeName === metadata.name));
  }
  for (const { metadata } of (await store.list('SnapshotGroup')).items)
    await operations.deleteSnapshotGroup(metadata.name);
  await until('SnapshotGroup', undefined, (found) => found.length === 0);
  for (const { metadata } of (await store.list('Snapshot')).items) await operations.deleteSnapshot(metadata.name);
  await until('Snapshot', undefined, (found) => found.length === 0);
  for (const { metadata } of (await store.list('Volume')).items)
    await operations.deleteVolume(metadata.name, { skipRecycleBin: true });
  for (const { metadata } of (await store.list('RecycledVolume')).items) await operations.purgeVolume(metadata.name);
  await until('Replica', undefined, (found) => found.length === 0);
  await operations.removePool('main', { destroy: true });
  await until('Pool', undefined, (found) => found.length === 0);
  expect(existsSync(`${scratch}/pool.img`)).toBe(false);
}

type Until = {
  <K extends Kind>(kind: K, name: string, test: (object: Resource<K> | undefined) => boolean): Promise<void>;
  <K extends Kind>(kind: K, name: undefined, test: (all: readonly Resource<K>[]) => boolean): Promise<void>;
};

/** Waits until an object, or all of a kind, are as the test wants them. */
const until: Until = async (kind: Kind, name: string | undefined, test: (found: never) => boolean) => {
  await eventually(
    async () => {
      // Operations go by the view, which hears of a change a moment after the store has it.
      const stored = name === undefined ? (await store.list(kind)).items : await store.find(kind, name);
      const heard = seen(kind);
      for (const found of [stored, name === undefined ? heard : heard.find(({ metadata }) => metadata.name === name)])
        if (!test(found as never)) throw new Error(`${kind} ${name ?? ''}: ${JSON.stringify(found, undefined, 1)}`);
    },
    30_000,
    10,
  );
};

function seen(kind: Kind): readonly Resource[] {
  const { pools, volumes, replicas, attachments, snapshots, groups, recycled, tasks } = controllers.view;
  const all = [pools, volumes, replicas, attachments, snapshots, groups, recycled, tasks];
  const informer = all.find((one) => one.kind === kind);
  if (!informer) throw new Error(`the view has no ${kind}`);
  return informer.list();
}

const ready = (name: string) =>
  until(
    'Volume',
    name,
    (volume) => volume?.status.phase === 'Ready' && volume.metadata.generation === volume.status.observedGeneration,
  );

async function create(name: string, part: Partial<Parameters<Operations['createVolume']>[0]> = {}): Promise<void> {
  await operations.createVolume({ name, ...(part.source ? {} : { sizeBytes: 320 * mebibyte }), ...part });
  await ready(name);
}

async function mount(name: string): Promise<string> {
  const path = `${scratch}/mnt/${name}`;
  await operations.mountVolume(name, { path });
  await until('Attachment', undefined, (all) =>
    all.some((one) => one.spec.volumeName === name && one.status.published.includes(path)),
  );
  return path;
}

async function unmount(name: string): Promise<void> {
  await operations.unmountVolume(name);
  await until('Attachment', undefined, (all) => !all.some((one) => one.spec.volumeName === name));
}

const write = (path: string, text: string) => {
  writeFileSync(path, text);
  run('sync', '--file-system', path);
};
const sizeOf = (path: string) => Number(run('df', '--output=size', '-B1', path).split('\n')[1]);
const refusal = async (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('one machine, whole path', () => {
  it('creates, mounts, writes, and finds it again after the agent has been restarted', async () => {
    await create('db');
    const path = await mount('db');
    write(`${path}/file`, 'first');
    await agent.stop();
    expect(readFileSync(`${path}/file`, 'utf8')).toBe('first');
    await startAgent();
    await ready('db');
    write(`${path}/file`, 'second');
    expect(readFileSync(`${path}/file`, 'utf8')).toBe('second');
  });

  it('puts back a mount that somebody else took away', async () => {
    const path = `${scratch}/mnt/db`;
    run('umount', path);
    await agent.stop();
    await startAgent();
    await eventually(() => expect(readFileSync(`${path}/file`, 'utf8')).toBe('second'));
  });

  it('takes snapshots while it is written, and makes volumes of them that mount beside their origin', async () => {
    await operations.createSnapshot({ name: 'before', volumeName: 'db' });
    await until('Snapshot', 'before', (snapshot) => snapshot?.status.readyToUse === true);
    expect((await store.get('Snapshot', 'before')).status.consistency).toBe('filesystem');
    write(`${scratch}/mnt/db/file`, 'third');
    await create('clone', { source: { kind: 'snapshot', name: 'before' } });
    await create('copy', { source: { kind: 'volume', name: 'db' } });
    const [clone, copy] = [await mount('clone'), await mount('copy')];
    expect(readFileSync(`${clone}/file`, 'utf8')).toBe('second');
    expect(readFileSync(`${copy}/file`, 'utf8')).toBe('third');
    for (const name of ['clone', 'copy']) await unmount(name);
  });

  it('expands a file system while it is in use', async () => {
    const before = sizeOf(`${scratch}/mnt/db`);
    await operations.expandVolume('db', 640 * mebibyte);
    await eventually(() => expect(sizeOf(`${scratch}/mnt/db`) - before).toBeGreaterThan(300 * mebibyte), 20_000);
    expect(await refusal(operations.expandVolume('db', 320 * mebibyte))).toMatchObject({ code: 'OutOfRange' });
  });

  it('cuts a group at one instant', async () => {
    await create('wal', { filesystem: 'ext4', className: 'local-ext4' });
    await mount('wal');
    await operations.createSnapshotGroup({ name: 'nightly', volumeNames: ['db', 'wal'] });
    await until('SnapshotGroup', 'nightly', (group) => group?.status.phase === 'Ready');
    const group = await store.get('SnapshotGroup', 'nightly');
    for (const name of ['nightly-db', 'nightly-wal']) {
      const { status } = await store.get('Snapshot', name);
      expect(status).toMatchObject({ readyToUse: true, cutAt: group.status.cutAt, consistency: 'filesystem' });
      expect(await refusal(operations.deleteSnapshot(name))).toMatchObject({ code: 'FailedPrecondition' });
    }
    expect(run('ls', `${scratch}/data/run/freezes`)).toBe('');
    write(`${scratch}/mnt/wal/after`, 'still writable');
  });

  it('shows a raw block volume as a device at a path', async () => {
    await create('raw', { mode: 'block', sizeBytes: 8 * mebibyte });
    const path = await mount('raw');
    run('dd', 'if=/dev/zero', `of=${path}`, 'bs=4096', 'count=1', 'oflag=direct', 'conv=notrunc', 'status=none');
    expect(run('blockdev', '--getsize64', path)).toBe(String(8 * mebibyte));
    await unmount('raw');
    expect(existsSync(path)).toBe(false);
  });

  it('refuses what would harm a volume that is in use', async () => {
    for (const attempt of [
      operations.deleteVolume('db'),
      operations.restoreVolume('db', 'before'),
      operations.repairVolume('db'),
    ]) {
      const error = await refusal(attempt);
      expect(error).toMatchObject({ code: 'FailedPrecondition', blame: { code: 'InUse' } });
    }
    expect(await refusal(operations.removePool('main'))).toMatchObject({ blame: { code: 'InUse' } });
    write(`${scratch}/mnt/busy`, 'not a folder');
    expect(await refusal(operations.mountVolume('db', { path: `${scratch}/mnt/busy` }))).toMatchObject({
      blame: { code: 'MountPointBusy' },
    });
    expect(await refusal(operations.mountVolume('db', { path: `${scratch}/mnt` }))).toMatchObject({
      blame: { code: 'MountPointBusy' },
    });
  });

  it('names who keeps a mount busy, and goes on by itself when they let go', async () => {
    const holder = run('sh', '-c', `cd ${scratch}/mnt/db && sleep 300 > /dev/null 2>&1 & echo $!`);
    try {
      await operations.unmountVolume('db');
      await until('Attachment', undefined, (all) =>
        all.some(
          (one) =>
            one.spec.volumeName === 'db' &&
            one.status.causes.some((cause) => cause.code === 'InUse' && cause.message.includes(holder)),
        ),
      );
      await eventually(async () => expect((await operations.why('volume', 'db')).cause?.code).toBe('InUse'));
    } finally {
      process.kill(Number(holder));
    }
    await until('Attachment', undefined, (all) => !all.some((one) => one.spec.volumeName === 'db'));
    expect(existsSync(`${scratch}/mnt/db`)).toBe(false);
  });

  it('lets go of a file system that somebody has left frozen', async () => {
    const path = await mount('db');
    run('fsfreeze', '--freeze', path);
    await unmount('db');
    const attached = (await store.list('Attachment')).items.length + 1;
    const ours = () =>
      backingFiles()
        .split('\n')
        .filter((file) => file.includes(scratch));
    await expect.poll(ours, { timeout: 30_000 }).toHaveLength(attached);
    await mount('db');
    write(`${path}/thawed`, 'written');
    await unmount('db');
  });

  it('puts a snapshot back in place', async () => {
    await operations.restoreVolume('db', 'before');
    await until('Volume', 'db', (volume) => volume?.status.restore !== undefined && volume.status.phase === 'Ready');
    const path = await mount('db');
    expect(readFileSync(`${path}/file`, 'utf8')).toBe('second');
    expect((await store.get('Volume', 'db')).status.sizeBytes).toBe(640 * mebibyte);
    await unmount('db');
  });

  it('checks and repairs a file system', async () => {
    await operations.repairVolume('db');
    await until('Volume', 'db', (volume) => volume?.status.repair !== undefined);
    expect((await store.get('Volume', 'db')).status.repair?.outcome).toBe('the file system is clean');
  });

  it('rests in the recycle bin with its snapshots, and comes back with them', async () => {
    await operations.deleteVolume('db');
    await until('Volume', 'db', (volume) => volume === undefined);
    await until('Snapshot', 'before', (snapshot) => snapshot?.status.causes[0]?.code === 'VolumeRecycled');
    expect(
      await refusal(operations.createVolume({ name: 'x', source: { kind: 'snapshot', name: 'before' } })),
    ).toMatchObject({
      code: 'FailedPrecondition',
      blame: { code: 'VolumeRecycled' },
    });
    await agent.stop();
    await startAgent();
    await operations.undeleteVolume('db', { as: 'db-again' });
    await ready('db-again');
    await until('Snapshot', 'before', (snapshot) => snapshot?.status.readyToUse === true);
    await until('RecycledVolume', undefined, (found) => found.length === 0);
    const path = await mount('db-again');
    expect(readFileSync(`${path}/file`, 'utf8')).toBe('second');
    await unmount('db-again');
  });

  it('moves volumes with their snapshots off a pool that is drained, and says why others stay', async () => {
    const source = { kind: 'image' as const, path: `${scratch}/second.img`, sizeBytes: 1_536 * mebibyte };
    await operations.createPool({ name: 'second', spec: { source, acceptNoJournal: true } });
    await until('Pool', 'second', (pool) => pool?.status.phase === 'Ready');
    await create('mover', { poolName: 'second', sizeBytes: 320 * mebibyte });
    write(`${await mount('mover')}/file`, 'moved');
    await operations.createSnapshot({ name: 'moved-too', volumeName: 'mover' });
    await until('Snapshot', 'moved-too', (snapshot) => snapshot?.status.readyToUse === true);
    const { cannot } = await operations.drainPool('second');
    expect(cannot).toMatchObject([{ volume: 'mover', why: { code: 'InUse' } }]);
    await unmount('mover');
    await until('Replica', undefined, (all) => all.every((one) => one.spec.poolName === 'main'));
    await until('Task', undefined, (all) =>
      all.some((one) => one.spec.verb === 'DrainPool' && one.status.phase === 'Succeeded'),
    );
    await until('Snapshot', 'moved-too', (snapshot) => snapshot?.spec.poolName === 'main');
    expect(readFileSync(`${await mount('mover')}/file`, 'utf8')).toBe('moved');
    await unmount('mover');
    await operations.restoreVolume('mover', 'moved-too');
    await until('Volume', 'mover', (volume) => volume?.status.restore !== undefined);
    await operations.removePool('second', { destroy: true });
    await until('Pool', 'second', (pool) => pool === undefined);
  });

  it('says of a volume whose data was taken away that it is gone, and makes nothing in its place', async () => {
    await create('victim');
    const { path } = (await store.get('Pool', 'main')).status;
    const { volumeId } = (await store.get('Volume', 'victim')).status;
    run('mv', `${path}/volumes/${volumeId}`, `${scratch}/aside`);
    await agent.stop();
    await startAgent();
    await until(
      'Volume',
      'victim',
      (volume) => volume?.status.causes.some((cause) => cause.code === 'BackingMissing') === true,
    );
    expect(existsSync(`${path}/volumes/${volumeId}`)).toBe(false);
    await eventually(async () => expect((await operations.why('volume', 'victim')).cause?.code).toBe('BackingMissing'));
    run('mv', `${scratch}/aside`, `${path}/volumes/${volumeId}`);
    await until('Volume', 'victim', (volume) => volume?.status.phase === 'Ready' && volume.status.causes.length === 0);
  }, 90_000);

  it('has no task that runs for ever, and no problem left', async () => {
    await until('Task', undefined, (tasks) => tasks.every((task) => task.status.phase !== 'Running'));
    await eventually(async () => {
      const { problems } = await operations.status();
      expect(problems.map(({ cause }) => cause.code).filter((code) => code !== 'PoolNoJournal')).toEqual([]);
    });
  });
});
