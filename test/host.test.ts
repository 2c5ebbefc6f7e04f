import { randomUUID } from 'node:crypto';
import {
  closeSync,
  openSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Host } from '../src/host/host.ts';
import type { Kernel } from '../src/host/kernel.ts';
import { hasCode } from '../src/model/errors.ts';
import { type HostPool, makeHostPool } from './host-pool.ts';

const mib = 1024 ** 2;
const notRoot = process.geteuid?.() !== 0;

/** Every kernel call once, for real: an XFS with reflink in a file, on a loop device. */
describe.skipIf(notRoot)(`host, for real${notRoot ? ' (skipped: needs root)' : ''}`, () => {
  let made: HostPool;
  let host: Host;
  let kernel: Kernel;
  let scratch: string;
  let image: string;
  let pool: string;
  let poolDevice: string;

  beforeAll(async () => {
    made = await makeHostPool();
    ({ host, kernel, scratch, image, pool, device: poolDevice } = made);
  });
  afterAll(() => made.end());

  const at = (...parts: string[]) => join(pool, ...parts);
  const code = (wanted: Parameters<typeof hasCode>[1]) => (error: unknown) => hasCode(error, wanted);

  /** Bytes written into a file at an offset, by the ordinary way. */
  const write = async (path: string, offset: number, bytes: Buffer) => {
    const fd = openSync(path, 'r+');
    writeSync(fd, bytes, 0, bytes.length, offset);
    closeSync(fd);
    await kernel.sync(path);
  };

  it('shows the pool in mounts, loops, statfs and probe', async () => {
    const loop = (await host.loops()).find(({ device }) => device === poolDevice);
    expect(loop).toMatchObject({
      backingFile: image,
      backingDeleted: false,
      logicalBlockBytes: 4096,
      sizeBytes: 512 * mib,
    });
    expect(await kernel.findLoop(image)).toEqual(loop);
    const mount = (await host.mounts()).find(({ target }) => target === pool);
    expect(mount).toMatchObject({ device: loop?.deviceNumber, filesystem: 'xfs', source: poolDevice });
    expect(mount?.options).toContain('noatime');
    expect(await kernel.statfs(pool)).toMatchObject({ type: 'xfs', readOnly: false });
    expect(await kernel.probeFilesystem(poolDevice)).toMatchObject({ filesystem: 'xfs', sizeBytes: 512 * mib });
    expect(await kernel.stat(poolDevice)).toMatchObject({ kind: 'block', deviceNumber: loop?.deviceNumber });
    expect(await kernel.canClone(pool)).toBe(true);
    expect(await kernel.canClone(scratch)).toBe(false);
    expect((await host.facts()).filesystems).toContain('xfs');
    expect(await host.blockDevice(poolDevice)).toMatchObject({
      signature: 'xfs',
      mountedAt: [pool],
    });
  });

  it('makes, lists, moves and removes files and folders', async () => {
    await kernel.makeDirectory(at('a/b/c'), 0o700);
    await kernel.makeDirectory(at('a/b/c'));
    await kernel.writeTextFile(at('a/b/x'), 'one', 0o600);
    await kernel.writeTextFile(at('a/b/x'), 'two', 0o600);
    expect(await kernel.readTextFile(at('a/b/x'))).toBe('two');
    expect(await kernel.listDirectory(at('a/b'))).toEqual(['c', 'x']);
    expect(await kernel.listDirectory(at('none'))).toBeUndefined();
    await kernel.writeTextFile(at('a/y'), 'three');
    await expect(kernel.rename(at('a/y'), at('a/b/x'))).rejects.toSatisfy(code('AlreadyExists'));
    await kernel.rename(at('a/y'), at('a/b/x'), { replace: true });
    expect(await kernel.readTextFile(at('a/b/x'))).toBe('three');
    expect(await kernel.stat(at('a/y'))).toBeUndefined();
    expect(statSync(at('a/b/c')).mode & 0o777).toBe(0o700);
    await expect(kernel.makeDirectory(at('a/b/x/z'))).rejects.toThrow();
    await kernel.removeTree(at('a'));
    await kernel.removeTree(at('a'));
    expect(await kernel.stat(at('a'))).toBeUndefined();
  });

  it('gives a tree to a group, in pieces as short as can be, the root last', async () => {
    const root = at('grouped');
    // Deeper and wider than one piece goes, and with a name that is not UTF-8.
    const deep = join(root, ...Array.from({ length: 60 }, (_, level) => `d${level}`));
    await kernel.makeDirectory(deep);
    await kernel.makeDirectory(join(root, 'other'));
    const odd = Buffer.concat([Buffer.from(`${root}/other/`), Buffer.from([0xff, 0xfe])]);
    writeFileSync(odd, '');
    for (let index = 0; index < 200; index++) writeFileSync(join(root, 'other', String(index)), '', { mode: 0o400 });
    await kernel.bindMount(scratch, join(root, 'd0'));
    let pieces = 0;
    const total = { changed: 0, skipped: 0 };
    let after: readonly string[] | undefined;
    for (let done = false; !done; pieces += 1) {
      expect(statSync(root).gid).toBe(0);
      const piece = await kernel.giveToGroup(root, 4711, { budgetMs: 0, ...(after ? { after } : {}) });
      total.changed += piece.changed;
      total.skipped += piece.skipped;
      ({ done } = piece);
      after = piece.after;
    }
    await kernel.unmount(join(root, 'd0'));
    expect(pieces).toBeGreaterThan(4);
    // The root, one folder, its 201 files; not what was mounted over, which is another file system.
    expect(total).toEqual({ changed: 203, skipped: 0 });
    expect(statSync(root)).toMatchObject({ gid: 4711, mode: 0o042775 });
    expect(statSync(odd)).toMatchObject({ gid: 4711, mode: 0o100664 });
    expect(statSync(join(root, 'other', '7'))).toMatchObject({ gid: 4711, mode: 0o100660 });
    expect(statSync(scratch).gid).toBe(0);
    expect(await kernel.giveToGroup(root, 4711, { budgetMs: 0 })).toEqual({ done: true, changed: 0, skipped: 0 });
    let second: readonly string[] | undefined;
    for (let done = false; !done; ) {
      const piece = await kernel.giveToGroup(root, 4712, { budgetMs: 0, ...(second ? { after: second } : {}) });
      ({ done } = piece);
      second = piece.after;
    }
    expect(statSync(deep)).toMatchObject({ gid: 4712, mode: 0o042775 });
    unlinkSync(odd);
    await kernel.removeTree(root);
  });

  it('follows no link in the last part of a path, and removes no mount', async () => {
    await kernel.makeDirectory(at('safe/below'));
    writeFileSync(join(scratch, 'outside'), 'keep');
    symlinkSync(join(scratch, 'outside'), at('safe/link'));
    symlinkSync(scratch, at('safe/folder'));
    await expect(kernel.readTextFile(at('safe/link'))).rejects.toThrow(/symbolic link/);
    await expect(kernel.truncate(at('safe/link'), 0)).rejects.toThrow(/ELOOP/);
    await expect(kernel.listDirectory(at('safe/folder'))).rejects.toThrow(/ELOOP/);
    await expect(kernel.bindMount(pool, at('safe/folder'))).rejects.toThrow(/ELOOP/);
    expect(await kernel.stat(at('safe/link'))).toMatchObject({ kind: 'symlink' });
    await kernel.makeDirectory(at('shared'));
    await kernel.writeTextFile(at('shared/file'), 'keep');
    await kernel.bindMount(at('shared'), at('safe/below'));
    await expect(kernel.removeTree(at('safe'))).rejects.toSatisfy(code('FailedPrecondition'));
    await kernel.unmount(at('safe/below'));
    await kernel.removeTree(at('safe'));
    expect(readFileSync(join(scratch, 'outside'), 'utf8')).toBe('keep');
    expect(await kernel.readTextFile(at('shared/file'))).toBe('keep');
  });

  it('makes sparse and full files and tells when there is no room', async () => {
    await kernel.createSparse(at('thin'), 64 * mib, { extentSizeBytes: mib });
    await kernel.createSparse(at('thin'), 64 * mib);
    await expect(kernel.createSparse(at('thin'), 32 * mib)).rejects.toSatisfy(code('AlreadyExists'));
    await write(at('thin'), 0, Buffer.alloc(4096, 1));
    // The extent size hint: one block written takes a whole MiB.
    expect((await kernel.extentUsage(at('thin'), { sync: true })).exclusiveBytes).toBe(mib);
    await kernel.allocate(at('thick'), 32 * mib);
    expect(await kernel.extentUsage(at('thick'))).toMatchObject({ exclusiveBytes: 32 * mib, unwrittenBytes: 32 * mib });
    const before = await kernel.statfs(pool);
    await expect(kernel.allocate(at('thick'), 4096 * mib)).rejects.toSatisfy(code('ResourceExhausted'));
    expect((await kernel.statfs(pool)).freeBytes).toBeGreaterThan(before.freeBytes - 8 * mib);
    expect((await kernel.stat(at('thick')))?.sizeBytes).toBe(32 * mib);
    await expect(kernel.allocate(at('thick'), mib)).rejects.toSatisfy(code('OutOfRange'));
    await kernel.truncate(at('thin'), 128 * mib);
    expect((await kernel.stat(at('thin')))?.sizeBytes).toBe(128 * mib);
    await kernel.freePreallocation(pool);
    await expect(kernel.freePreallocation(scratch)).rejects.toSatisfy(code('Unimplemented'));
  });

  it('clones whole and in pieces, copies without sharing, and names what differs', async () => {
    await kernel.createSparse(at('v'), 16 * mib);
    await write(at('v'), 0, Buffer.alloc(3 * mib, 1));
    await write(at('v'), 8 * mib, Buffer.alloc(mib, 2));
    let piece = { nextOffsetBytes: 0, done: false };
    let pieces = 0;
    for (; !piece.done; pieces += 1)
      piece = await kernel.cloneRange(at('v'), at('s1'), {
        offsetBytes: piece.nextOffsetBytes,
        pieceBytes: 4 * mib,
        budgetMs: 0,
      });
    expect(pieces).toBe(4);
    await kernel.clone(at('v'), at('s1'));
    expect(readFileSync(at('s1')).equals(readFileSync(at('v')))).toBe(true);
    expect(await kernel.extentUsage(at('s1'))).toMatchObject({ exclusiveBytes: 0, sharedBytes: 4 * mib });

    await write(at('v'), 2 * mib, Buffer.alloc(4096, 9));
    await write(at('v'), 12 * mib, Buffer.alloc(8192, 9));
    truncateSync(at('v'), 20 * mib);
    await kernel.clone(at('v'), at('s2'), { sync: false });
    const changed = await kernel.changedRanges(at('s1'), at('s2'), { fromBytes: 0, limit: 10 });
    expect(changed.nextBytes).toBeUndefined();
    const covers = (offset: number) =>
      changed.ranges.some((r) => r.offsetBytes <= offset && offset < r.offsetBytes + r.lengthBytes);
    expect([2 * mib, 12 * mib, 12 * mib + 4096].every(covers)).toBe(true);
    expect([0, 8 * mib, 15 * mib, 19 * mib].some(covers)).toBe(false);
    const first = await kernel.changedRanges(at('s1'), at('s2'), { fromBytes: 0, limit: 1 });
    expect(first).toMatchObject({ ranges: changed.ranges.slice(0, 1), nextBytes: changed.ranges[1]?.offsetBytes });
    const allocated = await kernel.allocatedRanges(at('s1'), { fromBytes: 0, limit: 10 });
    expect(allocated.ranges).toEqual([
      { offsetBytes: 0, lengthBytes: 3 * mib },
      { offsetBytes: 8 * mib, lengthBytes: mib },
    ]);

    let copy = { nextOffsetBytes: 0, done: false, copiedBytes: 0 };
    while (!copy.done)
      copy = await kernel.copyRange(at('s2'), at('copy'), { offsetBytes: copy.nextOffsetBytes, budgetMs: 0 });
    expect(readFileSync(at('copy')).equals(readFileSync(at('s2')))).toBe(true);
    expect((await kernel.extentUsage(at('copy'), { sync: true })).sharedBytes).toBe(0);
    expect((await kernel.stat(at('copy')))?.allocatedBytes).toBeLessThan(8 * mib);

    // A clone over a longer file is as long as its source.
    await kernel.clone(at('s1'), at('copy'));
    expect(readFileSync(at('copy')).equals(readFileSync(at('s1')))).toBe(true);
    await kernel.allocate(at('s1'), 16 * mib, { unshare: true });
    expect((await kernel.extentUsage(at('s1'))).sharedBytes).toBe(0);
    await expect(kernel.clone(at('s1'), join(scratch, 'x'))).rejects.toThrow(/EXDEV/);
    await expect(kernel.clone(at('none'), at('y'))).rejects.toSatisfy(code('NotFound'));
  });

  it.each(['xfs', 'ext4'] as const)(
    'attaches, mounts, freezes, grows and detaches an %s volume',
    async (filesystem) => {
      const file = at(`volume-${filesystem}`);
      const target = join(scratch, `mount-${filesystem}`);
      const published = join(scratch, `published-${filesystem}`);
      await kernel.createSparse(file, 320 * mib, { extentSizeBytes: mib });
      const { device, directIo } = await kernel.attachLoop(file);
      expect(directIo).toBe(true);
      const mkfs =
        filesystem === 'xfs'
          ? ['mkfs.xfs', '-q', '-K', '-s', 'size=4096']
          : ['mkfs.ext4', '-q', '-b', '4096', '-O', 'metadata_csum_seed', '-E', 'nodiscard'];
      await host.exec([mkfs[0] ?? '', ...mkfs.slice(1), device]);
      await kernel.detachLoop(device, file);
      await kernel.detachLoop(device, file);
      expect(await kernel.findLoop(file)).toBeUndefined();

      const uuid = randomUUID();
      await kernel.setFilesystemUuid(file, filesystem, uuid);
      expect(await kernel.probeFilesystem(file)).toMatchObject({ filesystem, uuid, clean: true });
      const again = await kernel.attachLoop(file);
      await kernel.makeMountPoint(target, 'directory');
      await expect(kernel.mount({ source: again.device, target, filesystem: 'btrfs' })).rejects.toMatchObject({
        blame: { code: 'MountFailed' },
      });
      await kernel.mount({ source: again.device, target, filesystem, options: ['nosuid'] });
      await kernel.writeTextFile(join(target, 'hello'), 'world');
      await expect(kernel.setFilesystemUuid(again.device, filesystem, uuid)).rejects.toSatisfy(
        code('FailedPrecondition'),
      );
      await expect(kernel.detachLoop(again.device, file)).rejects.toSatisfy(code('FailedPrecondition'));
      // The refused detach has not left a device that vanishes at the next umount.
      expect(await kernel.findLoop(file)).toMatchObject({ device: again.device });

      await kernel.makeMountPoint(published, 'directory');
      await kernel.bindMount(target, published, { readOnly: true });
      const bind = (await host.mounts()).find((mount) => mount.target === published);
      expect(bind?.options).toEqual(expect.arrayContaining(['ro', 'nosuid']));
      await expect(kernel.writeTextFile(join(published, 'x'), '')).rejects.toSatisfy(code('FailedPrecondition'));
      await kernel.unmount(published);
      await kernel.removeMountPoint(published);
      await kernel.removeMountPoint(published);

      await kernel.freeze(target);
      await expect(kernel.freeze(target)).rejects.toSatisfy(code('FailedPrecondition'));
      expect(await kernel.thaw(target)).toEqual({ wasFrozen: true });
      expect(await kernel.thaw(target)).toEqual({ wasFrozen: false });
      expect((await kernel.trim(target)).trimmedBytes).toBeGreaterThan(0);

      // Nothing to grow is no error, whatever may be missing.
      await kernel.growFilesystem(target, filesystem);
      const before = await kernel.statfs(target);
      await kernel.truncate(file, 400 * mib);
      await kernel.resizeLoop(again.device);
      expect(await kernel.findLoop(file)).toMatchObject({ sizeBytes: 400 * mib });
      const grown = await kernel.growFilesystem(target, filesystem).then(
        () => true,
        (error: unknown) => {
          if (filesystem === 'ext4' && hasCode(error, 'PermissionDenied')) return false;
          throw error;
        },
      );
      const mayGrow = filesystem === 'xfs' || (await host.facts()).capabilities.includes('CAP_SYS_RESOURCE');
      expect(grown).toBe(mayGrow);
      if (grown) expect((await kernel.statfs(target)).sizeBytes).toBeGreaterThan(before.sizeBytes + 70 * mib);

      const fd = openSync(join(target, 'hello'), 'r');
      await expect(kernel.unmount(target)).rejects.toSatisfy(code('FailedPrecondition'));
      closeSync(fd);
      await kernel.unmount(target);
      await kernel.unmount(target);
      await kernel.removeMountPoint(target);
      await kernel.detachLoop(again.device, file);
      await kernel.removeTree(file);
    },
  );

  it('binds a device to a file, and never removes what is mounted or not empty', async () => {
    const published = join(scratch, 'block');
    await kernel.makeMountPoint(published, 'file');
    await kernel.makeMountPoint(published, 'file');
    await kernel.bindMount(poolDevice, published);
    expect(await kernel.stat(published)).toMatchObject({ kind: 'block' });
    await kernel.makeMountPoint(published, 'file');
    await kernel.removeMountPoint(published);
    expect(await kernel.stat(published)).toMatchObject({ kind: 'block' });
    await kernel.unmount(published);
    await kernel.removeMountPoint(published);
    expect(await kernel.stat(published)).toBeUndefined();
    await mkdir(join(scratch, 'full/x'), { recursive: true });
    await kernel.removeMountPoint(join(scratch, 'full'));
    expect((await kernel.stat(join(scratch, 'full')))?.kind).toBe('directory');
  });

  it('tells a damaged file system by its cause', async () => {
    await kernel.createSparse(at('bad'), 320 * mib);
    const { device } = await kernel.attachLoop(at('bad'));
    await host.exec(['mkfs.xfs', '-q', '-K', '-s', 'size=4096', device]);
    // The magic number stays, the rest of the superblock does not match its checksum.
    await write(device, 32, Buffer.alloc(64, 0xee));
    await kernel.makeMountPoint(at('bad-mount'), 'directory');
    const mounting = kernel.mount({ source: device, target: at('bad-mount'), filesystem: 'xfs' });
    await expect(mounting).rejects.toMatchObject({
      blame: { code: expect.stringMatching(/FilesystemNeedsCheck|MountFailed/) },
    });
    await kernel.detachLoop(device, at('bad'));
  });

  it('names who holds a mount', async () => {
    await kernel.makeDirectory(at('held'));
    const controller = new AbortController();
    const sleeper = host.exec(['sleep', '60'], { cwd: at('held'), signal: controller.signal }).catch(() => undefined);
    await expect
      .poll(() => host.holders({ path: pool }))
      .toEqual([expect.stringMatching(/^sleep \(pid \d+\) has .*held open$/)]);
    controller.abort();
    await sleeper;
    expect(await host.holders({ path: pool })).toEqual([]);
  });
});
