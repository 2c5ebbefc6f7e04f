import { describe, expect, it } from 'vitest';
import type { VolumeIdentity } from '../engines/contract.ts';
import { encodePool, encodeSnapshot, encodeVolume } from '../engines/file/format.ts';
import { poolFile, recycledPlace, snapshotPlace, type VolumePlace, volumePlace } from '../engines/file/layout.ts';
import { FakeHost } from '../host/fake.ts';
import { silentLogger } from '../lib/log.ts';
import { mountVolume, unmount } from './mount.ts';
import { scan } from './scan.ts';

const createdAt = '2026-01-01T00:00:00.000Z';

function identity(volumeId: string, part: Partial<VolumeIdentity> = {}): VolumeIdentity {
  return {
    name: `name-${volumeId}`,
    uid: `uid-${volumeId}`,
    volumeId,
    sizeBytes: 4096,
    className: 'local-xfs',
    mode: 'filesystem',
    filesystem: 'xfs',
    provisioning: 'thin',
    createdAt,
    generation: 1,
    ...part,
  };
}

async function putVolume(host: FakeHost, place: VolumePlace, text: string): Promise<void> {
  const kernel = host.kernel('test');
  await kernel.makeDirectory(place.folder);
  await kernel.createSparse(place.data, 1 << 30);
  await kernel.writeTextFile(place.identity, text);
  host.format(place.data, 'xfs');
}

/** A data dir with one pool folder: a volume with a snapshot, a recycled volume, and one with a damaged identity. */
async function makePool(): Promise<{ readonly host: FakeHost; readonly pool: string }> {
  const host = new FakeHost();
  const pool = '/data/pools/main';
  const kernel = host.kernel('test');
  await kernel.makeDirectory(pool);
  const poolText = encodePool({ id: 'p1', name: 'main', nodeName: 'n', engine: 'file', createdAt });
  await kernel.writeTextFile(`${pool}/${poolFile}`, poolText);
  const db = volumePlace(pool, 'db');
  await putVolume(host, db, encodeVolume(identity('db', { claim: { namespace: 'shop', name: 'data' } })));
  const monday = snapshotPlace(db, 's1');
  await kernel.makeDirectory(monday.folder);
  await kernel.clone(db.data, monday.data);
  const cut = { name: 'monday', uid: 'u', snapshotId: 's1', volumeId: 'db', sizeBytes: 4096, cutAt: createdAt };
  await kernel.writeTextFile(monday.identity, encodeSnapshot({ ...cut, consistency: 'filesystem' }));
  const recycled = { deletedAt: createdAt, expiresAt: createdAt };
  await putVolume(host, recycledPlace(pool, 'old'), encodeVolume(identity('old', { recycled })));
  await putVolume(host, volumePlace(pool, 'torn'), '{"format":"azekura-vol');
  return { host, pool };
}

describe('scan', () => {
  it('finds the pool below a data dir and lists everything on it', async () => {
    const { host, pool } = await makePool();
    const report = await scan({ host, log: silentLogger, paths: ['/data'] });
    expect(report.pools).toMatchObject([{ place: pool, kind: 'directory', poolId: 'p1', name: 'main', volumes: 3 }]);
    expect(report.volumes.map(({ volumeId }) => volumeId).sort()).toEqual(['db', 'old', 'torn']);
    const db = report.volumes.find(({ volumeId }) => volumeId === 'db');
    expect(db?.identity?.claim).toEqual({ namespace: 'shop', name: 'data' });
    expect(db?.snapshots.map((snapshot) => snapshot.identity?.name)).toEqual(['monday']);
    expect(report.volumes.find(({ volumeId }) => volumeId === 'old')?.recycled).toBe(true);
  });

  it('lists a volume with a damaged identity by its id and says where its data is', async () => {
    const { host } = await makePool();
    const report = await scan({ host, log: silentLogger, paths: ['/data'] });
    const torn = report.volumes.find(({ volumeId }) => volumeId === 'torn');
    expect(torn?.identity).toBeUndefined();
    expect(torn?.problem).toContain('data at volumes/torn/data');
  });

  it('changes nothing on the place', async () => {
    const { host } = await makePool();
    const before = host.calls.length;
    await scan({ host, log: silentLogger, paths: ['/data'] });
    const reading = ['stat', 'listDirectory', 'readTextFile', 'probeFilesystem'];
    expect(host.calls.slice(before).filter(({ call }) => !reading.includes(call))).toEqual([]);
  });

  it('does not look for pools inside of mounted volumes', async () => {
    const { host, pool } = await makePool();
    const kernel = host.kernel('test');
    const { device } = await kernel.attachLoop(volumePlace(pool, 'db').data);
    await kernel.makeDirectory('/data/mounts/db');
    await kernel.mount({ source: device, target: '/data/mounts/db', filesystem: 'xfs' });
    await kernel.writeTextFile(`/data/mounts/db/${poolFile}`, '{}');
    const report = await scan({ host, log: silentLogger, paths: ['/data'] });
    expect(report.pools.map(({ place }) => place)).toEqual([pool]);
  });

  it('goes on with the other places when one cannot be read', async () => {
    const { host } = await makePool();
    const report = await scan({ host, log: silentLogger, paths: ['/nowhere', '/data'] });
    expect(report.pools).toHaveLength(1);
    expect(report.warnings).toEqual(['/nowhere does not exist']);
    await expect(scan({ host, log: silentLogger, paths: ['/nowhere'] })).rejects.toMatchObject({ code: 'NotFound' });
  });

  it('reads an image through a read-only loop device and gives everything back', async () => {
    const host = new FakeHost();
    const kernel = host.kernel('test');
    await kernel.createSparse('/pool.img', 1 << 30);
    host.format('/pool.img', 'xfs');
    const { device } = await kernel.attachLoop('/pool.img');
    await kernel.makeDirectory('/made');
    await kernel.mount({ source: device, target: '/made', filesystem: 'xfs' });
    const poolText = encodePool({ id: 'p1', name: 'main', nodeName: 'n', engine: 'file', createdAt });
    await kernel.writeTextFile(`/made/${poolFile}`, poolText);
    await putVolume(host, volumePlace('/made', 'db'), encodeVolume(identity('db')));

    const whileMounted = await scan({ host, log: silentLogger, paths: ['/pool.img'] });
    expect(whileMounted.volumes).toHaveLength(1);
    expect(host.machine.loops.size).toBe(1);

    await kernel.unmount('/made');
    await kernel.detachLoop(device, '/pool.img');
    const before = host.calls.length;
    const report = await scan({ host, log: silentLogger, paths: ['/pool.img'] });
    expect(report.volumes.map(({ volumeId }) => volumeId)).toEqual(['db']);
    const attach = host.calls.slice(before).find(({ call }) => call === 'attachLoop');
    expect(attach?.args).toContainEqual(expect.objectContaining({ readOnly: true }));
    expect(host.machine.loops.size).toBe(0);
    expect(host.machine.mounts.filter(({ target }) => target.startsWith('/run'))).toEqual([]);
  });
});

describe('mountVolume', () => {
  it('shows a snapshot read-only, once however often it is asked for, and unmount gives everything back', async () => {
    const { host } = await makePool();
    const options = {
      host,
      log: silentLogger,
      path: '/data',
      volume: 'shop/data',
      snapshot: 'monday',
      target: '/look',
    };
    const first = await mountVolume(options);
    const again = await mountVolume(options);
    expect(again.device).toBe(first.device);
    expect(host.machine.loops.size).toBe(1);
    expect(host.machine.mounts.find(({ target }) => target === '/look')?.readOnly).toBe(true);
    await expect(mountVolume({ ...options, snapshot: 's9' })).rejects.toMatchObject({ code: 'NotFound' });
    await unmount({ host, log: silentLogger, target: '/look' });
    await unmount({ host, log: silentLogger, target: '/look' });
    expect(host.machine.loops.size).toBe(0);
    expect(host.machine.mounts.some(({ target }) => target === '/look')).toBe(false);
  });

  it('refuses the live data of a volume that is in use', async () => {
    const { host, pool } = await makePool();
    const { device } = await host.kernel('test').attachLoop(volumePlace(pool, 'db').data);
    const options = { host, log: silentLogger, path: '/data', target: '/look' };
    await expect(mountVolume({ ...options, volume: 'name-db' })).rejects.toMatchObject({
      code: 'FailedPrecondition',
      message: expect.stringContaining(device),
    });
    await expect(mountVolume({ ...options, volume: 'name-db', snapshot: 's1' })).resolves.toMatchObject({
      target: '/look',
    });
  });

  it('refuses a folder with something in it', async () => {
    const { host } = await makePool();
    const options = { host, log: silentLogger, path: '/data', volume: 'name-db', target: '/data' };
    await expect(mountVolume(options)).rejects.toMatchObject({ blame: { code: 'MountPointBusy' } });
  });

  it('releases the loop device when the mount fails', async () => {
    const { host } = await makePool();
    host.failNext('mount', new Error('bad superblock'));
    const options = { host, log: silentLogger, path: '/data', volume: 'name-db', target: '/look' };
    await expect(mountVolume(options)).rejects.toThrow('bad superblock');
    expect(host.machine.loops.size).toBe(0);
  });

  it('tells that an unclean file system is shown without its journal, or replays it on a copy', async () => {
    const { host, pool } = await makePool();
    const data = volumePlace(pool, 'db').data;
    const filesystem = host.machine.need(data, 'test').filesystem;
    if (filesystem) filesystem.clean = false;
    const options = { host, log: silentLogger, path: '/data', volume: 'name-db', target: '/look' };
    const plain = await mountVolume(options);
    expect(plain.warnings.join()).toContain('without replaying');
    await unmount(options);
    if (filesystem) filesystem.clean = false;
    await mountVolume({ ...options, replay: true });
    expect([...host.machine.loops.values()].map(({ file }) => file)).not.toContain(data);
    await unmount(options);
    expect(await host.kernel('test').listDirectory(`${pool}/tmp`)).toEqual([]);
  });
});

describe('what a killed command left', () => {
  /** Above the largest pid that Linux gives: PID_MAX_LIMIT of include/linux/threads.h. */
  const deadPid = 4_194_305;

  async function leave(host: FakeHost, pid: number): Promise<void> {
    const kernel = host.kernel('test');
    await kernel.createSparse('/pool.img', 1 << 30);
    host.format('/pool.img', 'xfs');
    const { device } = await kernel.attachLoop('/pool.img', { readOnly: true });
    await kernel.makeDirectory('/run/azekura-rescue/x-pool');
    await kernel.mount({ source: device, target: '/run/azekura-rescue/x-pool', filesystem: 'xfs', options: ['ro'] });
    const held = {
      formatVersion: 1,
      pid,
      poolLoop: { device, file: '/pool.img' },
      poolMount: '/run/azekura-rescue/x-pool',
    };
    await kernel.writeTextFile('/run/azekura-rescue/x.json', JSON.stringify(held));
  }

  it('is given back by the next one', async () => {
    const { host } = await makePool();
    await leave(host, deadPid);
    await scan({ host, log: silentLogger, paths: ['/data'] });
    expect(host.machine.loops.size).toBe(0);
    expect(await host.kernel('test').listDirectory('/run/azekura-rescue')).toEqual([]);
  });

  it('stays when the command still runs', async () => {
    const { host } = await makePool();
    await leave(host, process.pid);
    await scan({ host, log: silentLogger, paths: ['/data'] });
    expect(host.machine.loops.size).toBe(1);
  });
});
