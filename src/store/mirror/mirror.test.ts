import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import { silentLogger } from '../../lib/log.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { Kind, Resource } from '../../model/kinds.ts';
import { annotations, finalizers } from '../../model/names.ts';
import { change, changeStatus } from '../change.ts';
import { eventually } from '../contract-helpers.ts';
import { openLmdbStore } from '../lmdb/lmdb-store.ts';
import type { LocalStore, Store } from '../store.ts';
import { newAttachment, newReplica, nodeName } from './fixture.ts';
import { type Mirror, startMirror } from './mirror.ts';

const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function openStore(): Promise<LocalStore> {
  const path = await mkdtemp(join(tmpdir(), 'azekura-mirror-'));
  const store = await openLmdbStore({ path, clock: systemClock });
  cleanUps.push(async () => {
    await store.close();
    await rm(path, { recursive: true });
  });
  return store;
}

/** A cluster that can be cut off, and whose answers can be lost after the write. */
class Line implements Store {
  readonly #store: Store;
  /** Calls until the line breaks; negative for never. */
  callsLeft = -1;
  writes = 0;
  #cut = new AbortController();

  constructor(store: Store) {
    this.#store = store;
  }

  cut(): void {
    this.callsLeft = 0;
    this.#cut.abort();
  }

  mend(): void {
    this.callsLeft = -1;
    this.#cut = new AbortController();
  }

  async #through<T>(call: () => Promise<T>, isWrite: boolean): Promise<T> {
    if (this.callsLeft === 0) throw away();
    if (isWrite) this.writes++;
    const result = await call();
    if (this.callsLeft > 0) this.callsLeft--;
    // Done there, but nobody hears of it.
    if (this.callsLeft === 0) throw away();
    return result;
  }

  get: Store['get'] = (kind, name) => this.#through(() => this.#store.get(kind, name), false);
  find: Store['find'] = (kind, name) => this.#through(() => this.#store.find(kind, name), false);
  list: Store['list'] = (kind, options) => this.#through(() => this.#store.list(kind, options), false);
  create: Store['create'] = (object) => this.#through(() => this.#store.create(object), true);
  update: Store['update'] = (object) => this.#through(() => this.#store.update(object), true);
  updateStatus: Store['updateStatus'] = (object) => this.#through(() => this.#store.updateStatus(object), true);
  delete: Store['delete'] = (kind, name, only) => this.#through(() => this.#store.delete(kind, name, only), true);
  close = async () => {};

  async *watch<K extends Kind>(kind: K, options: Parameters<Store['watch']>[1] = {}) {
    if (this.callsLeft === 0) throw away();
    const signals = [this.#cut.signal, ...(options.signal ? [options.signal] : [])];
    yield* this.#store.watch(kind, { ...options, signal: AbortSignal.any(signals) });
    if (options.signal?.aborted !== true) throw away();
  }
}

function away(): AzekuraError {
  return new AzekuraError('Unavailable', 'the line is cut');
}

class Bench {
  readonly cluster: LocalStore;
  readonly node: LocalStore;
  readonly line: Line;
  #mirror: Mirror | undefined;

  constructor(cluster: LocalStore, node: LocalStore) {
    this.cluster = cluster;
    this.node = node;
    this.line = new Line(cluster);
    cleanUps.push(() => this.stop());
  }

  static async open(): Promise<Bench> {
    return new Bench(await openStore(), await openStore());
  }

  get mirror(): Mirror {
    if (!this.#mirror) throw new Error('it is not started');
    return this.#mirror;
  }

  start(): void {
    const { node: local, line: remote } = this;
    this.#mirror ??= startMirror({ local, remote, nodeName, clock: systemClock, log: silentLogger });
  }

  async stop(): Promise<void> {
    await this.#mirror?.stop();
    this.#mirror = undefined;
  }

  /** Until everything is carried over. */
  async rest(): Promise<void> {
    await this.mirror.synced;
    await eventually(async () => {
      expect(this.mirror.state()).toMatchObject({ pending: 0 });
    });
  }

  /** What an agent does: looks, reports, and lets go of what is to go. */
  async agent(): Promise<void> {
    for (const kind of ['Replica', 'Attachment'] as const)
      for (const { metadata } of (await this.node.list(kind)).items) {
        await changeStatus(this.node, kind, metadata.name, (stored) => ({
          observedGeneration: stored.metadata.generation,
        }));
        if (metadata.deletionTimestamp !== undefined)
          await change(this.node, kind, metadata.name, (stored) => ({
            metadata: { finalizers: stored.metadata.finalizers.filter((one) => one !== finalizers.agent) },
          }));
      }
  }
}

describe('the mirror', () => {
  it("brings a node's objects down, and no other's, and makes its Volume of its Replica", async () => {
    const bench = await Bench.open();
    await bench.cluster.create(newReplica('mine'));
    await bench.cluster.create(newReplica('theirs', { nodeName: 'two' }));
    bench.start();
    await bench.rest();
    expect((await bench.node.list('Replica')).items.map(({ metadata }) => metadata.name)).toEqual(['mine-0']);
    const there = await bench.cluster.get('Replica', 'mine-0');
    const here = await bench.node.get('Replica', 'mine-0');
    expect(here.metadata).toMatchObject({
      uid: there.metadata.uid,
      creationTimestamp: there.metadata.creationTimestamp,
    });
    expect(await bench.node.get('Volume', 'name-of-mine')).toMatchObject({
      status: { volumeId: 'mine', phase: 'Creating' },
    });
    await changeStatus(bench.node, 'Replica', 'mine-0', () => ({ phase: 'Ready' as const, sizeBytes: 1 << 20 }));
    await bench.rest();
    expect(await bench.node.get('Volume', 'name-of-mine')).toMatchObject({
      status: { phase: 'Ready', sizeBytes: 1 << 20 },
    });
    expect(await bench.cluster.get('Replica', 'mine-0')).toMatchObject({
      status: { phase: 'Ready', sizeBytes: 1 << 20 },
    });
  });

  it('registers the node, and again when its object was removed', async () => {
    const bench = await Bench.open();
    await bench.node.create({ kind: 'Node', metadata: { name: nodeName }, spec: { topology: { host: nodeName } } });
    await changeStatus(bench.node, 'Node', nodeName, () => ({ phase: 'Ready' as const }));
    bench.start();
    await bench.rest();
    const first = await bench.cluster.get('Node', nodeName);
    expect(first).toMatchObject({ spec: { topology: { host: nodeName } }, status: { phase: 'Ready' } });
    await bench.cluster.delete('Node', nodeName);
    await eventually(async () => {
      const again = await bench.cluster.get('Node', nodeName);
      expect(again.metadata.uid).not.toBe(first.metadata.uid);
      expect(again.status.phase).toBe('Ready');
    });
    await bench.rest();
    expect((await bench.node.get('Node', nodeName)).metadata.uid).toBe(
      (await bench.cluster.get('Node', nodeName)).metadata.uid,
    );
  });

  it('takes a deletion down and the end of it up', async () => {
    const bench = await Bench.open();
    await bench.cluster.create(newReplica('v'));
    bench.start();
    await bench.rest();
    await bench.cluster.delete('Replica', 'v-0');
    await eventually(async () => {
      expect((await bench.node.get('Replica', 'v-0')).metadata.deletionTimestamp).toBeDefined();
    });
    expect(await bench.cluster.find('Replica', 'v-0')).toBeDefined();
    await bench.agent();
    await eventually(async () => {
      expect(await bench.cluster.find('Replica', 'v-0')).toBeUndefined();
      expect(await bench.node.find('Replica', 'v-0')).toBeUndefined();
      expect(await bench.node.find('Volume', 'name-of-v')).toBeUndefined();
    });
  });

  it('keeps what vanished from the cluster, says so, and joins it with what is adopted in its place', async () => {
    const bench = await Bench.open();
    await bench.cluster.create(newReplica('v'));
    bench.start();
    await bench.rest();
    await changeStatus(bench.node, 'Replica', 'v-0', () => ({ phase: 'Ready' as const, sizeBytes: 1 << 20 }));
    await bench.rest();
    await change(bench.cluster, 'Replica', 'v-0', () => ({ metadata: { finalizers: [] } }));
    await bench.cluster.delete('Replica', 'v-0');
    await eventually(async () => expect(bench.mirror.state().kept).toEqual(['Replica/v-0']));
    expect((await bench.node.get('Replica', 'v-0')).metadata.deletionTimestamp).toBeUndefined();
    const adopted = await bench.cluster.create(newReplica('v'));
    await eventually(async () => {
      expect(bench.mirror.state().kept).toEqual([]);
      expect((await bench.node.get('Replica', 'v-0')).metadata.uid).toBe(adopted.metadata.uid);
    });
    await bench.rest();
    expect(await bench.cluster.get('Replica', 'v-0')).toMatchObject({ status: { phase: 'Ready', sizeBytes: 1 << 20 } });
  });

  it('shows what a machine had before it joined the cluster, and joins it with what is adopted', async () => {
    const bench = await Bench.open();
    const source = { kind: 'directory' as const, path: '/srv/pool' };
    const pool = { kind: 'Pool' as const, metadata: { name: 'main' }, spec: { nodeName, source } };
    await bench.node.create({ ...pool, metadata: { name: 'main', finalizers: [finalizers.agent] } });
    await changeStatus(bench.node, 'Pool', 'main', () => ({ phase: 'Ready' as const, poolId: 'p1' }));
    await bench.node.create(newReplica('v'));
    await changeStatus(bench.node, 'Replica', 'v-0', () => ({ phase: 'Ready' as const, sizeBytes: 1 << 20 }));
    const own = { volumeId: 'v', sizeBytes: 1 << 20, phase: 'Ready' as const };
    await bench.node.create({
      kind: 'Volume',
      metadata: { name: 'name-of-v', finalizers: [finalizers.volume] },
      spec: { sizeBytes: 1 << 20 },
      status: own,
    });
    bench.start();
    await eventually(async () => expect(bench.mirror.state().kept).toEqual(['Pool/main', 'Replica/v-0']));
    expect((await bench.node.get('Replica', 'v-0')).metadata.annotations[annotations.unknownToCluster]).toBe('true');
    await bench.cluster.create(pool);
    await bench.cluster.create(newReplica('v'));
    await eventually(async () => expect(bench.mirror.state()).toMatchObject({ kept: [], pending: 0 }));
    expect(await bench.cluster.get('Pool', 'main')).toMatchObject({
      metadata: { finalizers: [finalizers.agent] },
      status: { phase: 'Ready', poolId: 'p1' },
    });
    const joined = await bench.node.get('Replica', 'v-0');
    expect(joined.metadata.uid).toBe((await bench.cluster.get('Replica', 'v-0')).metadata.uid);
    expect(joined.metadata.annotations[annotations.unknownToCluster]).toBeUndefined();
    // The Volume is made once the node's own watch has told of the Replica, so nothing pends for a moment before that.
    await eventually(async () =>
      expect((await bench.node.get('Volume', 'name-of-v')).metadata).toMatchObject({ uid: 'uid-of-v', finalizers: [] }),
    );
  });

  it('goes on without the cluster, and tells it everything when it is back', async () => {
    const bench = await Bench.open();
    await bench.cluster.create(newAttachment('v'));
    bench.start();
    await bench.rest();
    bench.line.cut();
    await change(bench.node, 'Attachment', `v-${nodeName}`, ({ spec }) => ({ spec: { ...spec, staged: true } }));
    await changeStatus(bench.node, 'Attachment', `v-${nodeName}`, () => ({ stagingPath: '/staging' }));
    await eventually(async () => expect(bench.mirror.state()).toMatchObject({ reachable: false }));
    expect(bench.mirror.state().pending).toBeGreaterThan(0);
    bench.line.mend();
    await bench.rest();
    expect(await bench.cluster.get('Attachment', `v-${nodeName}`)).toMatchObject({
      spec: { staged: false },
      status: { stagingPath: '/staging' },
    });
  });

  it('starts without the cluster and changes nothing on the node', async () => {
    const bench = await Bench.open();
    await bench.cluster.create(newReplica('v'));
    bench.start();
    await bench.rest();
    await bench.stop();
    const before = await contents(bench.node);
    bench.line.cut();
    bench.start();
    await eventually(async () => expect(bench.mirror.state().reachable).toBe(false));
    expect(await contents(bench.node)).toEqual(before);
    expect(bench.mirror.state().kept).toEqual([]);
  });

  it('hands up tasks that failed, once, and no quick success', async () => {
    const bench = await Bench.open();
    bench.start();
    const spec = { verb: 'CreateVolume', subject: { kind: 'Volume', name: 'v' }, nodeName };
    const times = { startedAt: '2026-01-01T00:00:00.000Z', endedAt: '2026-01-01T00:00:01.000Z' };
    await bench.node.create({
      kind: 'Task',
      metadata: { name: 'quick' },
      spec,
      status: { phase: 'Succeeded', ...times },
    });
    await bench.node.create({ kind: 'Task', metadata: { name: 'bad' }, spec, status: { phase: 'Failed', ...times } });
    await eventually(async () =>
      expect(await bench.cluster.get('Task', 'bad')).toMatchObject({ status: { phase: 'Failed' } }),
    );
    await bench.rest();
    await bench.cluster.delete('Task', 'bad');
    await bench.stop();
    bench.start();
    await bench.rest();
    expect((await bench.cluster.list('Task')).items).toEqual([]);
  });

  it('converges after any changes, cuts, lost answers and restarts, and then writes nothing more', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 4, maxLength: 25 }), async (events) => {
        const bench = await Bench.open();
        bench.start();
        for (const one of events) await happen(bench, one);
        bench.line.mend();
        bench.start();
        await expectJoined(bench);
        await bench.stop();
      }),
      { numRuns: 25 },
    );
  }, 120_000);
});

const volumes = ['v', 'w'] as const;
type Event =
  | { readonly do: 'create' | 'grow' | 'delete' | 'stage'; readonly volume: (typeof volumes)[number] }
  | { readonly do: 'agent' | 'cut' | 'mend' | 'restart' | 'pause' }
  | { readonly do: 'break'; readonly after: number };

const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('create' as const, 'grow' as const, 'delete' as const, 'stage' as const),
      volume: fc.constantFrom(...volumes),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'agent' as const,
        'agent' as const,
        'cut' as const,
        'mend' as const,
        'restart' as const,
        'pause' as const,
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('break' as const), after: fc.integer({ min: 1, max: 6 }) }) },
);

async function happen(bench: Bench, one: Event): Promise<void> {
  switch (one.do) {
    case 'create':
      for (const object of [newReplica(one.volume), newAttachment(one.volume)])
        await bench.cluster.create(object).catch(() => {});
      return;
    case 'grow':
      await change(bench.cluster, 'Replica', `${one.volume}-0`, ({ spec }) => ({
        spec: { ...spec, sizeBytes: spec.sizeBytes * 2 },
      }));
      return;
    case 'delete':
      await bench.cluster.delete('Attachment', `${one.volume}-${nodeName}`);
      await bench.cluster.delete('Replica', `${one.volume}-0`);
      return;
    case 'stage':
      await change(bench.node, 'Attachment', `${one.volume}-${nodeName}`, ({ spec }) => ({
        spec: { ...spec, staged: !spec.staged },
      }));
      return;
    case 'agent':
      await bench.agent();
      return;
    case 'cut':
      bench.line.cut();
      return;
    case 'mend':
      bench.line.mend();
      return;
    case 'break':
      bench.line.callsLeft = one.after;
      return;
    case 'restart':
      await bench.stop();
      bench.start();
      return;
    case 'pause':
      await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function expectJoined(bench: Bench): Promise<void> {
  await bench.mirror.synced;
  await eventually(async () => {
    await bench.agent();
    expect(bench.mirror.state()).toMatchObject({ pending: 0, kept: [], conflicts: [] });
    for (const kind of ['Replica', 'Attachment'] as const) {
      const there = (await bench.cluster.list(kind)).items;
      const here = (await bench.node.list(kind)).items;
      expect(here.map(identity)).toEqual(there.map(identity));
      for (const [index, object] of there.entries()) {
        expect(object.metadata.deletionTimestamp).toBeUndefined();
        expect(object.status.observedGeneration).toBe(object.metadata.generation);
        if (object.kind === 'Replica') expect(here[index]?.spec).toEqual(object.spec);
      }
    }
  });
  await eventually(async () => {
    const replicas = (await bench.node.list('Replica')).items.map(({ spec }) => spec.volumeName);
    expect((await bench.node.list('Volume')).items.map(({ metadata }) => metadata.name)).toEqual(replicas);
  });
  const writes = bench.line.writes;
  const before = await contents(bench.node);
  await bench.stop();
  bench.start();
  await bench.rest();
  expect(await contents(bench.node)).toEqual(before);
  expect(bench.line.writes).toBe(writes);
}

function identity({ metadata }: Resource): string {
  return `${metadata.name} ${metadata.uid}`;
}

async function contents(store: Store): Promise<unknown> {
  const kinds = ['Node', 'Replica', 'Attachment', 'Volume', 'Task'] as const;
  return Promise.all(kinds.map(async (kind) => (await store.list(kind)).items));
}
