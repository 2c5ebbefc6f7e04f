import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VolumeCapability_AccessMode_Mode as Mode } from '../../gen/csi/csi_pb.js';
import { makeCause } from '../../model/cause.ts';
import { type Driver, fakeNodeName, startDriver } from '../fake/driver.ts';
import { block, code, makeVolume, mount } from '../fake/kit.ts';

let driver: Driver;
beforeEach(async () => {
  driver = await startDriver({ maxVolumesPerNode: 3 });
});
afterEach(() => driver.close());

const volume = (name: string, extra: object = {}) => makeVolume(driver, name, extra);

describe('looking at volumes', () => {
  it('validates capabilities without an error for what is not possible', async () => {
    const handle = await volume('pvc-1');
    const validate = (capability: object) =>
      driver.client.controller.validateVolumeCapabilities({ volumeId: handle, volumeCapabilities: [capability] });
    expect((await validate(mount())).confirmed?.volumeCapabilities).toHaveLength(1);
    const refused = await validate(block);
    expect(refused.confirmed).toBeUndefined();
    expect(refused.message).toContain('file system');
    expect((await validate(mount(Mode.MULTI_NODE_READER_ONLY))).confirmed).toBeUndefined();
  });

  it('pages lists by a token that survives changes, and refuses a foreign one with ABORTED', async () => {
    const handles = [];
    for (const name of ['a', 'b', 'c', 'd']) handles.push(await volume(name));
    handles.sort();
    const first = await driver.client.controller.listVolumes({ maxEntries: 2 });
    expect(first.entries.map(({ volume: one }) => one?.volumeId)).toEqual(handles.slice(0, 2));
    await driver.client.controller.deleteVolume({ volumeId: handles[1] ?? '' });
    const rest = await driver.client.controller.listVolumes({ startingToken: first.nextToken });
    expect(rest.entries.map(({ volume: one }) => one?.volumeId)).toEqual(handles.slice(2));
    expect(rest.nextToken).toBe('');
    expect(await code(driver.client.controller.listVolumes({ startingToken: 'invalid-token' }))).toBe('ABORTED');
    expect(await code(driver.client.controller.listVolumes({ maxEntries: -1 }))).toBe('INVALID_ARGUMENT');
  });

  it('tells health by causes: empty when all is well', async () => {
    const handle = await volume('pvc-1');
    expect((await driver.client.controller.controllerGetVolumeHealth({ volumeId: handle })).volumeHealth).toMatchObject(
      {
        volumeId: handle,
        healthStatuses: [],
      },
    );
    driver.agent.causes.set('pvc-1', makeCause('FilesystemNeedsCheck', { volume: 'pvc-1', problem: 'bad magic' }));
    await driver.agent.release('pvc-1');
    await expect
      .poll(async () => (await driver.client.controller.controllerListVolumeHealth({})).entries[0]?.healthStatuses)
      .toMatchObject([{ status: 3, reason: 'FilesystemNeedsCheck' }]);
  });

  it('answers NOT_FOUND for a handle that is none, in every call that reads', async () => {
    const { controller } = driver.client;
    const capabilities = { volumeCapabilities: [mount()] };
    for (const volumeId of ['unknown', 'x'.repeat(128), '0123456789abcdef']) {
      expect(await code(controller.validateVolumeCapabilities({ volumeId, ...capabilities }))).toBe('NOT_FOUND');
      expect(await code(controller.controllerGetVolume({ volumeId }))).toBe('NOT_FOUND');
      expect(await code(controller.controllerGetVolumeHealth({ volumeId }))).toBe('NOT_FOUND');
    }
    expect(await code(controller.validateVolumeCapabilities({ volumeId: 'unknown' }))).toBe('INVALID_ARGUMENT');
    expect(await code(controller.controllerGetVolume({ volumeId: '' }))).toBe('INVALID_ARGUMENT');
  });

  it.each([
    ['ListVolumes', (startingToken: string) => driver.client.controller.listVolumes({ startingToken })],
    ['ListSnapshots', (startingToken: string) => driver.client.controller.listSnapshots({ startingToken })],
    [
      'ControllerListVolumeHealth',
      (startingToken: string) => driver.client.controller.controllerListVolumeHealth({ startingToken }),
    ],
  ])('answers ABORTED to a starting token of %s that is not its own', async (_name, list) => {
    for (const token of ['invalid-token', '1', 'djE6', 'ä']) {
      const answer = await code(list(token));
      // "djE6" is a token of ours that names the very beginning.
      expect(answer).toBe(token === 'djE6' ? 'OK' : 'ABORTED');
    }
  });

  it('names the nodes on which a volume is, in ListVolumes and ControllerGetVolume alike', async () => {
    const handle = await volume('pvc-1');
    const get = async () => (await driver.client.controller.controllerGetVolume({ volumeId: handle })).status;
    expect((await get())?.publishedNodeIds).toEqual([]);
    await driver.client.controller.controllerPublishVolume({
      volumeId: handle,
      nodeId: fakeNodeName,
      volumeCapability: mount(),
    });
    expect((await get())?.publishedNodeIds).toEqual([fakeNodeName]);
  });
});
