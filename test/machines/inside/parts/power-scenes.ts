import assert from 'node:assert/strict';
import type { Engine, PoolRef, SnapshotRef, VolumeIdentity, VolumeRef } from '../../../../src/engines/contract.ts';

/** One operation on a pool: what is there before it, the operation, and what is true after it. All may be repeated. */
export interface Scene {
  prepare?(stage: SceneStage): Promise<void>;
  run(stage: SceneStage): Promise<void>;
  check(stage: SceneStage): Promise<void>;
  /** Takes away what the scene itself made beside its volume. */
  end?(stage: SceneStage): Promise<void>;
}

export interface SceneStage {
  readonly engine: Engine;
  readonly pool: PoolRef;
  /** The pool with a second disk. */
  readonly wide: PoolRef;
  readonly volume: VolumeRef;
  readonly identity: (part?: Partial<VolumeIdentity>) => VolumeIdentity;
  readonly snapshot: SnapshotRef;
  readonly clone: VolumeRef;
  /** Moves the volume to the second disk, with LVM's own command. */
  place(): Promise<void>;
}

const mebibyte = 2 ** 20;
const sizeBytes = 16 * mebibyte;
const grownBytes = 32 * mebibyte;
const until = { deletedAt: '2026-01-01T00:00:00.000Z', expiresAt: '2026-01-02T00:00:00.000Z' };

const create = ({ engine, volume, identity }: SceneStage, provisioning: 'thin' | 'thick' = 'thin') =>
  engine.volumes.create({ volume, identity: identity({ provisioning }), parameters: {} });

async function present({ engine, volume }: SceneStage, bytes = sizeBytes): Promise<void> {
  const { present: is, recycled, sizeBytes: seen, identity, causes } = await engine.volumes.observe(volume);
  assert.deepEqual(
    { is, recycled, seen, causes, told: identity?.sizeBytes },
    { is: true, recycled: false, seen: bytes, causes: [], told: bytes },
  );
}

async function cut({ engine, snapshot }: SceneStage): Promise<void> {
  const snapshots = engine.snapshots;
  assert(snapshots);
  await snapshots.prepare(snapshot);
  await snapshots.cut(snapshot);
  await snapshots.commit(snapshot, {
    name: 's',
    uid: '3b1f6b0e-7d43-4c67-9d31-0d6f2a1c9a55',
    snapshotId: snapshot.snapshotId,
    volumeId: snapshot.volumeId,
    sizeBytes,
    cutAt: until.deletedAt,
    consistency: 'crash',
  });
}

const grow = (provisioning: 'thin' | 'thick'): Scene => ({
  prepare: (stage) => create(stage, provisioning),
  async run(stage) {
    await stage.engine.volumes.attach(stage.volume, { readOnly: false });
    await stage.engine.volumes.expand(stage.volume, grownBytes);
  },
  check: (stage) => present(stage, grownBytes),
});

async function disks({
  engine,
  pool,
}: SceneStage): Promise<readonly { readonly id: string; readonly source?: string | undefined }[]> {
  return (await engine.pools.observe(pool)).disks ?? [];
}

async function maintain({ engine }: SceneStage, pool: PoolRef): Promise<void> {
  for (let round = 0; round < 50; round++) if ((await engine.pools.maintain?.(pool))?.length === 0) return;
  assert.fail('there is always something left to do');
}

/** The second disk leaves; the pool that is meant names both, and the one that is to go. */
async function leave(stage: SceneStage): Promise<void> {
  const second = stage.wide.source.kind === 'disks' ? stage.wide.source.disks[1] : undefined;
  const seen = (await stage.engine.pools.observe(stage.wide)).disks ?? [];
  const leavingDisks = seen.filter(({ source }) => source === second).map(({ id }) => id);
  await maintain(stage, { ...stage.pool, leavingDisks });
}

/** Every operation of the engine that changes something on the disks. */
export const scenes: Readonly<Record<string, Scene>> = {
  'make-thin': { run: (stage) => create(stage), check: (stage) => present(stage) },
  'make-thick': { run: (stage) => create(stage, 'thick'), check: (stage) => present(stage) },
  'grow-thin': grow('thin'),
  'grow-thick': grow('thick'),
  attach: {
    prepare: (stage) => create(stage),
    async run({ engine, volume }) {
      await engine.volumes.attach(volume, { readOnly: false });
      await engine.volumes.detach(volume);
    },
    check: (stage) => present(stage),
  },
  delete: {
    async prepare(stage) {
      await create(stage);
      await cut(stage);
    },
    run: ({ engine, volume }) => engine.volumes.delete(volume),
    check: async ({ engine, volume }) => assert.equal((await engine.volumes.observe(volume)).present, false),
  },
  recycle: {
    prepare: (stage) => create(stage),
    run: async ({ engine, volume }) => engine.volumes.recycle?.(volume, until),
    check: async ({ engine, volume }) => assert.equal((await engine.volumes.observe(volume)).recycled, true),
  },
  undelete: {
    async prepare(stage) {
      await create(stage);
      await stage.engine.volumes.recycle?.(stage.volume, until);
    },
    run: async ({ engine, volume, identity }) => engine.volumes.restoreRecycled?.(volume, identity()),
    check: (stage) => present(stage),
  },
  snapshot: {
    prepare: (stage) => create(stage),
    run: cut,
    check: async ({ engine, snapshot }) => assert.equal((await engine.snapshots?.observe(snapshot))?.present, true),
  },
  'delete-snapshot': {
    async prepare(stage) {
      await create(stage);
      await cut(stage);
    },
    run: async ({ engine, snapshot }) => engine.snapshots?.delete(snapshot),
    async check(stage) {
      assert.equal((await stage.engine.snapshots?.observe(stage.snapshot))?.present, false);
      await present(stage);
    },
  },
  restore: {
    async prepare(stage) {
      await create(stage);
      await cut(stage);
    },
    run: async ({ engine, snapshot }) => engine.snapshots?.restore?.(snapshot),
    check: (stage) => present(stage),
  },
  clone: {
    async prepare(stage) {
      await create(stage);
      await cut(stage);
    },
    run: ({ engine, clone, snapshot, identity }) =>
      engine.volumes.create({
        volume: clone,
        identity: identity({ volumeId: clone.volumeId, sizeBytes: grownBytes }),
        parameters: {},
        source: { kind: 'snapshot', snapshot },
      }),
    check: (stage) => present({ ...stage, volume: stage.clone }, grownBytes),
    end: ({ engine, clone }) => engine.volumes.delete(clone),
  },
  'disk-joins': {
    prepare: (stage) => create(stage),
    run: (stage) => maintain(stage, stage.wide),
    async check(stage) {
      assert.equal((await disks(stage)).length, 2);
      await present(stage);
    },
    end: leave,
  },
  'disk-leaves': {
    async prepare(stage) {
      await maintain(stage, stage.wide);
      await create(stage, 'thick');
      await stage.place();
    },
    run: leave,
    async check(stage) {
      assert.equal((await disks(stage)).length, 1);
      await present(stage);
    },
  },
};
