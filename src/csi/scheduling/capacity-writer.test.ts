import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KubeClient } from '../../kube/client.ts';
import { FakeApiServer } from '../../kube/fake/api-server.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLogger } from '../../lib/log.ts';
import type { Class, Node } from '../../model/kinds.ts';
import { Policy } from '../../model/policy.ts';
import { gibibyte, makeNode, makePool, makeStock } from '../../placement/fixture.ts';
import { Ledger, promise, Reservations } from '../../placement/index.ts';
import { CapacityWriter } from './capacity-writer.ts';
import { FakeCache } from './fake.ts';
import { capacityType, type StorageCapacity, type StorageClass } from './kinds.ts';

const namespace = 'azekura-system';
const owner = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'azekura-controller', uid: 'u1' };
const byName = ({ metadata }: { readonly metadata: { readonly name: string } }) => metadata.name;

describe('CapacityWriter', () => {
  let api: FakeApiServer;
  let client: KubeClient;
  let writer: CapacityWriter | undefined;
  const writes: string[] = [];

  beforeEach(async () => {
    api = await FakeApiServer.start();
    client = new KubeClient({ access: api.access, fieldManager: 'test' });
    writes.length = 0;
  });
  afterEach(async () => {
    await writer?.close();
    client.close();
    await api.close();
  });

  function start() {
    const ledger = new Ledger();
    const names = ['n1', 'n2'];
    const pools = names.map((nodeName) =>
      makePool(`p-${nodeName}`, { spec: { nodeName, overcommitRatio: 2 }, status: { deviceClass: 'ssd' } }),
    );
    const stock = makeStock(
      names.map((name) => makeNode(name)),
      pools,
      ledger,
    );
    const reservations = new Reservations(ledger);
    const nodes = new FakeCache<Node>(byName);
    for (const name of names) nodes.set(makeNode(name));
    const ours = new FakeCache<Class>(byName);
    ours.set({
      apiVersion: 'azekura.dev/v1',
      kind: 'Class',
      metadata: makeNode('local').metadata,
      spec: { ...Policy.parse({}), isDefault: true, recycleMs: 0, description: '' },
      status: { volumes: 0 },
    });
    const classes = new FakeCache<StorageClass>(byName);
    writer = new CapacityWriter({
      client,
      namespace,
      owner,
      classes: classes as never,
      view: { stock, classes: ours, nodes, reservations } as never,
      clock: systemClock,
      log: silentLogger,
      onWrite: (verb) => writes.push(verb),
    });
    const add = (
      name: string,
      parameters: Record<string, string> = {},
      volumeBindingMode = 'WaitForFirstConsumer' as const,
    ) => classes.set({ metadata: { name }, provisioner: 'csi.azekura.dev', parameters, volumeBindingMode });
    return { ledger, stock, nodes, classes, reservations, add };
  }

  const stored = async () => {
    const { items } = await client.list<StorageCapacity>(capacityType, { namespace });
    return Object.fromEntries(
      items.map((one) => [
        `${one.storageClassName} ${Object.values(one.nodeTopology?.matchLabels ?? {})}`,
        `${Number(one.capacity) / gibibyte} ${Number(one.maximumVolumeSize) / gibibyte}`,
      ]),
    );
  };
  const becomes = (wanted: object) => expect.poll(stored, { timeout: 5_000, interval: 10 }).toEqual(wanted);

  it('writes an object for each class and node, and again what changes, and only that', async () => {
    const { ledger, add } = start();
    add('any');
    add('thick', { provisioning: 'thick' });
    add('hdd', { deviceClass: 'hdd' });
    add('wrong', { provisioning: 'some' });
    classesOfOthers(add);
    const before = {
      'any n1': '100 200',
      'any n2': '100 200',
      'thick n1': '100 100',
      'thick n2': '100 100',
      'hdd n1': '0 0',
      'hdd n2': '0 0',
    };
    await becomes(before);
    const [object] = (await client.list<StorageCapacity>(capacityType, { namespace })).items;
    expect(object?.metadata.ownerReferences).toEqual([owner]);
    expect(object?.metadata.labels).toEqual({
      'csi.storage.k8s.io/drivername': 'csi.azekura.dev',
      'csi.storage.k8s.io/managed-by': 'azekura-controller',
    });
    expect(writes).toEqual(Array(6).fill('create'));
    writes.length = 0;
    for (let i = 0; i < 10; i++)
      ledger.set(promise(`v${i}`, 'p-n1', { sizeBytes: gibibyte, policy: Policy.parse({}) }));
    await becomes({ ...before, 'any n1': '100 190' });
    // Ten promises in one moment are one change.
    expect(writes).toEqual(['patch']);
  });

  it('counts what is kept for one claim as room for it, since the scheduler asks for each claim by itself', async () => {
    const { ledger, reservations, add } = start();
    add('any');
    add('hdd', { deviceClass: 'hdd' });
    const claim = { sizeBytes: 8 * gibibyte, policy: Policy.parse({}) };
    ledger.set(promise('v', 'p-n1', { ...claim, sizeBytes: 180 * gibibyte }));
    const keep = (key: string) => reservations.set({ key, group: 'ns/pod', nodeName: 'n1', poolName: 'p-n1', claim });
    keep('ns/one');
    keep('ns/two');
    await becomes({ 'any n1': '100 8', 'any n2': '100 200', 'hdd n1': '0 0', 'hdd n2': '0 0' });
    reservations.delete('ns/one');
    await becomes({ 'any n1': '100 12', 'any n2': '100 200', 'hdd n1': '0 0', 'hdd n2': '0 0' });
  });

  it('finds what the leader before has written, and removes what is of nobody', async () => {
    const first = start();
    first.add('any');
    await becomes({ 'any n1': '100 200', 'any n2': '100 200' });
    await writer?.close();
    await client.create(capacityType, {
      metadata: {
        name: 'csisc-x',
        namespace,
        labels: {
          'csi.storage.k8s.io/drivername': 'csi.azekura.dev',
          'csi.storage.k8s.io/managed-by': 'external-provisioner',
        },
      },
      storageClassName: 'any',
      nodeTopology: { matchLabels: { 'topology.azekura.dev/node': 'n1' } },
      capacity: '1',
    } as StorageCapacity);
    writes.length = 0;
    const second = start();
    second.add('any');
    await becomes({ 'any n1': '100 200', 'any n2': '100 200' });
    await expect.poll(() => writes, { timeout: 5_000 }).toEqual(['delete']);

    second.nodes.delete('n2');
    second.stock.deleteNode('n2');
    await becomes({ 'any n1': '100 200' });
    second.classes.delete('any');
    await becomes({});
  });

  it('puts right what somebody else has changed or deleted', async () => {
    const { add } = start();
    add('any');
    const wanted = { 'any n1': '100 200', 'any n2': '100 200' };
    await becomes(wanted);
    const [one, other] = (await client.list<StorageCapacity>(capacityType, { namespace })).items;
    if (!one || !other) throw new Error('two objects are there');
    await client.patch(capacityType, { name: one.metadata.name, namespace }, { maximumVolumeSize: '5' });
    await client.delete(capacityType, { name: other.metadata.name, namespace });
    expect(await stored()).not.toEqual(wanted);
    await becomes(wanted);
  });

  function classesOfOthers(add: ReturnType<typeof start>['add']): void {
    add('immediate', {}, 'Immediate' as never);
  }
});
