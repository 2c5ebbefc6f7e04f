import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeCause } from '../../model/cause.ts';
import { topologyKey } from '../common/topology.ts';
import { type Driver, fakeNodeName, startDriver } from '../fake/driver.ts';
import { code, gib, makeVolume } from '../fake/kit.ts';

let driver: Driver;
beforeEach(async () => {
  driver = await startDriver({ maxVolumesPerNode: 3 });
});
afterEach(() => driver.close());

const volume = (name: string, extra: object = {}) => makeVolume(driver, name, extra);

describe('snapshots', () => {
  it('are idempotent by name, and ALREADY_EXISTS for another volume', async () => {
    const [a, b] = [await volume('a'), await volume('b')];
    const make = (sourceVolumeId: string) => driver.client.controller.createSnapshot({ name: 'S n/1', sourceVolumeId });
    const { snapshot } = await make(a);
    expect((await make(a)).snapshot?.snapshotId).toBe(snapshot?.snapshotId);
    expect(snapshot).toMatchObject({ sourceVolumeId: a, readyToUse: true, sizeBytes: gib });
    expect(await code(make(b))).toBe('ALREADY_EXISTS');
    expect(await code(driver.client.controller.createSnapshot({ name: 'x', sourceVolumeId: 'unknown' }))).toBe(
      'NOT_FOUND',
    );
  });

  it('are listed when cut, by id or volume; what is unknown gives an empty list', async () => {
    const handle = await volume('a');
    const { snapshot } = await driver.client.controller.createSnapshot({ name: 's1', sourceVolumeId: handle });
    driver.agent.hold('s2');
    const uncut = driver.client.controller.createSnapshot({ name: 's2', sourceVolumeId: handle }, { deadlineMs: 500 });
    expect(await code(uncut)).toBe('DEADLINE_EXCEEDED');
    const list = async (filter: object) => (await driver.client.controller.listSnapshots(filter)).entries.length;
    expect(await list({})).toBe(1);
    expect(await list({ snapshotId: snapshot?.snapshotId })).toBe(1);
    expect(await list({ sourceVolumeId: handle })).toBe(1);
    expect(await list({ sourceVolumeId: 'unknown' })).toBe(0);
    expect(await list({ snapshotId: 'none-exist-id' })).toBe(0);
    const uncutId = (await driver.store.get('Snapshot', 's2')).spec.snapshotId ?? '';
    expect((await driver.client.controller.getSnapshot({ snapshotId: uncutId })).snapshot?.readyToUse).toBe(false);
    expect(await code(driver.client.controller.getSnapshot({ snapshotId: 'unknown' }))).toBe('NOT_FOUND');
    await driver.agent.release('s2');
  });

  it('lie beside their volume: a foreign topology is RESOURCE_EXHAUSTED', async () => {
    const handle = await volume('a');
    const at = (node: string) => ({ requisite: [{ segments: { [topologyKey]: node } }] });
    const make = (name: string, node: string) =>
      driver.client.controller.createSnapshot({ name, sourceVolumeId: handle, accessibilityRequirements: at(node) });
    expect((await make('s1', fakeNodeName)).snapshot?.accessibleTopology[0]?.segments).toEqual({
      [topologyKey]: fakeNodeName,
    });
    expect(await code(make('s2', 'node-b'))).toBe('RESOURCE_EXHAUSTED');
  });

  it('go without an error when they are gone, and answer ABORTED while one of that name is made', async () => {
    const handle = await volume('a');
    const { controller } = driver.client;
    driver.agent.hold('s1');
    const first = controller.createSnapshot({ name: 's1', sourceVolumeId: handle });
    await expect.poll(async () => (await driver.store.find('Snapshot', 's1')) !== undefined).toBe(true);
    expect(await code(controller.createSnapshot({ name: 's1', sourceVolumeId: handle }))).toBe('ABORTED');
    await driver.agent.release('s1');
    const snapshotId = (await first).snapshot?.snapshotId ?? '';
    for (const _ of [1, 2]) expect(await code(controller.deleteSnapshot({ snapshotId }))).toBe('OK');
    expect(await code(controller.deleteSnapshot({ snapshotId: 'unknown' }))).toBe('OK');
    expect(await code(controller.deleteSnapshot({ snapshotId: '' }))).toBe('INVALID_ARGUMENT');
  });

  it.each([
    ['PoolFull', { pool: 'main', wanted: '1Gi', free: '0' }, 'RESOURCE_EXHAUSTED', 1],
    ['FreezeTimedOut', { volume: 'a', deadline: '5s' }, 'ABORTED', 1],
    // The snapshotter takes this one as final, and would forget a snapshot that is still being made.
    ['FilesystemNeedsCheck', { volume: 'a', problem: 'bad magic' }, 'FAILED_PRECONDITION', 0],
  ] as const)(
    'that %s stops are answered by what the snapshotter makes of the code',
    async (cause, evidence, answer, left) => {
      const handle = await volume('a');
      driver.agent.causes.set('s1', makeCause(cause, evidence));
      const make = () => code(driver.client.controller.createSnapshot({ name: 's1', sourceVolumeId: handle }));
      expect(await make()).toBe(answer);
      expect((await driver.store.list('Snapshot')).items).toHaveLength(left);
      driver.agent.causes.clear();
      await driver.agent.release('s1');
      expect(await make()).toBe('OK');
    },
  );
});
