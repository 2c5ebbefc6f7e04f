import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VolumeCapability_AccessMode_Mode as Mode } from '../../gen/csi/csi_pb.js';
import { topologyKey } from '../common/topology.ts';
import { type Driver, fakeNodeName, startDriver } from '../fake/driver.ts';
import { gib, mount } from '../fake/kit.ts';

let driver: Driver;
beforeEach(async () => {
  driver = await startDriver({ maxVolumesPerNode: 3 });
});
afterEach(() => driver.close());

describe('GetCapacity', () => {
  it('tells the capacity of a node, 0 for an unknown one, and the largest thin volume apart', async () => {
    const here = await driver.client.controller.getCapacity({
      accessibleTopology: { segments: { [topologyKey]: fakeNodeName } },
    });
    expect(here.availableCapacity).toBe(55n * gib);
    // Twice the capacity of 100 GiB, less the reserve of 5.
    expect(here.maximumVolumeSize).toBe(195n * gib);
    const thick = await driver.client.controller.getCapacity({ parameters: { provisioning: 'thick' } });
    expect(thick.maximumVolumeSize).toBe(55n * gib);
    const elsewhere = await driver.client.controller.getCapacity({
      accessibleTopology: { segments: { [topologyKey]: 'node-b' } },
    });
    expect(elsewhere).toMatchObject({ availableCapacity: 0n, maximumVolumeSize: 0n });
    const shared = await driver.client.controller.getCapacity({
      volumeCapabilities: [mount(Mode.MULTI_NODE_MULTI_WRITER)],
    });
    expect(shared.availableCapacity).toBe(0n);
  });

  it.each([
    ['full', { status: { freeBytes: 2 ** 30 } }],
    ['cordoned', { spec: { cordoned: true } }],
    ['being drained', { spec: { draining: true } }],
    ['not ready', { status: { phase: 'Failed' as const } }],
  ])('is 0 and no error where the pool is %s', async (_what, part: { spec?: object; status?: object }) => {
    const pool = await driver.store.get('Pool', 'main');
    const changed = await driver.store.update({ ...pool, spec: { ...pool.spec, ...part.spec } });
    await driver.store.updateStatus({ ...changed, status: { ...changed.status, ...part.status } });
    await expect.poll(async () => (await driver.client.controller.getCapacity({})).availableCapacity).toBe(0n);
  });
});
