/** The file engine on the real machine, without a daemon: for the tests and benchmarks of what lies below the controllers. */
import { mkdirSync } from 'node:fs';
import type { Engine, PoolRef, SnapshotRef, VolumeRef } from '../src/engines/contract.ts';
import { engineDefinition } from '../src/engines/registry.ts';
import type { Host } from '../src/host/host.ts';
import { createHost } from '../src/host/linux.ts';
import { systemClock } from '../src/lib/clock.ts';
import { newUid, shortId } from '../src/lib/id.ts';
import { silentLogger } from '../src/lib/log.ts';
import type { PoolSource } from '../src/model/pool.ts';
import { engineDeps, identityFor, poolAt } from './engine-parts.ts';
import type { Cleanup } from './workbench.ts';

export class LabEngine {
  readonly host: Host;
  readonly engine: Engine;
  readonly #folders = new Map<string, string>();

  private constructor(host: Host, engine: Engine) {
    this.host = host;
    this.engine = engine;
  }

  /** @param runtimeDir a folder on the machine's own disk or in memory */
  static open(runtimeDir: string, cleanup: Cleanup): LabEngine {
    mkdirSync(runtimeDir, { recursive: true });
    const host = createHost({ clock: systemClock, log: silentLogger });
    cleanup.add(() => host.close());
    return new LabEngine(host, engineDefinition('file').create(engineDeps(host, runtimeDir)));
  }

  /** The folder that holds the pool's files. */
  poolFolder(pool: PoolRef): string {
    const folder = this.#folders.get(pool.name);
    if (folder === undefined) throw new Error(`pool ${pool.name} was not opened here`);
    return folder;
  }

  /** Makes or opens a pool, and closes it at the end. */
  async pool(name: string, source: PoolSource, cleanup: Cleanup): Promise<PoolRef> {
    const ref = poolAt(name, source, 1);
    const { poolId, path } = await this.engine.pools.open(ref);
    if (path !== undefined) this.#folders.set(name, path);
    const pool = { ...ref, poolId };
    cleanup.add(() => this.engine.pools.close(pool));
    return pool;
  }

  async createVolume(pool: PoolRef, options: NewVolume): Promise<VolumeRef> {
    const volume = { pool, volumeId: options.volumeId ?? shortId() };
    const { from, volumeId: _id, ...shape } = options;
    const identity = identityFor(volume.volumeId, { name: volume.volumeId, ...shape });
    const source = from ? { source: { kind: 'snapshot' as const, snapshot: from } } : {};
    await this.engine.volumes.create({ volume, identity, parameters: {}, ...source });
    return volume;
  }

  /** prepare, cut and commit; prepare is what makes it two passes. */
  async snapshot(
    volume: VolumeRef,
    options: { readonly snapshotId?: string; readonly prepare?: boolean } = {},
  ): Promise<SnapshotRef> {
    const { snapshots } = this.engine;
    if (!snapshots) throw new Error('the engine has no snapshots');
    const snapshot = { ...volume, snapshotId: options.snapshotId ?? shortId() };
    if (options.prepare !== false) await snapshots.prepare(snapshot);
    await snapshots.cut(snapshot);
    const { sizeBytes } = await this.engine.volumes.observe(volume);
    await snapshots.commit(snapshot, {
      name: snapshot.snapshotId,
      uid: newUid(),
      snapshotId: snapshot.snapshotId,
      volumeId: volume.volumeId,
      sizeBytes,
      cutAt: new Date().toISOString(),
      consistency: 'crash',
    });
    return snapshot;
  }

  async attach(volume: VolumeRef): Promise<string> {
    return (await this.engine.volumes.attach(volume, { readOnly: false })).device;
  }
}

export interface NewVolume {
  readonly name?: string;
  readonly volumeId?: string;
  readonly sizeBytes: number;
  /** Raw block when absent. */
  readonly filesystem?: 'xfs' | 'ext4';
  readonly provisioning?: 'thin' | 'thick';
  readonly from?: SnapshotRef;
}
