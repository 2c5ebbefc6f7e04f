import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Driver, startDriver } from './fake/driver.ts';
import { code, makeVolume } from './fake/kit.ts';

let driver: Driver;
beforeEach(async () => {
  driver = await startDriver({ maxVolumesPerNode: 3 });
});
afterEach(() => driver.close());

const volume = (name: string, extra: object = {}) => makeVolume(driver, name, extra);

describe('group snapshots', () => {
  it('of a group come and go together', async () => {
    const handles = [await volume('a'), await volume('b')];
    const make = (name: string, sourceVolumeIds: string[]) =>
      driver.client.group.createVolumeGroupSnapshot({ name, sourceVolumeIds });
    const { groupSnapshot } = await make('nightly', handles);
    expect(groupSnapshot?.readyToUse).toBe(true);
    expect(groupSnapshot?.snapshots.map((one) => one.sourceVolumeId).sort()).toEqual([...handles].sort());
    expect((await make('nightly', [...handles].reverse())).groupSnapshot?.groupSnapshotId).toBe(
      groupSnapshot?.groupSnapshotId,
    );
    expect(await code(make('nightly', handles.slice(1)))).toBe('ALREADY_EXISTS');
    expect(await code(make('', handles))).toBe('INVALID_ARGUMENT');
    const ids = groupSnapshot?.snapshots.map((one) => one.snapshotId) ?? [];
    const groupSnapshotId = groupSnapshot?.groupSnapshotId ?? '';
    expect(await code(driver.client.controller.deleteSnapshot({ snapshotId: ids[0] ?? '' }))).toBe('INVALID_ARGUMENT');
    expect(await code(driver.client.group.getVolumeGroupSnapshot({ groupSnapshotId, snapshotIds: ids.slice(1) }))).toBe(
      'INVALID_ARGUMENT',
    );
    expect(
      (await driver.client.group.getVolumeGroupSnapshot({ groupSnapshotId, snapshotIds: ids })).groupSnapshot
        ?.snapshots,
    ).toHaveLength(2);
    expect(await code(driver.client.group.getVolumeGroupSnapshot({ groupSnapshotId: 'fake-vol-id' }))).toBe(
      'NOT_FOUND',
    );
    expect(await code(driver.client.group.deleteVolumeGroupSnapshot({ groupSnapshotId: 'fake-vol-id' }))).toBe('OK');
    expect(await code(driver.client.group.deleteVolumeGroupSnapshot({ groupSnapshotId, snapshotIds: [] }))).toBe(
      'INVALID_ARGUMENT',
    );
    expect(await code(driver.client.group.deleteVolumeGroupSnapshot({ groupSnapshotId, snapshotIds: ids }))).toBe('OK');
    expect(await code(driver.client.group.deleteVolumeGroupSnapshot({ groupSnapshotId, snapshotIds: ids }))).toBe('OK');
    await expect.poll(async () => (await driver.store.list('Snapshot')).items).toEqual([]);
  });

  it('name themselves in their members, which GetSnapshot finds too', async () => {
    const { groupSnapshot } = await driver.client.group.createVolumeGroupSnapshot({
      name: 'nightly',
      sourceVolumeIds: [await volume('a'), await volume('b')],
    });
    for (const member of groupSnapshot?.snapshots ?? []) {
      expect(member.groupSnapshotId).toBe(groupSnapshot?.groupSnapshotId);
      const found = async () =>
        (await driver.client.controller.getSnapshot({ snapshotId: member.snapshotId })).snapshot;
      await expect.poll(found).toMatchObject({ groupSnapshotId: groupSnapshot?.groupSnapshotId, readyToUse: true });
    }
    expect(groupSnapshot?.snapshots).toHaveLength(2);
  });

  it('answer by the table to what is missing, unknown, made otherwise or made just now', async () => {
    const handle = await volume('a');
    const make = (name: string, sourceVolumeIds: string[], parameters: Record<string, string> = {}) =>
      code(driver.client.group.createVolumeGroupSnapshot({ name, sourceVolumeIds, parameters }));
    expect(await make('g', [])).toBe('INVALID_ARGUMENT');
    expect(await make('g', [''])).toBe('INVALID_ARGUMENT');
    expect(await make('g', [handle, 'unknown'])).toBe('NOT_FOUND');
    expect(await make('g', [handle], { nonsense: '1' })).toBe('INVALID_ARGUMENT');
    expect((await driver.store.list('SnapshotGroup')).items).toEqual([]);
    driver.agent.hold('g');
    const first = make('g', [handle]);
    await expect.poll(async () => (await driver.store.find('SnapshotGroup', 'g')) !== undefined).toBe(true);
    expect(await make('g', [handle])).toBe('ABORTED');
    await driver.agent.release('g');
    expect(await first).toBe('OK');
    expect(await make('g', [handle], { freeze: 'false' })).toBe('ALREADY_EXISTS');
  });
});
