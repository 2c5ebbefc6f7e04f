import { describe, expect, it } from 'vitest';
import { AzekuraError, hasCode } from '../model/errors.ts';
import { FakeHost } from './fake.ts';

const gib = 1024 ** 3;

async function withVolume() {
  const host = new FakeHost();
  const kernel = host.kernel('pool/main');
  await kernel.makeDirectory('/pool/a');
  await kernel.createSparse('/pool/a/data', gib);
  host.format('/pool/a/data', 'ext4');
  return { host, kernel };
}

describe('fake host', () => {
  it('carries files on a volume through attach, mount, unmount and clone', async () => {
    const { kernel, host } = await withVolume();
    const { device } = await kernel.attachLoop('/pool/a/data');
    await kernel.makeMountPoint('/mnt/a', 'directory');
    await kernel.mount({ source: device, target: '/mnt/a', filesystem: 'ext4' });
    await kernel.writeTextFile('/mnt/a/hello', 'world');
    await kernel.clone('/pool/a/data', '/pool/a/snap');
    await kernel.writeTextFile('/mnt/a/hello', 'changed');
    await expect(kernel.detachLoop(device, '/pool/a/data')).rejects.toSatisfy((e) => hasCode(e, 'FailedPrecondition'));
    await kernel.unmount('/mnt/a');
    await kernel.detachLoop(device, '/pool/a/data');
    const clone = await kernel.attachLoop('/pool/a/snap', { readOnly: true });
    await kernel.mount({ source: clone.device, target: '/mnt/a', filesystem: 'ext4', options: ['ro'] });
    expect(await kernel.readTextFile('/mnt/a/hello')).toBe('world');
    await expect(kernel.writeTextFile('/mnt/a/hello', 'x')).rejects.toSatisfy((e) => hasCode(e, 'FailedPrecondition'));
    expect((await host.mounts()).find((mount) => mount.target === '/mnt/a')?.device).toBe('7:0');
  });

  it('shows a block volume as the kernel does: a bind of a node in devtmpfs', async () => {
    const { kernel, host } = await withVolume();
    const { device } = await kernel.attachLoop('/pool/a/data');
    await kernel.makeMountPoint('/mnt/block', 'file');
    await kernel.bindMount(device, '/mnt/block');
    expect((await kernel.stat('/mnt/block'))?.kind).toBe('block');
    const mount = (await host.mounts()).find(({ target }) => target === '/mnt/block');
    expect(mount).toMatchObject({ root: '/loop0', filesystem: 'devtmpfs' });
  });

  it('runs out of room, fails and hangs on demand', async () => {
    const { kernel, host } = await withVolume();
    host.machine.place('/pool').filesystem.capacityBytes = gib;
    await expect(kernel.allocate('/pool/a/big', 2 * gib)).rejects.toSatisfy((e) => hasCode(e, 'ResourceExhausted'));
    host.failNext('clone', new AzekuraError('HostFailure', 'injected'));
    await expect(kernel.clone('/pool/a/data', '/pool/a/b')).rejects.toThrow('injected');
    await kernel.clone('/pool/a/data', '/pool/a/b');
    host.hangNext('stat');
    await expect(kernel.stat('/pool/a/data')).rejects.toMatchObject({
      code: 'Unavailable',
      blame: { code: 'HungCall' },
    });
    await expect(host.kernel('pool/main/x').stat('/pool/a/data')).rejects.toMatchObject({
      blame: { code: 'HungCall' },
    });
    expect((await host.kernel('pool/other').stat('/pool/a/data'))?.sizeBytes).toBe(gib);
    host.releaseHangs();
    expect((await kernel.stat('/pool/a/data'))?.sizeBytes).toBe(gib);
    expect(host.calls.map(({ call }) => call)).toContain('clone');
  });
});
