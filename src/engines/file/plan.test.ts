import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FakeHost } from '../../host/fake.ts';
import { type KernelCall, kernelCalls } from '../../host/kernel/sync.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { Engine, PoolRef } from '../contract.ts';
import { mebibyte, prepared, ref, request, until } from './fake-world.ts';
import { planCreate } from './plan-create.ts';

type Operation = (engine: Engine, pool: PoolRef) => Promise<void>;

const cutSnapshot: Operation = async (engine, pool) => {
  const snapshot = ref(pool, 'source', 's2');
  await engine.snapshots?.prepare(snapshot);
  await engine.snapshots?.cut(snapshot);
  await engine.snapshots?.commit(snapshot, {
    name: 's2',
    uid: 'u',
    snapshotId: 's2',
    volumeId: 'source',
    sizeBytes: 0,
    cutAt: until.deletedAt,
    consistency: 'crash',
  });
};

const operations: Readonly<Record<string, Operation>> = {
  create: (engine, pool) => engine.volumes.create(request(pool, 'new')),
  'create thick xfs': (engine, pool) =>
    engine.volumes.create(request(pool, 'new', { filesystem: 'xfs', provisioning: 'thick' })),
  'create block': (engine, pool) => engine.volumes.create(request(pool, 'new', { mode: 'block' })),
  clone: (engine, pool) => {
    const source = { kind: 'snapshot', snapshot: ref(pool, 'source', 's1') } as const;
    return engine.volumes.create({ ...request(pool, 'new', { sizeBytes: 600 * mebibyte }), source });
  },
  'clone of an attached volume': async (engine, pool) => {
    const volume = { pool, volumeId: 'source' };
    await engine.volumes.attach(volume, { readOnly: false });
    await engine.volumes.create({
      ...request(pool, 'new', { provisioning: 'thick' }),
      source: { kind: 'volume', volume },
    });
    await engine.volumes.detach(volume);
  },
  expand: async (engine, pool) => {
    const volume = { pool, volumeId: 'source' };
    await engine.volumes.attach(volume, { readOnly: false });
    await engine.volumes.expand(volume, 700 * mebibyte);
    await engine.volumes.detach(volume);
  },
  delete: (engine, pool) => engine.volumes.delete({ pool, volumeId: 'source' }),
  recycle: async (engine, pool) => engine.volumes.recycle?.({ pool, volumeId: 'source' }, until),
  'recycle and undelete': async (engine, pool) => {
    const { volume, identity } = request(pool, 'source', { name: 'again' });
    await engine.volumes.recycle?.(volume, until);
    await engine.volumes.restoreRecycled?.(volume, identity);
  },
  snapshot: cutSnapshot,
  'delete snapshot': async (engine, pool) => engine.snapshots?.delete(ref(pool, 'source', 's1')),
  move: async (engine, pool) => {
    const volume = { pool, volumeId: 'source' };
    const other = await otherPool(engine, pool);
    const { identity } = request(other, 'source');
    const to = { pool: other, volumeId: 'source' };
    if ((await engine.volumes.observe(volume)).present)
      await engine.volumes.create({ volume: to, identity, parameters: {}, source: { kind: 'move', volume } });
    await engine.volumes.delete(volume);
  },
  restore: async (engine, pool) => engine.snapshots?.restore?.(ref(pool, 'source', 's1')),
};

/** A second pool of the fake machine. */
async function otherPool(engine: Engine, pool: PoolRef): Promise<PoolRef> {
  const { poolId: _, ...rest } = pool;
  const other: PoolRef = { ...rest, name: 'other', source: { kind: 'directory', path: '/other' } };
  return { ...other, poolId: (await engine.pools.open(other)).poolId };
}

const reading = new Set<KernelCall>([
  'readTextFile',
  'listDirectory',
  'stat',
  'statfs',
  'findLoop',
  'probeFilesystem',
  'canClone',
  'batch',
]);

/** Lets the n-th call that changes something fail, whichever it is, as if the process had ended there. */
function crashAt(host: FakeHost, n: number): { disarm(): void } {
  let left = n;
  const when = () => left-- === 0;
  for (const call of kernelCalls) {
    if (!reading.has(call)) host.failNext(call, new AzekuraError('Unavailable', 'the process ended'), { when });
  }
  return {
    disarm: () => {
      left = -1;
    },
  };
}

async function outcome(engine: Engine, host: FakeHost, pool: PoolRef): Promise<object> {
  const other = await otherPool(engine, pool);
  const sweep = (one: PoolRef) => engine.pools.sweep(one, { idle: true });
  return {
    volumes: [await engine.pools.list(pool), await engine.pools.list(other)],
    unfinished: [await sweep(pool), await sweep(other)],
    loops: host.machine.loops.size,
  };
}

describe('plans', () => {
  it('lead to the same end after any two interruptions at any calls', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...Object.keys(operations)),
        fc.nat(12),
        fc.nat(12),
        async (name, first, second) => {
          const operation = operations[name];
          if (!operation) throw new Error(name);
          const plain = await prepared();
          await operation(plain.engine(), plain.pool);
          const expected = await outcome(plain.engine(), plain.host, plain.pool);

          const world = await prepared();
          for (const at of [first, second]) {
            const crash = crashAt(world.host, at);
            await operation(world.engine(), world.pool).catch((error: unknown) => {
              if (!(error instanceof AzekuraError) || error.message !== 'the process ended') throw error;
            });
            crash.disarm();
          }
          // What was armed and not reached must not strike now.
          await operation(world.engine(), world.pool).catch(() => operation(world.engine(), world.pool));
          expect(await outcome(world.engine(), world.host, world.pool)).toEqual(expected);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('of a volume that is there has no steps', () => {
    const { identity } = request({} as PoolRef, 'v');
    expect(
      planCreate('/pool', identity, { present: true, recycled: false, leftover: true, source: { kind: 'blank' } }),
    ).toEqual([]);
  });

  it('never publish before everything else, nor touch anything outside tmp before', () => {
    const shapes = fc.record({
      mode: fc.constantFrom('filesystem' as const, 'block' as const),
      filesystem: fc.constantFrom('xfs' as const, 'ext4' as const),
      provisioning: fc.constantFrom('thin' as const, 'thick' as const),
      leftover: fc.boolean(),
      live: fc.boolean(),
      clone: fc.boolean(),
    });
    fc.assert(
      fc.property(shapes, ({ leftover, live, clone, ...part }) => {
        const { identity } = request({} as PoolRef, 'v', part);
        const source = clone
          ? ({ kind: 'clone', data: '/pool/volumes/s/data', sizeBytes: identity.sizeBytes, live } as const)
          : ({ kind: 'blank' } as const);
        const plan = planCreate('/pool', identity, { present: false, recycled: false, leftover, source });
        expect(plan.at(-1)).toMatchObject({
          name: 'file.create.publish',
          effect: { do: 'rename', to: '/pool/volumes/v', contents: true },
        });
        for (const { effect } of plan.slice(0, -1)) {
          const target = 'to' in effect ? effect.to : 'path' in effect ? effect.path : '';
          expect(target.startsWith('/pool/tmp/create-v')).toBe(true);
        }
      }),
    );
  });
});
