import { afterEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../lib/fake-clock.ts';
import { grownToDetail } from '../model/attachment.ts';
import { annotations, attachmentName, finalizers, replicaName } from '../model/names.ts';
import { change, changeStatus } from '../store/change.ts';
import { ControlFixture } from './fixture.ts';

const gibibyte = 2 ** 30;
const day = 24 * 3_600_000;
let fixture: ControlFixture;
afterEach(() => fixture.close());

const idOf = async (name: string) => (await fixture.store.get('Volume', name)).status.volumeId ?? '';
const entryOf = async () => (await fixture.store.list('RecycledVolume')).items[0];
const entryName = async () => (await entryOf())?.metadata.name ?? '';

describe('provisioning', () => {
  it('makes the classes of a new instance once', async () => {
    fixture = await ControlFixture.open();
    const classes = (await fixture.store.list('Class')).items;
    expect(classes.map((one) => one.metadata.name)).toEqual(['local-ext4', 'local-xfs', 'local-xfs-thick']);
    expect(classes.filter((one) => one.spec.isDefault).map((one) => one.metadata.name)).toEqual(['local-xfs']);
  });

  it('makes a volume of an object alone, as Kubernetes would write it', async () => {
    fixture = await ControlFixture.open();
    await fixture.store.create({ kind: 'Volume', metadata: { name: 'v' }, spec: { sizeBytes: gibibyte } });
    await fixture.ready('v');
    const { status } = await fixture.store.get('Volume', 'v');
    expect(status.replicas).toMatchObject([{ replicaName: replicaName(status.volumeId ?? '', 0), poolName: 'main' }]);
  });

  it('takes its finalizer again that somebody took off, so that no deletion leaves its copy behind', async () => {
    fixture = await ControlFixture.open();
    await fixture.volume('v');
    await change(fixture.store, 'Volume', 'v', () => ({ metadata: { finalizers: ['somebody.else/keeps'] } }));
    const held = await fixture.until('Volume', 'v', (volume) => volume?.metadata.finalizers.length === 2);
    expect(held?.metadata.finalizers).toEqual(['somebody.else/keeps', finalizers.volume]);
  });

  it('calls a volume Ready as soon as its mounted file system has grown, whatever else is told of it', async () => {
    fixture = await ControlFixture.open();
    await fixture.volume('v');
    await fixture.operations.mountVolume('v', { path: '/mnt/v' });
    const name = attachmentName(await idOf('v'), 'here');
    const grownTo = (bytes: number) =>
      changeStatus(fixture.store, 'Attachment', name, () => ({
        layers: [{ kind: 'filesystem' as const, name: 'xfs', details: { [grownToDetail]: String(bytes) } }],
      }));
    await fixture.until('Attachment', name, (one) => one?.status.phase === 'Attached');
    await grownTo(gibibyte / 2);
    await fixture.until('Volume', 'v', (one) => one?.status.phase === 'Expanding');
    await grownTo(gibibyte);
    await fixture.ready('v');
  });

  it('waits for a place, says why, and goes on when there is one', async () => {
    fixture = await ControlFixture.open({ pools: [] });
    await fixture.store.create({ kind: 'Volume', metadata: { name: 'v' }, spec: { sizeBytes: gibibyte } });
    const waiting = await fixture.until('Volume', 'v', (one) => one?.status.causes.length === 1);
    expect(waiting?.status).toMatchObject({ phase: 'Pending', causes: [{ code: 'PoolNotFound' }] });
    await fixture.addPool('late');
    await fixture.ready('v');
    expect((await fixture.store.get('Volume', 'v')).status.causes).toEqual([]);
  });

  it('makes no empty copy for a volume that is being adopted', async () => {
    fixture = await ControlFixture.open();
    // As the Kubernetes API shows it between two writes: the status is not there yet.
    const marks = { [annotations.volumeId]: 'lost', [annotations.adoptedFrom]: 'other' };
    await fixture.store.create({
      kind: 'Volume',
      metadata: { name: 'v', annotations: marks },
      spec: { sizeBytes: gibibyte },
    });
    const waiting = await fixture.until('Volume', 'v', (one) => one?.status.causes.length === 1);
    expect(waiting?.status.causes).toMatchObject([{ code: 'BackingMissing' }]);
    expect((await fixture.store.list('Replica')).items).toEqual([]);
  });

  it('does not make anew what had data and has lost its replica', async () => {
    fixture = await ControlFixture.open();
    await fixture.volume('v');
    await fixture.store.delete('Replica', replicaName(await idOf('v'), 0));
    const lost = await fixture.until('Volume', 'v', (one) => one?.status.causes.length === 1);
    expect(lost?.status.causes).toMatchObject([{ code: 'BackingMissing' }]);
    expect((await fixture.store.list('Replica')).items).toEqual([]);
  });
});

describe('deleting', () => {
  it('puts a volume into the bin with its snapshots, and brings it back under another name', async () => {
    fixture = await ControlFixture.open();
    const before = await fixture.volume('v');
    await fixture.operations.createSnapshot({ name: 's', volumeName: 'v' });
    await fixture.operations.deleteVolume('v');
    await fixture.until('Volume', 'v', (one) => one === undefined);
    expect((await entryOf())?.spec).toMatchObject({ volumeName: 'v', volumeId: before.status.volumeId });
    expect(await fixture.store.find('Snapshot', 's')).toBeDefined();
    await fixture.volume('v');
    const { metadata } = await fixture.operations.undeleteVolume('v', { as: 'old' });
    expect(metadata.name).toBe('old');
    await fixture.ready('old');
    expect((await fixture.store.get('Volume', 'old')).status.volumeId).toBe(before.status.volumeId);
    const replica = await fixture.store.get('Replica', replicaName(before.status.volumeId ?? '', 0));
    expect(replica.spec).toMatchObject({ volumeName: 'old', volumeUid: metadata.uid });
    expect(replica.spec.recycled).toBeUndefined();
    await expect.poll(entryOf).toBeUndefined();
  });

  it('brings a volume back that was deleted a moment ago', async () => {
    fixture = await ControlFixture.open();
    await fixture.volume('v');
    await fixture.operations.deleteVolume('v');
    await fixture.operations.undeleteVolume('v');
    await fixture.ready('v');
  });

  it('does not do again on the volume that came back what was asked of the old one', async () => {
    fixture = await ControlFixture.open();
    await fixture.volume('v');
    await fixture.operations.createSnapshot({ name: 's', volumeName: 'v' });
    await fixture.until('Snapshot', 's', (one) => one?.status.readyToUse === true);
    await fixture.operations.restoreVolume('v', 's');
    await fixture.until('Volume', 'v', (one) => one?.status.restore !== undefined);
    await fixture.operations.deleteVolume('v');
    await fixture.until('Volume', 'v', (one) => one === undefined);
    await fixture.operations.undeleteVolume('v');
    await fixture.ready('v');
    expect((await fixture.store.get('Volume', 'v')).spec.restore).toBeUndefined();
  });

  it('purges when the time has come, snapshots included', async () => {
    const clock = new FakeClock(Date.now());
    fixture = await ControlFixture.open({ clock });
    await fixture.volume('v');
    await fixture.operations.createSnapshot({ name: 's', volumeName: 'v' });
    await fixture.operations.deleteVolume('v');
    await fixture.until('Volume', 'v', (one) => one === undefined);
    const name = await entryName();
    await fixture.until('RecycledVolume', name, (one) => one?.status.phase === 'Recycled');
    for (let hour = 0; hour < 23; hour++) await clock.advance(day / 24);
    expect(await fixture.store.find('RecycledVolume', name)).toBeDefined();
    for (let hour = 0; hour < 3; hour++) await clock.advance(day / 24);
    await expect
      .poll(
        async () => {
          await clock.advance(1_000);
          return entryOf();
        },
        { timeout: 60_000 },
      )
      .toBeUndefined();
    expect((await fixture.store.list('Replica')).items).toEqual([]);
    expect(await fixture.store.find('Snapshot', 's')).toBeUndefined();
    expect(fixture.released.map(({ kind, purged }) => [kind, purged])).toEqual([
      ['Snapshot', true],
      ['Replica', true],
    ]);
  });

  it('for good goes past the bin', async () => {
    fixture = await ControlFixture.open();
    await fixture.volume('v');
    await fixture.operations.deleteVolume('v', { skipRecycleBin: true });
    await fixture.until('Volume', 'v', (one) => one === undefined);
    expect(await entryOf()).toBeUndefined();
    expect((await fixture.store.list('Replica')).items).toEqual([]);
  });

  it.each(['RecycledVolume', 'Snapshot', 'SnapshotGroup', 'Replica'] as const)(
    'destroys nothing for the deletion of a %s that nobody asked Azekura for',
    async (kind) => {
      fixture = await ControlFixture.open();
      await fixture.volume('v');
      await fixture.operations.createSnapshot({ name: 's', volumeName: 'v' });
      await fixture.until('Snapshot', 's', (one) => one?.status.readyToUse === true);
      if (kind === 'SnapshotGroup') {
        await fixture.operations.createSnapshotGroup({ name: 'g', volumeNames: ['v'] });
        await fixture.until('Snapshot', 'g-v', (one) => one?.status.readyToUse === true);
      }
      if (kind === 'RecycledVolume') {
        await fixture.operations.deleteVolume('v');
        await fixture.until('Volume', 'v', (one) => one === undefined);
      }
      for (const { metadata } of (await fixture.store.list(kind)).items)
        await fixture.store.delete(kind, metadata.name);
      await expect.poll(async () => (await fixture.store.list(kind)).items).toEqual([]);
      expect(fixture.released.length).toBeGreaterThan(0);
      expect(fixture.released.filter(({ purged }) => purged)).toEqual([]);
    },
  );

  it('puts a volume into the bin for a day when its deletion came past Azekura, whatever its policy', async () => {
    fixture = await ControlFixture.open();
    await fixture.operations.createVolume({ name: 'v', sizeBytes: gibibyte, recycleMs: 0 });
    await fixture.ready('v');
    await fixture.store.delete('Volume', 'v');
    await fixture.until('Volume', 'v', (one) => one === undefined);
    const spec = (await entryOf())?.spec;
    expect(Date.parse(spec?.expiresAt ?? '') - Date.parse(spec?.deletedAt ?? '')).toBe(day);
    expect(fixture.released).toEqual([]);
  });

  it('deletes what a crash has left between the consent and the deletion', async () => {
    fixture = await ControlFixture.open();
    await fixture.volume('v');
    const name = replicaName(await idOf('v'), 0);
    await fixture.operations.deleteVolume('v');
    await fixture.until('Volume', 'v', (one) => one === undefined);
    await change(fixture.store, 'Replica', name, ({ spec }) => ({ spec: { ...spec, purge: true } }));
    await fixture.operations.purgeVolume(await entryName());
    await fixture.until('Replica', name, (one) => one === undefined);
    expect(fixture.released).toEqual([{ kind: 'Replica', name, purged: true }]);
  });

  it('waits for an attachment that came between the request and its end', async () => {
    fixture = await ControlFixture.open();
    const { status, metadata } = await fixture.volume('v');
    const spec = {
      volumeName: 'v',
      volumeUid: metadata.uid,
      volumeId: status.volumeId ?? '',
      nodeName: 'here',
      access: 'filesystem' as const,
    };
    const name = attachmentName(spec.volumeId, 'here');
    await fixture.store.create({ kind: 'Attachment', metadata: { name }, spec });
    await fixture.store.delete('Volume', 'v');
    await fixture.until('Volume', 'v', (one) => one?.status.causes[0]?.code === 'InUse');
    expect((await fixture.store.list('Replica')).items[0]?.spec.recycled).toBeUndefined();
    await fixture.store.delete('Attachment', name);
    await fixture.until('Volume', 'v', (one) => one === undefined);
  });

  it('of what never got a place leaves nothing', async () => {
    fixture = await ControlFixture.open({ pools: [] });
    await fixture.store.create({
      kind: 'Volume',
      metadata: { name: 'v', finalizers: ['azekura.dev/volume'] },
      spec: { sizeBytes: gibibyte },
    });
    await fixture.until('Volume', 'v', (one) => one?.status.causes.length === 1);
    await fixture.store.delete('Volume', 'v');
    await fixture.until('Volume', 'v', (one) => one === undefined);
    expect(await entryOf()).toBeUndefined();
  });
});

describe('a pool into its reserve', () => {
  it('has its bin emptied, what was deleted first goes first, and no more than needed', async () => {
    const clock = new FakeClock(Date.now());
    fixture = await ControlFixture.open({ clock });
    for (const name of ['first', 'second']) {
      await fixture.volume(name);
      await fixture.operations.deleteVolume(name);
      await fixture.until('Volume', name, (one) => one === undefined);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const names = () =>
      fixture.store.list('RecycledVolume').then(({ items }) => items.map((one) => one.spec.volumeName));
    await changeStatus(fixture.store, 'Pool', 'main', () => ({ freeBytes: 0, reserveBytes: gibibyte / 2 }));
    await expect
      .poll(async () => {
        await clock.advance(500);
        return names();
      })
      .toEqual(['second']);
    await changeStatus(fixture.store, 'Pool', 'main', () => ({ freeBytes: gibibyte }));
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (let turn = 0; turn < 10; turn++) await clock.advance(15_000);
    expect(await names()).toEqual(['second']);
  });
});

describe('a pool that is drained', () => {
  it('gives its volumes to the others, one after the other, and says which must stay', async () => {
    fixture = await ControlFixture.open({ pools: ['main'] });
    for (const name of ['a', 'b', 'mounted']) await fixture.volume(name);
    await fixture.addPool('spare');
    await fixture.operations.mountVolume('mounted', { path: '/mnt/x' });
    await fixture.until('Volume', 'mounted', (one) => one?.status.attachedTo.length === 1);
    const { cannot, moves } = await fixture.operations.drainPool('main');
    expect(cannot).toMatchObject([{ volume: 'mounted', why: { code: 'InUse' } }]);
    expect(moves.map((one) => one.volume).sort()).toEqual(['a', 'b']);
    const on = async (pool: string) =>
      (await fixture.store.list('Replica')).items
        .filter((one) => one.spec.poolName === pool)
        .map((one) => one.spec.volumeName);
    await expect.poll(() => on('main'), { timeout: 5_000 }).toEqual(['mounted']);
    const task = async () => (await fixture.store.list('Task')).items.find((one) => one.spec.verb === 'DrainPool');
    await expect.poll(async () => (await task())?.status.cause?.code).toBe('InUse');
    await fixture.operations.unmountVolume('mounted');
    await expect.poll(() => on('spare'), { timeout: 5_000 }).toHaveLength(3);
    await expect
      .poll(async () => (await task())?.status, { timeout: 5_000 })
      .toMatchObject({ phase: 'Succeeded', progress: { doneBytes: 3 * gibibyte } });
  });

  it('ends its task when the drain is called off', async () => {
    fixture = await ControlFixture.open();
    await fixture.volume('a');
    await fixture.operations.drainPool('main');
    await expect.poll(async () => (await fixture.store.list('Task')).items[0]?.status.cause?.code).toBe('PoolNotFound');
    await fixture.operations.drainPool('main', { cancel: true });
    await expect.poll(async () => (await fixture.store.list('Task')).items[0]?.status.phase).toBe('Cancelled');
  });
});

describe('the history', () => {
  it('keeps the newest tasks, and those that run', async () => {
    fixture = await ControlFixture.open();
    const { store } = fixture;
    await store.create({
      kind: 'Task',
      metadata: { name: 'running' },
      spec: { verb: 'X', subject: { kind: 'Pool', name: 'main' } },
      status: { startedAt: '2020-01-01T00:00:00.000Z' },
    });
    const time = (index: number) => new Date(Date.UTC(2026, 0, 1) + index * 1_000).toISOString();
    await Promise.all(
      Array.from({ length: 1_200 }, (_, index) =>
        store.create({
          kind: 'Task',
          metadata: { name: `t-${index}` },
          spec: { verb: 'X', subject: { kind: 'Pool', name: 'main' } },
          status: { phase: 'Succeeded', endedAt: time(index) },
        }),
      ),
    );
    await expect.poll(async () => (await store.list('Task')).items.length, { timeout: 10_000 }).toBe(1_000);
    expect(await store.find('Task', 'running')).toBeDefined();
    expect(await store.find('Task', 't-1199')).toBeDefined();
    expect(await store.find('Task', 't-0')).toBeUndefined();
  });
});

describe('a snapshot without ids', () => {
  it('gets those of its volume', async () => {
    fixture = await ControlFixture.open();
    await fixture.volume('v');
    await fixture.store.create({ kind: 'Snapshot', metadata: { name: 's' }, spec: { volumeName: 'v' } });
    const snapshot = await fixture.until('Snapshot', 's', (one) => one?.spec.snapshotId !== undefined);
    expect(snapshot?.spec).toMatchObject({ volumeId: await idOf('v'), poolName: 'main', nodeName: 'here' });
  });

  it('of a volume that never was says so, and can be deleted', async () => {
    fixture = await ControlFixture.open();
    await fixture.store.create({
      kind: 'Snapshot',
      metadata: { name: 's', finalizers: ['azekura.dev/agent'] },
      spec: { volumeName: 'gone' },
    });
    await fixture.until('Snapshot', 's', (one) => one?.status.causes[0]?.code === 'SnapshotSourceGone');
    await fixture.store.delete('Snapshot', 's');
    await fixture.until('Snapshot', 's', (one) => one === undefined);
  });
});

describe('a replica', () => {
  it('follows what is wanted of its volume', async () => {
    fixture = await ControlFixture.open();
    await fixture.volume('v');
    const claim = { namespace: 'default', name: 'data' };
    await change(fixture.store, 'Volume', 'v', ({ spec }) => ({ spec: { ...spec, claim, sizeBytes: 2 * gibibyte } }));
    const replica = await fixture.until(
      'Replica',
      replicaName(await idOf('v'), 0),
      (one) => one?.spec.sizeBytes === 2 * gibibyte,
    );
    expect(replica?.spec).toMatchObject({ claim, volumeGeneration: 2 });
  });
});
