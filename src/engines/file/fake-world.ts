import { FakeHost } from '../../host/fake.ts';
import { systemClock } from '../../lib/clock.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { silentLogger } from '../../lib/log.ts';
import { makeSteps } from '../../lib/steps.ts';
import type { CreateVolume, Engine, PoolRef, SnapshotRef, VolumeIdentity } from '../contract.ts';
import { fileEngine } from './engine.ts';

export const mebibyte = 2 ** 20;
export const until = { deletedAt: '2026-01-01T00:00:00.000Z', expiresAt: '2026-01-02T00:00:00.000Z' };

export const ref = (pool: PoolRef, volumeId: string, snapshotId: string): SnapshotRef => ({
  pool,
  volumeId,
  snapshotId,
});

/** The fake machine with a pool, and an engine on it. */
export async function setUp(): Promise<{ readonly host: FakeHost; readonly pool: PoolRef; engine(): Engine }> {
  const host = new FakeHost();
  host.machine.mountOf('/').filesystem.type = 'xfs';
  for (const folder of ['/pool', '/other']) await host.kernel('test').makeDirectory(folder);
  const engine = () =>
    fileEngine.create({
      host,
      clock: systemClock,
      log: silentLogger,
      steps: makeSteps(),
      locks: new KeyedLock(),
      nodeName: 'node',
      runtimeDir: '/run',
    });
  const pool: PoolRef = {
    name: 'main',
    source: { kind: 'directory', path: '/pool' },
    reservePercent: 5,
    acceptNoJournal: false,
    trial: false,
  };
  return { host, pool: { ...pool, poolId: (await engine().pools.open(pool)).poolId }, engine };
}

export function request(pool: PoolRef, volumeId: string, part: Partial<VolumeIdentity> = {}): CreateVolume {
  const identity: VolumeIdentity = {
    name: 'db',
    uid: 'u',
    volumeId,
    sizeBytes: 512 * mebibyte,
    className: 'local',
    mode: 'filesystem',
    filesystem: 'ext4',
    provisioning: 'thin',
    createdAt: '2026-01-01T00:00:00.000Z',
    generation: 1,
    ...part,
  };
  return { volume: { pool, volumeId }, identity, parameters: {} };
}

/** With the volume "source" and its snapshot "s1". */
export async function prepared(): ReturnType<typeof setUp> {
  const world = await setUp();
  const engine = world.engine();
  await engine.volumes.create(request(world.pool, 'source'));
  const snapshot = ref(world.pool, 'source', 's1');
  await engine.snapshots?.cut(snapshot);
  await engine.snapshots?.commit(snapshot, {
    name: 's1',
    uid: 'u',
    snapshotId: 's1',
    volumeId: 'source',
    sizeBytes: 0,
    cutAt: until.deletedAt,
    consistency: 'crash',
  });
  return world;
}
