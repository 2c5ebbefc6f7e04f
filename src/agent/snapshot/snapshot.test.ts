import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EngineDefinition } from '../../engines/contract.ts';
import { fileEngine } from '../../engines/file/engine.ts';
import { AzekuraError } from '../../model/errors.ts';
import { memberSnapshotName } from '../../model/names.ts';
import { AgentFixture } from '../fixture.ts';

let fixture: AgentFixture;
beforeEach(async () => {
  fixture = await AgentFixture.open();
});
afterEach(() => fixture.close());

const intents = () => fixture.host.kernel('test').listDirectory('/data/run/freezes');
const callsOf = (...names: string[]) =>
  fixture.host.calls.filter((one) => names.includes(one.call)).map((one) => one.call);
const busy = new AzekuraError('FailedPrecondition', 'frozen already (EBUSY)', {
  details: { errno: 'EBUSY', call: 'FIFREEZE' },
});

async function mounted(...names: string[]): Promise<void> {
  for (const name of names) {
    await fixture.addReadyReplica(name);
    await fixture.attachReady(name);
  }
  fixture.host.calls.length = 0;
}

async function group(name: string, volumes: readonly string[]): Promise<void> {
  await fixture.store.create({ kind: 'SnapshotGroup', metadata: { name }, spec: { volumeNames: [...volumes] } });
  for (const volume of volumes) await fixture.snapshot(volume, `${name}${volume}`, name);
}

describe('a snapshot', () => {
  it('holds the file system still while it is cut, and no longer', async () => {
    await mounted('db');
    await fixture.snapshot('db', 's1');
    const snapshot = await fixture.until('Snapshot', 's1', (one) => one?.status.readyToUse === true);
    expect(snapshot?.status).toMatchObject({ phase: 'Ready', consistency: 'filesystem' });
    expect(callsOf('freeze', 'thaw')).toEqual(['freeze', 'thaw']);
    expect(fixture.frozen('/mnt/db')).toBe(false);
    expect(await intents()).toEqual([]);
  });

  it('of a detached volume freezes nothing', async () => {
    await fixture.addReadyReplica('db');
    await fixture.snapshot('db', 's1');
    await fixture.until('Snapshot', 's1', (one) => one?.status.readyToUse === true);
    expect(callsOf('freeze')).toEqual([]);
  });

  it('thaws when the cut fails, says why, and is cut when that is over', async () => {
    await mounted('db');
    const failure = new AzekuraError('HostFailure', 'FICLONE: input/output error', { details: { errno: 'EIO' } });
    fixture.host.failNext('clone', failure, { times: 1 });
    fixture.host.failNext('cloneRange', failure, { times: 1 });
    await fixture.snapshot('db', 's1');
    const failed = await fixture.until('Snapshot', 's1', (one) => one?.status.phase === 'Failed');
    expect(failed?.status.causes).toMatchObject([{ code: 'StepFailed' }]);
    expect(fixture.frozen('/mnt/db')).toBe(false);
    await fixture.until('Snapshot', 's1', (one) => one?.status.readyToUse === true && one.status.causes.length === 0);
    expect(await intents()).toEqual([]);
  });

  it('is given up when the file system does not come to rest, and the freeze that may still come is looked after', async () => {
    await mounted('db');
    fixture.host.hangNext('freeze');
    await fixture.snapshot('db', 's1');
    const failed = await fixture.until('Snapshot', 's1', (one) => one?.status.phase === 'Failed');
    expect(failed?.status.causes).toMatchObject([{ code: 'FreezeTimedOut' }]);
    expect(await intents()).toEqual(['db.json']);
    // The kernel grants what was asked for long after everybody has given up.
    fixture.host.machine.place('/mnt/db').filesystem.frozen = true;
    fixture.host.releaseHangs();
    await expect.poll(() => fixture.frozen('/mnt/db'), { timeout: 5_000 }).toBe(false);
    await expect.poll(intents, { timeout: 5_000 }).toEqual([]);
  });

  it("leaves somebody else's freeze alone", async () => {
    await mounted('db');
    fixture.host.machine.place('/mnt/db').filesystem.frozen = true;
    fixture.host.failNext('freeze', busy);
    await fixture.snapshot('db', 's1');
    const failed = await fixture.until('Snapshot', 's1', (one) => one?.status.phase === 'Failed');
    expect(failed?.status.causes).toMatchObject([{ code: 'Frozen' }]);
    expect(callsOf('thaw')).toEqual([]);
    expect(fixture.frozen('/mnt/db')).toBe(true);
    expect(await intents()).toEqual([]);
  });

  it('that was ready once and is gone is not cut anew', async () => {
    await mounted('db');
    await fixture.snapshot('db', 's1');
    await fixture.until('Snapshot', 's1', (one) => one?.status.readyToUse === true);
    await fixture.stop();
    await fixture.host.kernel('test').removeTree('/disk/pool/volumes/db/snapshots/s1');
    await fixture.start();
    const lost = await fixture.until('Snapshot', 's1', (one) => one?.status.causes.length === 1);
    expect(lost?.status.causes).toMatchObject([{ code: 'BackingMissing' }]);
  });

  it('goes away with its files', async () => {
    await mounted('db');
    await fixture.snapshot('db', 's1');
    await fixture.until('Snapshot', 's1', (one) => one?.status.readyToUse === true);
    await fixture.purge('Snapshot', 's1');
    await fixture.until('Snapshot', 's1', (one) => one === undefined);
    expect(await fixture.host.kernel('test').listDirectory('/disk/pool/volumes/db/snapshots')).toEqual([]);
  });
});

describe('a freeze that a crash left behind', () => {
  it('is thawed at the next start', async () => {
    await mounted('db');
    await fixture.stop();
    await fixture.host.kernel('test').freeze('/data/mounts/db');
    const text = JSON.stringify({
      version: 1,
      volumeId: 'db',
      mountPoint: '/data/mounts/db',
      at: '2026-01-01T00:00:00Z',
    });
    await fixture.host.kernel('test').writeTextFile('/data/run/freezes/db.json', text);
    await fixture.start();
    expect(fixture.frozen('/mnt/db')).toBe(false);
    expect(await intents()).toEqual([]);
  });

  it('with an intent that was half written has not happened', async () => {
    await fixture.stop();
    await fixture.host.kernel('test').writeTextFile('/data/run/freezes/db.json', '{"vers');
    await fixture.start();
    expect(await intents()).toEqual([]);
  });
});

describe('a snapshot group', () => {
  it('freezes all before it cuts one, and cuts all before it thaws one', async () => {
    await mounted('db', 'wal');
    await group('nightly', ['db', 'wal']);
    const done = await fixture.until('SnapshotGroup', 'nightly', (one) => one?.status.phase === 'Ready');
    const order = callsOf('freeze', 'clone', 'thaw');
    expect(order.slice(order.indexOf('freeze'))).toEqual(['freeze', 'freeze', 'clone', 'clone', 'thaw', 'thaw']);
    for (const volume of ['db', 'wal']) {
      const member = await fixture.store.get('Snapshot', memberSnapshotName('nightly', volume));
      expect(member.status).toMatchObject({ readyToUse: true, cutAt: done?.status.cutAt });
    }
  });

  it('thaws all and cuts none when one does not come to rest', async () => {
    await mounted('db', 'wal');
    fixture.host.failNext('freeze', busy, { when: ([path]) => path === '/data/mounts/wal' });
    await group('nightly', ['db', 'wal']);
    const failed = await fixture.until('SnapshotGroup', 'nightly', (one) => one?.status.phase === 'Failed');
    expect(failed?.status.causes).toMatchObject([{ code: 'Frozen' }]);
    expect(fixture.frozen('/mnt/db')).toBe(false);
    await fixture.until('SnapshotGroup', 'nightly', (one) => one?.status.phase === 'Ready');
  });

  it('that was committed in part is cut anew as a whole', async () => {
    await mounted('db', 'wal');
    await fixture.stop();
    const point = { count: 0 };
    await fixture
      .start((name) => {
        // The process dies between the two commits.
        if (name === 'agent.snapshot.commit:after' && ++point.count === 1) throw new Error('the process is dead');
      })
      .then(() => group('nightly', ['db', 'wal']));
    await expect.poll(() => point.count).toBeGreaterThan(0);
    const done = await fixture.until('SnapshotGroup', 'nightly', (one) => one?.status.phase === 'Ready');
    const members = await Promise.all(
      ['db', 'wal'].map((volume) => fixture.store.get('Snapshot', memberSnapshotName('nightly', volume))),
    );
    expect(members.map((member) => member.status.cutAt)).toEqual([done?.status.cutAt, done?.status.cutAt]);
  });

  it('is refused with raw block volumes that are in use, since nothing holds back their writes', async () => {
    await fixture.addReadyReplica('raw', { mode: 'block' });
    await fixture.attachReady('raw', { access: 'block' });
    await mounted('db');
    await group('nightly', ['db', 'raw']);
    const failed = await fixture.until('SnapshotGroup', 'nightly', (one) => one?.status.phase === 'Failed');
    expect(failed?.status.causes[0]?.message).toContain('raw');
    expect(callsOf('freeze')).toEqual([]);
  });
});

describe('a group on an engine whose cuts hold mounted file systems, and that cannot hold several', () => {
  async function attempt(kernelRelease: string) {
    await fixture.stop();
    fixture.host.hostFacts = { ...fixture.host.hostFacts, kernelRelease };
    const engine: EngineDefinition = {
      ...fileEngine,
      capabilities: { ...fileEngine.capabilities, cutHoldsMounted: true },
    };
    await fixture.start(undefined, () => engine);
    await mounted('db', 'wal');
    await group('g', ['db', 'wal']);
  }

  it('is frozen like any where the kernel lets the cuts come to rest as well', async () => {
    await attempt('6.8.0');
    await fixture.until('SnapshotGroup', 'g', (one) => one?.status.phase === 'Ready');
    const order = callsOf('freeze', 'clone', 'thaw');
    expect(order.slice(order.indexOf('freeze'))).toEqual(['freeze', 'freeze', 'clone', 'clone', 'thaw', 'thaw']);
  });

  it('is refused on an older kernel while several are attached, before anything is cut', async () => {
    await attempt('6.1.0-37-amd64');
    const failed = await fixture.until('SnapshotGroup', 'g', (one) => one?.status.phase === 'Failed');
    expect(failed?.status.causes[0]?.message).toContain('cannot hold back their writes together');
    expect(callsOf('freeze', 'clone')).toEqual([]);
  });

  it('freezes nothing for one alone', async () => {
    await attempt('6.8.0');
    await fixture.until('SnapshotGroup', 'g', (one) => one?.status.phase === 'Ready');
    fixture.host.calls.length = 0;
    await fixture.snapshot('db', 's1');
    await fixture.until('Snapshot', 's1', (one) => one?.status.readyToUse === true);
    expect(callsOf('freeze')).toEqual([]);
  });
});
