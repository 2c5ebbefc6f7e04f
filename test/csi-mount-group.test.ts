import { execFile } from 'node:child_process';
import { chmodSync, chownSync, lchownSync, lstatSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { CallError } from '../lab/csi/client.ts';
import { type Instance, mountCapability, nothingLeft, startInstance } from '../lab/csi/instance.ts';
import { persistCall } from '../lab/csi/persist.ts';
import { CsiVolume } from '../lab/csi/volume.ts';
import { Cleanup, eventually, run } from '../lab/workbench.ts';

const execute = promisify(execFile);
const cleanup = new Cleanup();
let instance: Instance;

beforeAll(async () => {
  instance = await startInstance(cleanup, { disk: '32G' });
  // Others than root have to get through.
  chmodSync(instance.scratch, 0o711);
});
afterAll(() => cleanup.run());

const code = (promise: Promise<unknown>) =>
  promise.then(
    () => 'OK',
    (error: CallError) => error.codeName,
  );
const forGroup = (volumeMountGroup: string, fsType = 'xfs') => ({
  ...mountCapability(),
  accessType: { case: 'mount' as const, value: { fsType, volumeMountGroup } },
});
const owners = (path: string) => {
  const { uid, gid, mode } = lstatSync(path);
  return `${uid}:${gid} ${(mode & 0o7777).toString(8)}`;
};
/** Writes as a user of the group, who is nobody else. */
const writeAs = (gid: number, path: string) =>
  execute('setpriv', ['--reuid=65534', `--regid=${gid}`, '--clear-groups', 'touch', path]);

describe('volume_mount_group', () => {
  afterEach(() => nothingLeft(instance.daemon));

  it.each(['xfs', 'ext4'])('gives an empty volume with %s to the group, which can then write', async (fsType) => {
    const volume = await CsiVolume.create(instance, forGroup('4711', fsType));
    const target = await volume.use();
    expect(owners(target)).toBe('0:4711 2775');
    await writeAs(4711, `${target}/file`);
    // setgid: what anybody makes belongs to the group.
    expect(owners(`${target}/file`)).toMatch(/^65534:4711 /);
    await expect(writeAs(4712, `${target}/other`)).rejects.toThrow(/Permission denied/);
    await volume.release();
  });

  it('gives all that lies in the volume to the group, once, and nothing that lies elsewhere', async () => {
    const volume = await CsiVolume.create(instance, mountCapability({ fsType: 'xfs' }));
    const before = await volume.use();
    const outside = `${instance.scratch}/outside`;
    writeFileSync(outside, '');
    mkdirSync(`${before}/deep/er`, { recursive: true });
    writeFileSync(`${before}/deep/er/secret`, '', { mode: 0o600 });
    writeFileSync(`${before}/deep/program`, '', { mode: 0o755 });
    chownSync(`${before}/deep/program`, 33, 33);
    chmodSync(`${before}/deep/program`, 0o4755);
    symlinkSync(outside, `${before}/deep/link`);
    lchownSync(`${before}/deep/link`, 33, 33);
    await volume.unpublish();
    const target = await volume.publish('grouped', { volumeCapability: forGroup('2000') });
    expect(owners(`${target}/deep`)).toBe('0:2000 2775');
    expect(owners(`${target}/deep/er`)).toBe('0:2000 2775');
    expect(owners(`${target}/deep/er/secret`)).toBe('0:2000 660');
    // The owner stays, and so does setuid.
    expect(owners(`${target}/deep/program`)).toBe('33:2000 4775');
    expect(statSync(outside).gid).toBe(0);
    // The root is right: what a pod has changed since is its own affair (fsGroupChangePolicy OnRootMismatch).
    chmodSync(`${target}/deep/er/secret`, 0o600);
    await volume.unpublish('grouped');
    await volume.publish('again', { volumeCapability: forGroup('2000') });
    expect(owners(`${volume.target('again')}/deep/er/secret`)).toBe('0:2000 600');
    await volume.release('grouped', 'again');
  });

  it('leaves a volume alone that is only read, and answers the same call the same way', async () => {
    const volume = await CsiVolume.create(instance, forGroup('3000'));
    await volume.stage();
    const target = await volume.publish('pod', { readonly: true });
    expect(owners(target)).toBe('0:0 755');
    for (const _ of [1, 2]) await volume.publish('writer');
    expect(owners(target)).toBe('0:3000 2775');
    expect(await code(volume.publish('writer', { volumeCapability: forGroup('3001') }))).toBe('ALREADY_EXISTS');
    for (const wrong of ['root', '-1', '4294967295', '0x10', '1e3', ' 5', '99999999999'])
      expect(await code(volume.publish('wrong', { volumeCapability: forGroup(wrong) }))).toBe('INVALID_ARGUMENT');
    await volume.release('writer');
  });

  it('begins again after a kill in the middle, and is done with 60,000 files when the call is answered', async () => {
    const volume = await CsiVolume.create(instance, mountCapability({ fsType: 'xfs' }));
    const before = await volume.use();
    const names = Array.from({ length: 200 }, (_, index) => String(index));
    for (const folder of names) {
      mkdirSync(`${before}/${folder}`);
      for (let file = 0; file < 300; file++) writeFileSync(`${before}/${folder}/${file}`, '');
    }
    await volume.unpublish();
    const wanted = { volumeCapability: forGroup('5000') };
    const call = volume.publish('grouped', wanted).catch(() => undefined);
    // Some of it has been given, and the root has not.
    await eventually(() => expect(statSync(`${volume.stagingTargetPath}/0`).gid).toBe(5000), 20_000, 1);
    await instance.daemon.kill();
    expect(statSync(volume.stagingTargetPath).gid).toBe(0);
    instance.daemon.launch();
    await instance.daemon.ready();
    await call;
    await persistCall(() => volume.publish('grouped', wanted));
    const others = run('find', volume.target('grouped'), '!', '-gid', '5000', '-printf', 'x');
    expect(others).toBe('');
    await volume.release('grouped');
  });
});
