import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Driver, fakeNodeName, startDriver } from '../fake/driver.ts';
import { code, makeVolume, mount } from '../fake/kit.ts';

let driver: Driver;
beforeEach(async () => {
  driver = await startDriver({ maxVolumesPerNode: 3 });
});
afterEach(() => driver.close());

const volume = (name: string, extra: object = {}) => makeVolume(driver, name, extra);

describe('DeleteVolume', () => {
  it('is no error for a volume that is not there, and none when repeated', async () => {
    const handle = await volume('pvc-1');
    expect(await code(driver.client.controller.deleteVolume({ volumeId: 'fake-vol-id' }))).toBe('OK');
    expect(await code(driver.client.controller.deleteVolume({ volumeId: handle }))).toBe('OK');
    expect(await code(driver.client.controller.deleteVolume({ volumeId: handle }))).toBe('OK');
    expect((await driver.store.list('Volume')).items).toEqual([]);
  });

  it('is refused while the volume has snapshots or is published', async () => {
    const handle = await volume('pvc-1');
    const { snapshot } = await driver.client.controller.createSnapshot({ name: 's', sourceVolumeId: handle });
    expect(await code(driver.client.controller.deleteVolume({ volumeId: handle }))).toBe('FAILED_PRECONDITION');
    await driver.client.controller.deleteSnapshot({ snapshotId: snapshot?.snapshotId ?? '' });
    await driver.client.controller.controllerPublishVolume({
      volumeId: handle,
      nodeId: fakeNodeName,
      volumeCapability: mount(),
    });
    expect(await code(driver.client.controller.deleteVolume({ volumeId: handle }))).toBe('FAILED_PRECONDITION');
  });

  it('gives a name that is used again another handle', async () => {
    const first = await volume('pvc-1');
    await driver.client.controller.deleteVolume({ volumeId: first });
    const second = await volume('pvc-1');
    expect(second).not.toBe(first);
    await driver.client.controller.deleteVolume({ volumeId: first });
    expect((await driver.store.list('Volume')).items).toHaveLength(1);
  });

  it('changes nothing when it refuses: volume and snapshot stay listed, and can be used', async () => {
    const handle = await volume('pvc-1');
    const { snapshot } = await driver.client.controller.createSnapshot({ name: 's', sourceVolumeId: handle });
    expect(await code(driver.client.controller.deleteVolume({ volumeId: handle }))).toBe('FAILED_PRECONDITION');
    expect((await driver.client.controller.listVolumes({})).entries).toHaveLength(1);
    const listed = await driver.client.controller.listSnapshots({ snapshotId: snapshot?.snapshotId ?? '' });
    expect(listed.entries).toHaveLength(1);
    const value = { snapshotId: snapshot?.snapshotId ?? '' };
    const again = volume('b', { volumeContentSource: { type: { case: 'snapshot', value } } });
    expect(await code(again)).toBe('OK');
  });

  it('answers ABORTED while another call works on the volume, DEADLINE_EXCEEDED while it goes on', async () => {
    const handle = await volume('pvc-1');
    driver.agent.hold('pvc-1');
    const remove = (deadlineMs?: number) =>
      code(driver.client.controller.deleteVolume({ volumeId: handle }, deadlineMs === undefined ? {} : { deadlineMs }));
    const first = remove(600);
    await expect
      .poll(async () => (await driver.store.find('Volume', 'pvc-1'))?.metadata.deletionTimestamp)
      .toBeDefined();
    expect(await remove()).toBe('ABORTED');
    expect(await first).toBe('DEADLINE_EXCEEDED');
    await driver.agent.release('pvc-1');
    expect(await remove()).toBe('OK');
  });
});
