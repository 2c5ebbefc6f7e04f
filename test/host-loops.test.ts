import { readFileSync, symlinkSync } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../lab/workbench.ts';
import type { Kernel } from '../src/host/kernel.ts';
import { type HostPool, makeHostPool } from './host-pool.ts';

const mib = 1024 ** 2;
const notRoot = process.geteuid?.() !== 0;

/** Loop devices are known by the file behind them, whatever has become of the path by which it was opened. */
describe.skipIf(notRoot)(`loop devices, for real${notRoot ? ' (skipped: needs root)' : ''}`, () => {
  let made: HostPool;
  let kernel: Kernel;
  let scratch: string;
  let pool: string;
  const at = (...parts: string[]) => join(pool, ...parts);

  beforeAll(async () => {
    made = await makeHostPool();
    ({ kernel, scratch, pool } = made);
  });
  afterAll(() => made.end());

  it('finds loops and detaches them by a path with a link in its folders', async () => {
    await kernel.createSparse(at('linked'), mib);
    const { device } = await kernel.attachLoop(at('linked'), { readOnly: true });
    symlinkSync(pool, join(scratch, 'alias'));
    const alias = join(scratch, 'alias/linked');
    expect(await kernel.findLoop(alias)).toMatchObject({ device, readOnly: true });
    await kernel.createSparse(at('other'), mib);
    await kernel.changeLoopFile(device, at('other'));
    expect(await kernel.findLoop(alias)).toBeUndefined();
    expect(await kernel.findLoop(at('other'))).toMatchObject({ device });
    await kernel.detachLoop(device, at('linked'));
    expect(await kernel.findLoop(at('other'))).toMatchObject({ device });
    await kernel.detachLoop(device, at('other'));
  });

  it('finds and detaches a loop by a file that was opened through a mount that is gone', async () => {
    const folder = at('kept');
    const other = join(scratch, 'other-view');
    await mkdir(folder, { recursive: true });
    await mkdir(other, { recursive: true });
    await kernel.createSparse(join(folder, 'data'), mib);
    await kernel.createSparse(at('data'), mib);
    run('mount', '--bind', folder, other);
    const { device } = await kernel.attachLoop(join(other, 'data'));
    // As when the mount namespace ends in which it was opened.
    run('umount', '--lazy', other);
    const found = await kernel.findLoop(join(folder, 'data'));
    expect(found).toMatchObject({ device, backingFile: '/data' });
    expect(await kernel.findLoop(join(folder, 'data'))).toEqual(found);
    // The same end of the path, and another file that somebody has open.
    const user = await open(at('data'));
    expect(await kernel.findLoop(at('data'))).toBeUndefined();
    await user.close();
    expect(await kernel.attachLoop(join(folder, 'data'), { reuse: true })).toMatchObject({ device });
    await kernel.detachLoop(device, found?.backingFile ?? '');
    expect(await kernel.findLoop(join(folder, 'data'))).toBeUndefined();
  });

  it('reads the label of a disk from the disk, though something holds the disk open and it was read before', async () => {
    const front = gunzipSync(readFileSync(new URL('../src/host/lvm/recorded/front-of-disk.gz', import.meta.url)));
    await kernel.createSparse(at('disk'), 8 * mib);
    const disk = await open(at('disk'), 'r+');
    await disk.write(front, 0, front.length, 0);
    await disk.sync();
    const { device } = await kernel.attachLoop(at('disk'));
    // Without a holder the kernel would forget what it has cached with each close.
    const holder = await open(device);
    expect((await kernel.readLvmLabel(device))?.group?.name).toBe('rec');
    await disk.write(Buffer.alloc(front.length), 0, front.length, 0);
    await disk.sync();
    expect(await kernel.readLvmLabel(device)).toBeUndefined();
    await holder.close();
    await disk.close();
    await kernel.detachLoop(device, at('disk'));
  });
});
