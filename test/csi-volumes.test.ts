import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statfsSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { CallError } from '../lab/csi/client.ts';
import { blockCapability, type Instance, mountCapability, nothingLeft, startInstance } from '../lab/csi/instance.ts';
import { persistCall } from '../lab/csi/persist.ts';
import { CsiVolume } from '../lab/csi/volume.ts';
import { holdings, processTree } from '../lab/daemon.ts';
import { Cleanup, eventually, run } from '../lab/workbench.ts';
import { VolumeCapability_AccessMode_Mode as Mode } from '../src/gen/csi/csi_pb.js';
import { shortId } from '../src/lib/id.ts';

const gib = 2n ** 30n;
const cleanup = new Cleanup();
let instance: Instance;

beforeAll(async () => {
  instance = await startInstance(cleanup, { disk: '32G' });
});
afterAll(() => cleanup.run());

const code = (promise: Promise<unknown>) =>
  promise.then(
    () => 'OK',
    (error: CallError) => error.codeName,
  );

const create = (volumeCapability: object, extra: object = {}) => CsiVolume.create(instance, volumeCapability, extra);

const fromSnapshot = (snapshotId: string) => ({
  volumeContentSource: { type: { case: 'snapshot' as const, value: { snapshotId } } },
});
const digest = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');
const sizeOf = (path: string) => {
  const { blocks, bsize } = statfsSync(path);
  return blocks * bsize;
};

describe('a volume used through CSI', () => {
  afterEach(() => nothingLeft(instance.daemon));

  it.each(['xfs', 'ext4'])(
    'with %s holds its data, and a larger clone of its snapshot comes up grown',
    async (fsType) => {
      const used = await create(mountCapability({ fsType }));
      const target = await used.use();
      writeFileSync(`${target}/data`, randomBytes(5 << 20));
      run('sync', '-f', target);
      const before = digest(`${target}/data`);
      const snapshotId = await used.snapshot();
      writeFileSync(`${target}/data`, 'overwritten');
      const clone = await create(mountCapability({ fsType }), {
        ...fromSnapshot(snapshotId),
        capacityRange: { requiredBytes: 2n * gib },
      });
      const cloned = await clone.use();
      expect(digest(`${cloned}/data`)).toBe(before);
      expect(sizeOf(cloned)).toBeGreaterThan(1.8 * Number(gib));
      const stats = await instance.client.node.nodeGetVolumeStats({ volumeId: clone.volumeId, volumePath: cloned });
      expect(Number(stats.usage[0]?.total)).toBe(sizeOf(cloned));
      expect(stats.usage[1]?.used).toBeGreaterThan(0n);
      await clone.release();
      await instance.client.controller.deleteSnapshot({ snapshotId });
      await used.release();
      expect(existsSync(target)).toBe(false);
    },
  );

  it('grows while a pod writes to it', async () => {
    const used = await create(mountCapability());
    const target = await used.use();
    expect(sizeOf(target)).toBeLessThan(1.01 * Number(gib));
    const capacityRange = { requiredBytes: 3n * gib };
    const { volumeId } = used;
    const grown = await instance.client.controller.controllerExpandVolume({ volumeId, capacityRange });
    expect(grown).toMatchObject({ capacityBytes: 3n * gib, nodeExpansionRequired: true });
    await instance.client.node.nodeExpandVolume({ volumeId, volumePath: target, capacityRange });
    expect(sizeOf(target)).toBeGreaterThan(2.9 * Number(gib));
    writeFileSync(`${target}/after`, 'still here');
    await used.release();
  });

  it('is a block device of exactly its size as a raw block volume, also grown', async () => {
    const used = await create(blockCapability());
    const target = await used.use();
    expect(statSync(target).isBlockDevice()).toBe(true);
    expect(run('blockdev', '--getsize64', target)).toBe(String(gib));
    const { volumeId } = used;
    const capacityRange = { requiredBytes: 2n * gib };
    await instance.client.controller.controllerExpandVolume({ volumeId, capacityRange });
    await instance.client.node.nodeExpandVolume({ volumeId, volumePath: target, capacityRange });
    expect(run('blockdev', '--getsize64', target)).toBe(String(2n * gib));
    await used.release();
    expect(existsSync(target)).toBe(false);
  });

  it('is read-only where it is published so, and writable elsewhere', async () => {
    const used = await create(mountCapability());
    const target = await used.use();
    const readOnly = await used.publish('reader', { readonly: true });
    writeFileSync(`${target}/a`, 'x');
    expect(readFileSync(`${readOnly}/a`, 'utf8')).toBe('x');
    expect(() => writeFileSync(`${readOnly}/b`, 'x')).toThrow(/EROFS/);
    await used.release('reader');
    const reader = await create(mountCapability({ mode: Mode.SINGLE_NODE_READER_ONLY }));
    expect(() => writeFileSync(`${reader.target()}/x`, '')).toThrow();
    const shown = await reader.use();
    expect(() => writeFileSync(`${shown}/x`, '')).toThrow(/EROFS/);
    await reader.release();
  });

  it('has the mount flags that were asked for', async () => {
    const used = await create(mountCapability({ mountFlags: ['noatime', 'nodev'] }));
    const target = await used.use();
    const options = run('findmnt', '-n', '-o', 'OPTIONS', '--mountpoint', used.stagingTargetPath);
    expect(options).toContain('noatime');
    expect(options).toContain('nodev');
    expect(existsSync(target)).toBe(true);
    await used.release();
  });

  it('comes back where somebody unmounted it, by the calls that a restarted kubelet makes', async () => {
    const used = await create(mountCapability());
    const target = await used.use();
    writeFileSync(`${target}/data`, 'kept');
    run('umount', target);
    run('umount', used.stagingTargetPath);
    expect(readdirSync(target)).toEqual([]);
    await used.stage();
    await used.publish();
    expect(readFileSync(`${target}/data`, 'utf8')).toBe('kept');
    await used.release();
  });

  it('comes back after the daemon was killed and everything was unmounted meanwhile, as by a reboot', async () => {
    const used = await create(mountCapability());
    const target = await used.use();
    writeFileSync(`${target}/data`, 'kept');
    await instance.daemon.kill();
    run('umount', target);
    run('umount', used.stagingTargetPath);
    for (const device of run('losetup', '--noheadings', '--raw', '--output', 'NAME,BACK-FILE').split('\n'))
      if (device.includes(instance.scratch) && device.includes(used.volumeId))
        run('losetup', '--detach', device.split(' ')[0] ?? '');
    instance.daemon.launch();
    await instance.daemon.ready();
    await persistCall(() => used.stage());
    await persistCall(() => used.publish());
    expect(readFileSync(`${target}/data`, 'utf8')).toBe('kept');
    await used.release();
  });

  it("is never put over what is somebody else's", async () => {
    const used = await create(mountCapability());
    await used.use();
    mkdirSync(used.target('full'));
    writeFileSync(`${used.target('full')}/precious`, 'mine');
    expect(await code(used.publish('full'))).toBe('FAILED_PRECONDITION');
    expect(readFileSync(`${used.target('full')}/precious`, 'utf8')).toBe('mine');
    mkdirSync(used.target('mounted'));
    run('mount', '-t', 'tmpfs', 'foreign', used.target('mounted'));
    try {
      expect(await code(used.publish('mounted'))).toBe('FAILED_PRECONDITION');
      await instance.client.node.nodeUnpublishVolume({ volumeId: used.volumeId, targetPath: used.target('mounted') });
      expect(run('findmnt', '-n', '-o', 'SOURCE', '--mountpoint', used.target('mounted'))).toBe('foreign');
    } finally {
      run('umount', used.target('mounted'));
    }
    await used.release('full', 'mounted');
    expect(readFileSync(`${used.target('full')}/precious`, 'utf8')).toBe('mine');
  });

  it('cannot be made where there is no room: RESOURCE_EXHAUSTED, and nothing of it is left', async () => {
    const huge = { capacityRange: { requiredBytes: 40n * gib }, parameters: { provisioning: 'thick' } };
    expect(await code(create(mountCapability(), huge))).toBe('RESOURCE_EXHAUSTED');
    const capacity = await instance.client.controller.getCapacity({ parameters: { provisioning: 'thick' } });
    expect(capacity.availableCapacity).toBeLessThan(32n * gib);
    const fits = {
      capacityRange: { requiredBytes: (capacity.maximumVolumeSize ?? 0n) / 2n },
      parameters: { provisioning: 'thick' },
    };
    await (await create(mountCapability(), fits)).release();
  });

  it("of a pod's own lives and dies with its path", async () => {
    const volumeId = `csi-${randomBytes(32).toString('hex')}`;
    const targetPath = `${instance.scratch}/target/inline`;
    const request = {
      volumeId,
      targetPath,
      volumeCapability: mountCapability(),
      volumeContext: { 'csi.storage.k8s.io/ephemeral': 'true', size: '512Mi' },
    };
    await instance.client.node.nodePublishVolume(request);
    writeFileSync(`${targetPath}/scratch`, 'x');
    await instance.client.node.nodePublishVolume(request);
    expect(existsSync(`${targetPath}/scratch`)).toBe(true);
    expect(sizeOf(targetPath)).toBeLessThan(0.55 * Number(gib));
    await instance.client.node.nodeUnpublishVolume({ volumeId, targetPath });
    expect(existsSync(targetPath)).toBe(false);
  });

  it('is snapshotted with others at one instant', async () => {
    const [a, b] = [await create(mountCapability()), await create(mountCapability())];
    const [left, right] = [await a.use(), await b.use()];
    // Writes go to a, then to b: a snapshot of one instant never has more in b than in a.
    const files = [openSync(`${left}/count`, 'w'), openSync(`${right}/count`, 'w')];
    let writing = true;
    let count = 0;
    const writer = (async () => {
      while (writing) {
        count += 1;
        // In place: a file that is truncated first would be empty at some instants.
        for (const file of files) {
          writeSync(file, String(count).padStart(10), 0);
          fdatasyncSync(file);
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    await eventually(() => expect(count).toBeGreaterThan(20));
    const { groupSnapshot } = await instance.client.group.createVolumeGroupSnapshot({
      name: `group-${shortId()}`,
      sourceVolumeIds: [a.volumeId, b.volumeId],
    });
    writing = false;
    await writer;
    for (const file of files) closeSync(file);
    const counts = [];
    for (const { volumeId } of [a, b]) {
      const member = groupSnapshot?.snapshots.find(({ sourceVolumeId }) => sourceVolumeId === volumeId);
      const clone = await create(mountCapability(), {
        ...fromSnapshot(member?.snapshotId ?? ''),
        capacityRange: undefined,
      });
      counts.push(Number(readFileSync(`${await clone.use()}/count`, 'utf8')));
      await clone.release();
    }
    const [inLeft = 0, inRight = 0] = counts;
    expect(inLeft).toBeGreaterThan(0);
    expect([0, 1]).toContain(inLeft - inRight);
    await instance.client.group.deleteVolumeGroupSnapshot({
      groupSnapshotId: groupSnapshot?.groupSnapshotId ?? '',
      snapshotIds: groupSnapshot?.snapshots.map(({ snapshotId }) => snapshotId) ?? [],
    });
    await a.release();
    await b.release();
  });
});

describe('secrets', () => {
  it('reach no command line, log or object', async () => {
    const canary = `c4n4ry-${randomBytes(6).toString('hex')}`;
    const secrets = { passphrase: canary };
    const lines = new Set<string>();
    let sampling = true;
    const sampler = (async () => {
      while (sampling) {
        for (const pid of processTree(instance.daemon.pid))
          try {
            lines.add(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
          } catch {
            // It has ended.
          }
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    })();
    const used = await create(mountCapability({ fsType: 'ext4' }), { secrets });
    const { volumeId, volumeCapability, stagingTargetPath } = used;
    await instance.client.controller.controllerPublishVolume({
      volumeId,
      volumeCapability,
      nodeId: instance.nodeId,
      secrets,
    });
    await instance.client.node.nodeStageVolume({ volumeId, volumeCapability, stagingTargetPath, secrets });
    await used.publish('pod', { secrets });
    await instance.client.controller.controllerExpandVolume({
      volumeId,
      capacityRange: { requiredBytes: 2n * gib },
      secrets,
    });
    const objects = [];
    for (const kind of ['Volume', 'Attachment', 'Replica', 'Task'] as const)
      objects.push(await instance.daemon.client.list(kind));
    await used.release();
    sampling = false;
    await sampler;
    expect(lines.size).toBeGreaterThan(0);
    expect([...lines].join('\n')).not.toContain(canary);
    expect(JSON.stringify(objects)).not.toContain(canary);
    expect(readFileSync(instance.daemon.logPath, 'utf8')).not.toContain(canary);
    for (const name of readdirSync(`${instance.daemon.dataDir}/state`, { recursive: true, encoding: 'utf8' })) {
      const file = `${instance.daemon.dataDir}/state/${name}`;
      if (statSync(file).isFile()) expect(readFileSync(file).includes(canary)).toBe(false);
    }
  });
});

describe('at the end', () => {
  it('nothing of it is mounted or attached', async () => {
    for (const folder of ['staging', 'pool'])
      await expect
        .poll(() => holdings(`${instance.scratch}/${folder}`), { timeout: 30_000 })
        .toEqual({ mounts: [], loops: [] });
    expect(readdirSync(`${instance.scratch}/target`)).toEqual(expect.not.arrayContaining(['1-pod']));
  });
});
