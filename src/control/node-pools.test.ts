import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../lib/clock.ts';
import { silentLogger } from '../lib/log.ts';
import type { NodeStatus } from '../model/node.ts';
import { type PoolRule, PoolRules } from '../model/pool-rule.ts';
import { change, changeStatus } from '../store/change.ts';
import { ControlFixture } from './fixture.ts';
import { type NodePools, startNodePools } from './node-pools.ts';

const gibibyte = 2 ** 30;
const disk = { path: '/var/lib/azekura', sizeBytes: 100 * gibibyte, availableBytes: 60 * gibibyte };
let fixture: ControlFixture;
let pools: NodePools | undefined;
let labels: Record<string, string>;
beforeEach(async () => {
  fixture = await ControlFixture.open({ pools: [] });
  labels = {};
});
afterEach(async () => {
  await pools?.stop();
  await fixture.close();
});

function start(rules: readonly object[]): void {
  pools = startNodePools({
    store: fixture.store,
    view: fixture.controllers.view,
    operations: fixture.operations,
    clock: systemClock,
    log: silentLogger,
    rules: PoolRules.parse(rules),
    labelsOf: async () => labels,
  });
}

const node = (status: Partial<NodeStatus>) => changeStatus(fixture.store, 'Node', 'here', () => status);
const made = async () =>
  Object.fromEntries(
    (await fixture.store.list('Pool')).items.map(({ metadata, spec }) => [metadata.name, spec.source]),
  );
const share: PoolRule[] = PoolRules.parse([{ name: 'data', source: { kind: 'share' } }]);

describe('pools by rules', () => {
  it("take a bounded share of the disk of the agent's folder, once", async () => {
    start(share);
    expect(await made()).toEqual({});
    await node({ dataDisk: disk });
    await fixture.until('Pool', 'here-data', (pool) => pool !== undefined);
    const path = '/var/lib/azekura/pools/data.img';
    expect(await made()).toEqual({ 'here-data': { kind: 'image', path, sizeBytes: 18 * gibibyte } });
    await fixture.until('Node', 'here', (object) => object?.metadata.annotations['azekura.dev/pools-made'] === 'data');
    await change(fixture.store, 'Pool', 'here-data', () => ({ metadata: { finalizers: [] } }));
    await fixture.store.delete('Pool', 'here-data');
    await node({ dataDisk: { ...disk, availableBytes: 70 * gibibyte }, pools: 0 });
    await pools?.stop();
    start(share);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await made()).toEqual({});
  });

  it.each([
    [100, 16, 1],
    [100, 15.2, undefined],
    [4_000, 3_000, 100],
    [10, 4, 1.2],
  ])('of a disk of %d GiB with %d free take %s GiB', async (size, available, taken) => {
    start(share);
    await node({
      dataDisk: { path: '/d', sizeBytes: size * gibibyte, availableBytes: Math.floor(available * gibibyte) },
    });
    if (taken === undefined) await new Promise((resolve) => setTimeout(resolve, 100));
    else await fixture.until('Pool', 'here-data', (pool) => pool !== undefined);
    const sizes = Object.values(await made()).map((source) => 'sizeBytes' in source && source.sizeBytes / gibibyte);
    expect(sizes.map((each) => Number(each).toFixed(1))).toEqual(taken === undefined ? [] : [taken.toFixed(1)]);
  });

  it('fit nodes by labels, and give a node as many as fit', async () => {
    labels = { disk: 'nvme', zone: 'a' };
    start([
      { name: 'fast', nodeSelector: { disk: 'nvme' }, source: { kind: 'device', path: '/dev/disk/by-id/x' } },
      { name: 'group', nodeSelector: { zone: 'a' }, source: { kind: 'volumeGroup', group: 'vg' }, overcommitRatio: 3 },
      { name: 'slow', nodeSelector: { disk: 'hdd' }, source: { kind: 'directory', path: '/srv/slow' } },
    ]);
    await fixture.until('Pool', 'here-group', (pool) => pool !== undefined);
    expect(await made()).toEqual({
      'here-fast': { kind: 'device', path: '/dev/disk/by-id/x' },
      'here-group': { kind: 'volumeGroup', group: 'vg' },
    });
    const { spec } = await fixture.store.get('Pool', 'here-group');
    expect(spec).toMatchObject({ engine: 'lvm', nodeName: 'here', overcommitRatio: 3, reservePercent: 5 });
  });

  it('wait while the node has pools that the cluster does not know', async () => {
    await node({ dataDisk: disk, pools: 1 });
    start(share);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await made()).toEqual({});
    await fixture.addPool('adopted');
    await node({ pools: 2 });
    await fixture.addPool('other');
    await node({ pools: 1 });
    await fixture.until('Pool', 'here-data', (pool) => pool !== undefined);
  });

  it('that are wrong are refused', () => {
    for (const rule of [
      { name: 'a', source: { kind: 'share', percent: 0 } },
      { name: 'a', source: { kind: 'share', maximum: 'much' } },
      { name: 'A', source: { kind: 'share' } },
      { name: 'a', source: { kind: 'tape' } },
      { name: 'a', source: { kind: 'share' }, colour: 'red' },
    ])
      expect(PoolRules.safeParse([rule]).success).toBe(false);
    expect(PoolRules.safeParse([share[0], share[0]]).success).toBe(false);
  });
});
