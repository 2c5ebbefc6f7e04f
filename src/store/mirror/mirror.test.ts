import { afterEach, describe, expect, it } from 'vitest';
import { annotations, finalizers } from '../../model/names.ts';
import { change, changeStatus } from '../change.ts';
import { eventually } from '../contract-helpers.ts';
import { Bench, cleanUp, contents } from './bench.ts';
import { newAttachment, newReplica, nodeName } from './fixture.ts';

afterEach(cleanUp);

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

  it('removes the Volume of a Replica that went just before it was stopped', async () => {
    const bench = await Bench.open();
    await bench.cluster.create(newReplica('v'));
    bench.start();
    await bench.rest();
    expect(await bench.node.find('Volume', 'name-of-v')).toBeDefined();
    await bench.stop();
    for (const store of [bench.cluster, bench.node]) {
      await change(store, 'Replica', 'v-0', () => ({ metadata: { finalizers: [] } }));
      await store.delete('Replica', 'v-0');
    }
    bench.start();
    await bench.rest();
    expect(await bench.node.find('Volume', 'name-of-v')).toBeUndefined();
  });
});
