import { afterEach, describe, expect, it } from 'vitest';
import { makeCause } from '../model/cause.ts';
import { AzekuraError, blamed } from '../model/errors.ts';
import { attachmentName } from '../model/names.ts';
import { Policy } from '../model/policy.ts';
import { change } from '../store/change.ts';
import { freshUuid } from './filesystem/stage.ts';
import { AgentFixture } from './fixture.ts';

const mebibyte = 2 ** 20;
let fixture: AgentFixture;
const open = async () => {
  fixture = await AgentFixture.open();
  return fixture;
};
afterEach(() => fixture.close());

const attachment = attachmentName('db', 'here');
const errnoError = (code: 'FailedPrecondition' | 'PermissionDenied' | 'HostFailure', errno: string) =>
  new AzekuraError(code, `the call failed (${errno})`, { details: { errno, call: 'test' } });

describe('the agent registers its node', () => {
  it('and says what it is and what is missing', async () => {
    const { store } = await open();
    const node = await store.get('Node', 'here');
    expect(node.status).toMatchObject({ phase: 'Ready', version: 'test', kernel: '6.18.0' });
    expect(node.status.causes.map((cause) => cause.code)).toContain('ToolMissing');
    expect(node.status.devices).toMatchObject([{ path: '/dev/sdb' }]);
  });
});

describe('attachments', () => {
  it('go up in order and come down without a trace', async () => {
    const { store, host } = await open();
    await fixture.addReadyReplica('db');
    await fixture.attachReady('db', { published: [{ path: '/mnt/deep/db' }, { path: '/mnt/ro', readOnly: true }] });
    expect([...fixture.mountsBelow('/mnt')].sort()).toEqual(['/mnt/deep/db', '/mnt/ro']);
    expect(fixture.mountsBelow('/data/mounts')).toEqual(['/data/mounts/db']);
    const { status } = await store.get('Attachment', attachment);
    expect(status.layers.map((layer) => layer.kind)).toEqual(['backing', 'loop', 'filesystem', 'bind', 'bind']);
    await store.delete('Attachment', attachment);
    await fixture.until('Attachment', attachment, (one) => one === undefined);
    expect([...fixture.mountsBelow('/mnt'), ...fixture.mountsBelow('/data')]).toEqual([]);
    expect(host.machine.loops.size).toBe(0);
    const kernel = host.kernel('test');
    expect(await kernel.listDirectory('/mnt')).toEqual([]);
    expect(await kernel.listDirectory('/data/mounts')).toEqual([]);
    expect(await kernel.listDirectory('/data/run/mount-points')).toEqual([]);
  });

  it('give the file system to the group of the first that is to see it, and to nobody who only reads', async () => {
    const { store, host } = await open();
    await fixture.addReadyReplica('db');
    const reader = { path: '/mnt/ro', readOnly: true, mountGroup: 7 };
    await fixture.attachReady('db', { published: [reader] });
    const groupOf = () => host.machine.place('/data/mounts/db').filesystem.nodes.get('/')?.gid;
    expect(groupOf()).toBeUndefined();
    const writer = { path: '/mnt/rw', readOnly: false, mountGroup: 7 };
    await change(store, 'Attachment', attachment, ({ spec }) => ({ spec: { ...spec, published: [reader, writer] } }));
    await expect.poll(() => fixture.mountsBelow('/mnt').length).toBe(2);
    expect(groupOf()).toBe(7);
  });

  it('leave alone the folder that was there before', async () => {
    const { store, host } = await open();
    await host.kernel('test').makeDirectory('/mnt/db');
    await fixture.addReadyReplica('db');
    await fixture.attachReady('db');
    await store.delete('Attachment', attachment);
    await fixture.until('Attachment', attachment, (one) => one === undefined);
    expect(await host.kernel('test').listDirectory('/mnt')).toEqual(['db']);
  });

  it('refuse a folder that is not empty and a mount of somebody else, and go on when it is free', async () => {
    const { host } = await open();
    const kernel = host.kernel('test');
    await kernel.makeDirectory('/mnt/db/stranger');
    await fixture.addReadyReplica('db');
    await fixture.attach('db');
    const failed = await fixture.until('Attachment', attachment, (one) => one?.status.phase === 'Failed');
    expect(failed?.status.causes).toMatchObject([{ code: 'MountPointBusy' }]);
    await kernel.removeTree('/mnt/db/stranger');
    await fixture.until(
      'Attachment',
      attachment,
      (one) => one?.status.phase === 'Attached' && one.status.causes.length === 0,
    );
  });

  it('never unmount what somebody else mounted over a path of theirs', async () => {
    const { store, host } = await open();
    await fixture.addReadyReplica('db');
    await fixture.attachReady('db');
    const kernel = host.kernel('test');
    await kernel.unmount('/mnt/db');
    await kernel.makeDirectory('/other');
    await kernel.bindMount('/other', '/mnt/db');
    await store.delete('Attachment', attachment);
    await fixture.until('Attachment', attachment, (one) => one === undefined);
    expect(fixture.mountsBelow('/mnt')).toEqual(['/mnt/db']);
  });

  it('put back what was unmounted, after a restart', async () => {
    const { host } = await open();
    await fixture.addReadyReplica('db');
    await fixture.attachReady('db');
    await fixture.stop();
    const kernel = host.kernel('test');
    await kernel.unmount('/mnt/db');
    await kernel.unmount('/data/mounts/db');
    await fixture.start();
    await expect.poll(() => fixture.mountsBelow('/mnt')).toEqual(['/mnt/db']);
    expect(fixture.mountsBelow('/data/mounts')).toEqual(['/data/mounts/db']);
  });

  it('are thawed before they are unmounted, since the kernel would keep a frozen file system for ever', async () => {
    const { store, host } = await open();
    await fixture.addReadyReplica('db');
    await fixture.attachReady('db');
    const filesystem = host.machine.place('/mnt/db').filesystem;
    filesystem.frozen = true;
    await store.delete('Attachment', attachment);
    await fixture.until('Attachment', attachment, (one) => one === undefined);
    expect(filesystem.frozen).toBe(false);
  });

  it('name who holds a mount, and keep everything else as it is', async () => {
    const { store, host } = await open();
    await fixture.addReadyReplica('db');
    await fixture.attachReady('db');
    host.holderNames.push('postgres (pid 4711)');
    host.failNext('unmount', errnoError('FailedPrecondition', 'EBUSY'));
    await store.delete('Attachment', attachment);
    const held = await fixture.until('Attachment', attachment, (one) => one?.status.causes[0]?.code === 'InUse');
    expect(held?.status.causes[0]?.message).toContain('postgres (pid 4711)');
    await fixture.until('Attachment', attachment, (one) => one === undefined);
  });

  it('only give the device while nothing is to be staged', async () => {
    const { store, host } = await open();
    await fixture.addReadyReplica('db');
    await fixture.attachReady('db', { staged: false, published: [], origin: 'publish' });
    expect(host.machine.loops.size).toBe(1);
    expect(fixture.mountsBelow('/data/mounts')).toEqual([]);
    await change(store, 'Attachment', attachment, ({ spec }) => ({
      spec: { ...spec, staged: true, stagingPath: '/mnt/staging' },
    }));
    await fixture.until('Attachment', attachment, (one) => one?.status.stagingPath === '/mnt/staging');
    expect(fixture.mountsBelow('/mnt')).toEqual(['/mnt/staging']);
    await change(store, 'Attachment', attachment, ({ spec: { stagingPath: _path, ...spec } }) => ({
      spec: { ...spec, staged: false },
    }));
    await expect.poll(() => fixture.mountsBelow('/mnt')).toEqual([]);
    expect(host.machine.loops.size).toBe(1);
  });

  it('mount a clone under a UUID of its own', async () => {
    const { host } = await open();
    await fixture.addReadyReplica('db');
    await fixture.addReadyReplica('copy', { source: { kind: 'replica', volumeId: 'db', poolName: 'main' } });
    await fixture.attachReady('copy');
    expect(host.machine.place('/mnt/copy').filesystem.uuid).toBe(freshUuid('copy'));
  });

  it('say what is wrong with a file system that cannot be mounted', async () => {
    const { host } = await open();
    await fixture.addReadyReplica('db');
    host.failNext('mount', errnoError('HostFailure', 'EUCLEAN'), { times: 100 });
    await fixture.attach('db');
    const failed = await fixture.until('Attachment', attachment, (one) => one?.status.phase === 'Failed');
    expect(failed?.status.causes).toMatchObject([{ code: 'FilesystemNeedsCheck' }]);
  });
});

describe('growth', () => {
  it('waits for the next mount where ext4 must not be grown in use', async () => {
    const { store, host } = await open();
    const policy = Policy.parse({ filesystem: 'ext4' });
    await fixture.addReadyReplica('db', { policy });
    await fixture.attachReady('db');
    host.failNext('growFilesystem', errnoError('PermissionDenied', 'EPERM'));
    await change(store, 'Replica', 'db-0', ({ spec }) => ({ spec: { ...spec, sizeBytes: 1_024 * mebibyte } }));
    const blocked = await fixture.until(
      'Attachment',
      attachment,
      (one) => one?.status.causes.some((cause) => cause.code === 'FilesystemGrowthBlocked') === true,
    );
    expect(blocked?.status.phase).toBe('Attached');
    expect((await store.get('Replica', 'db-0')).status.sizeBytes).toBe(1_024 * mebibyte);
  });

  it('is done by command before an ext4 is mounted, where this process may not grow it in use', async () => {
    const { host } = await open();
    host.hostFacts = { ...host.hostFacts, capabilities: ['CAP_SYS_ADMIN'] };
    const commands: string[] = [];
    host.onExec((argv) => {
      if (argv[0] === 'e2fsck' || argv[0] === 'resize2fs') commands.push(argv[0]);
      return undefined;
    });
    await fixture.addReadyReplica('db', { policy: Policy.parse({ filesystem: 'ext4' }) });
    const image = [...host.machine.mounts]
      .find((mount) => mount.target === '/disk')
      ?.filesystem.nodes.get('/pool/volumes/db/data');
    expect(image?.filesystem?.capacityBytes).toBeDefined();
    if (image?.filesystem) image.filesystem.capacityBytes = 256 * mebibyte;
    await fixture.attachReady('db');
    expect(commands).toEqual(['e2fsck', 'resize2fs']);
  });
});

describe('replicas', () => {
  it('say why they cannot be made, and are made when that is over', async () => {
    const { host } = await open();
    host.failNext('clone', blamed('FailedPrecondition', makeCause('PoolReadOnly', { pool: 'main' })));
    await fixture.addReplica('db');
    const failed = await fixture.until('Replica', 'db-0', (one) => one?.status.phase === 'Failed');
    expect(failed?.status.causes).toMatchObject([{ code: 'PoolReadOnly' }]);
    const ready = await fixture.until('Replica', 'db-0', (one) => one?.status.phase === 'Ready');
    expect(ready?.status.causes).toEqual([]);
  });

  it('leave one task that tells of the failed attempt and of the successful one', async () => {
    const { store, host } = await open();
    host.failNext('clone', errnoError('HostFailure', 'EIO'));
    await fixture.addReadyReplica('db');
    const tasks = (await store.list('Task')).items.filter((task) => task.spec.verb === 'CreateVolume');
    expect(tasks).toMatchObject([{ status: { phase: 'Succeeded', attempts: 2 } }]);
    expect(tasks[0]?.status.cause).toBeUndefined();
  });

  it('contain a call that hangs to their volume', async () => {
    const { host } = await open();
    await fixture.addReadyReplica('db');
    await fixture.addReadyReplica('other');
    host.hangNext('bindMount');
    await fixture.attach('db');
    const hung = await fixture.until('Attachment', attachment, (one) => one?.status.phase === 'Failed');
    expect(hung?.status.causes).toMatchObject([{ code: 'HungCall' }]);
    await fixture.attachReady('other');
    host.releaseHangs();
    await fixture.until(
      'Attachment',
      attachment,
      (one) => one?.status.phase === 'Attached' && one.status.causes.length === 0,
    );
  });

  it('are not deleted while they are attached', async () => {
    const { store, host } = await open();
    await fixture.addReadyReplica('db');
    await fixture.attachReady('db');
    await fixture.purge('Replica', 'db-0');
    await fixture.until('Replica', 'db-0', (one) => one?.status.causes[0]?.code === 'InUse');
    expect(await host.kernel('test').listDirectory('/disk/pool/volumes')).toEqual(['db']);
    await store.delete('Attachment', attachment);
    await fixture.until('Replica', 'db-0', (one) => one === undefined);
    expect(await host.kernel('test').listDirectory('/disk/pool/volumes')).toEqual([]);
  });

  it('leave their data on the pool when they are deleted without consent, also while they are in use', async () => {
    const { store, host } = await open();
    await fixture.addReadyReplica('db');
    await fixture.attachReady('db');
    await fixture.snapshot('db', 's1');
    await fixture.until('Snapshot', 's1', (one) => one?.status.readyToUse === true);
    // Everything at once, as when somebody deletes the custom resource definitions.
    await store.delete('Snapshot', 's1');
    await store.delete('Replica', 'db-0');
    await store.delete('Attachment', attachment);
    for (const [kind, name] of [
      ['Snapshot', 's1'],
      ['Attachment', attachment],
      ['Replica', 'db-0'],
    ] as const)
      await fixture.until(kind, name, (one) => one === undefined);
    expect(host.machine.loops.size).toBe(0);
    const kernel = host.kernel('test');
    expect(await kernel.listDirectory('/disk/pool/volumes')).toEqual(['db']);
    expect(await kernel.listDirectory('/disk/pool/volumes/db/snapshots')).toEqual(['s1']);
    const verbs = (await store.list('Task')).items.map((task) => task.spec.verb);
    expect(verbs).toContain('ReleaseVolume');
    expect(verbs).not.toContain('DeleteVolume');
    expect(verbs).not.toContain('DeleteSnapshot');
  });

  it.each([true, false])('end as they should after a failure of any step (consent: %s)', async (consent) => {
    const { store, host } = await open();
    const seen = new Set<string>();
    for (let round = 0, crashed = true; crashed; round++) {
      await fixture.stop();
      crashed = false;
      const id = `v${round}`;
      await fixture.start();
      await fixture.addReadyReplica(id);
      const name = `${id}-0`;
      await fixture.stop();
      if (consent) await fixture.purge('Replica', name);
      else await store.delete('Replica', name);
      await fixture.start((point) => {
        if (!/delete|release|detach/i.test(point) || crashed || seen.has(point)) return;
        seen.add(point);
        crashed = true;
        throw new Error(`failed at ${point}`);
      });
      await fixture.until('Replica', name, (one) => one === undefined);
      expect((await host.kernel('test').listDirectory('/disk/pool/volumes'))?.includes(id)).toBe(!consent);
      expect(await host.kernel('test').listDirectory('/disk/pool/tmp')).toEqual([]);
    }
    if (consent) expect(seen.size).toBeGreaterThan(0);
  });
});

describe('pools', () => {
  it('say that their place is gone, and so do the volumes on them; both recover', async () => {
    const { store, host } = await open();
    await fixture.addReadyReplica('db');
    await fixture.stop();
    await host.kernel('test').unmount('/disk');
    await fixture.start();
    const pool = await fixture.until('Pool', 'main', (one) => one?.status.phase === 'Missing');
    expect(pool?.status.causes).toMatchObject([{ code: 'PoolMissing' }]);
    await change(store, 'Replica', 'db-0', ({ spec }) => ({ spec: { ...spec, sizeBytes: 1_024 * mebibyte } }));
    await fixture.until('Replica', 'db-0', (one) => one?.status.causes[0]?.code === 'PoolMissing');
    await host.kernel('test').mount({ source: '/dev/sdb', target: '/disk', filesystem: 'xfs' });
    await fixture.until(
      'Replica',
      'db-0',
      (one) => one?.status.sizeBytes === 1_024 * mebibyte && one.status.causes.length === 0,
    );
  });

  it('are not removed while they hold volumes', async () => {
    const { store } = await open();
    await fixture.addReadyReplica('db');
    await store.delete('Pool', 'main');
    await fixture.until('Pool', 'main', (one) => one?.status.causes[0]?.code === 'InUse');
    await store.delete('Replica', 'db-0');
    await fixture.until('Pool', 'main', (one) => one === undefined);
  });
});
