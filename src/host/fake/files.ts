import { errno } from '../kernel/errno.ts';
import { raise } from '../kernel/raise.ts';
import type { SyncKernel } from '../kernel/sync.ts';
import type { FakeMachine } from './machine.ts';
import { allocateBytes, copyFilesystem, type FakeNode, fakeNode, isWithin, parentOf, usedBytes } from './tree.ts';

type Files = Pick<
  SyncKernel,
  | 'readTextFile'
  | 'requireText'
  | 'writeTextFile'
  | 'makeDirectory'
  | 'listDirectory'
  | 'removeTree'
  | 'rename'
  | 'stat'
  | 'resolve'
  | 'statfs'
  | 'sync'
>;
type Backing = Pick<
  SyncKernel,
  'createSparse' | 'allocate' | 'truncate' | 'clone' | 'cloneRange' | 'copyRange' | 'extentUsage' | 'allocatedRanges'
> &
  Pick<
    SyncKernel,
    'changedRanges' | 'freePreallocation' | 'setFilesystemUuid' | 'probeFilesystem' | 'readLvmLabel' | 'canClone'
  >;

/** Files and folders of the fake machine. */
export function fakeFiles(machine: FakeMachine): Files {
  const makeDirectory: Files['makeDirectory'] = (path) => {
    const there = machine.find(path);
    if (there && there.kind !== 'directory') raise({ call: 'mkdir', subject: path, number: errno.EEXIST });
    if (there) return;
    makeDirectory(parentOf(path));
    machine.add(path, fakeNode('directory'), 'mkdir');
  };
  return {
    makeDirectory,
    requireText(path, text) {
      if (machine.find(path)?.text?.includes(text)) return;
      raise({ call: 'requireText', subject: path, problem: `it does not hold ${text}`, code: 'FailedPrecondition' });
    },
    readTextFile(path) {
      const node = machine.find(path);
      if (node?.kind === 'symlink') raise({ call: 'open', subject: path, number: errno.ELOOP });
      if (node?.kind === 'directory') raise({ call: 'read', subject: path, number: errno.EISDIR });
      return node?.text;
    },
    writeTextFile(path, text) {
      machine.writable(path, 'open');
      const sizeBytes = Buffer.byteLength(text);
      const { filesystem } = machine.place(path);
      if (usedBytes(filesystem) + sizeBytes > filesystem.capacityBytes)
        raise({ call: 'write', subject: path, number: errno.ENOSPC });
      machine.add(
        path,
        fakeNode('file', { text, sizeBytes, allocatedBytes: Math.ceil(sizeBytes / 4096) * 4096 }),
        'open',
      );
    },
    listDirectory(path) {
      const node = machine.find(path);
      if (!node) return undefined;
      if (node.kind !== 'directory') raise({ call: 'scandir', subject: path, number: errno.ENOTDIR });
      const { filesystem, inner } = machine.place(path);
      return [...filesystem.nodes.keys()]
        .filter((key) => key !== '/' && parentOf(key) === inner)
        .map((key) => key.slice(key.lastIndexOf('/') + 1))
        .sort();
    },
    removeTree(path) {
      if (!machine.find(path)) return;
      if (machine.mountedWithin(path)) raise({ call: 'removeTree', subject: path, number: errno.EBUSY });
      const { filesystem, inner } = machine.writable(path, 'unlink');
      for (const key of [...filesystem.nodes.keys()]) if (isWithin(inner, key)) filesystem.nodes.delete(key);
    },
    rename(from, to, options = {}) {
      const source = machine.writable(from, 'rename');
      const target = machine.writable(to, 'rename');
      machine.need(from, 'rename');
      if (source.filesystem !== target.filesystem) raise({ call: 'rename', subject: from, number: errno.EXDEV });
      if (machine.mountedWithin(from)) raise({ call: 'rename', subject: from, number: errno.EBUSY });
      if (machine.find(to) && !options.replace) raise({ call: 'rename', subject: to, number: errno.EEXIST });
      if (!target.filesystem.nodes.has(parentOf(target.inner)))
        raise({ call: 'rename', subject: to, number: errno.ENOENT });
      for (const [key, node] of [...source.filesystem.nodes]) {
        if (!isWithin(source.inner, key)) continue;
        source.filesystem.nodes.delete(key);
        source.filesystem.nodes.set(target.inner + key.slice(source.inner.length), node);
      }
      for (const [device, loop] of machine.loops)
        if (isWithin(from, loop.file)) machine.loops.set(device, { ...loop, file: to + loop.file.slice(from.length) });
    },
    stat(path) {
      const node = machine.find(path);
      if (!node) return undefined;
      const block = machine.device(path) !== undefined;
      const { sizeBytes, allocatedBytes, inode, permissions = 0o600 } = node;
      const filesystemId = machine.place(path).filesystem.device;
      const kind = block ? 'block' : node.kind;
      return { kind, sizeBytes, allocatedBytes, modifiedMs: 0, permissions, filesystemId, inode };
    },
    resolve(path) {
      // As many links as the kernel follows.
      for (let at = path, links = 0; links < 40; links += 1) {
        const node = machine.find(at);
        if (node?.kind !== 'symlink') return node && at;
        at = node.text;
      }
      return raise({ call: 'resolve', subject: path, number: errno.ELOOP });
    },
    statfs(path) {
      machine.need(path, 'statfs');
      const { filesystem, readOnly } = machine.place(path);
      const freeBytes = Math.max(0, filesystem.capacityBytes - usedBytes(filesystem));
      const sizes = { sizeBytes: filesystem.capacityBytes, freeBytes, availableBytes: freeBytes };
      return { type: filesystem.type, ...sizes, files: 1_000_000, filesFree: 1_000_000, readOnly };
    },
    sync(path) {
      machine.need(path, 'fsync');
    },
  };
}

/** Backing files of the fake machine: a clone copies the content token, which stands for the bytes. */
export function fakeBacking(machine: FakeMachine): Backing {
  const source = (path: string, call: string): FakeNode => {
    const node = machine.need(path, call);
    if (node.kind !== 'file') raise({ call, subject: path, number: errno.EINVAL });
    return node;
  };
  const pour = (from: FakeNode, to: FakeNode, share: boolean) => {
    to.sizeBytes = from.sizeBytes;
    to.token = share || from.token === '' ? from.token : `${from.token}'`;
    if (from.filesystem) to.filesystem = copyFilesystem(from.filesystem);
    else delete to.filesystem;
  };
  const clone: Backing['clone'] = (from, to) => {
    const node = source(from, 'FICLONE');
    const { filesystem } = machine.place(from);
    if (!filesystem.canClone) raise({ call: 'FICLONE', subject: from, number: errno.EOPNOTSUPP });
    if (machine.place(to).filesystem !== filesystem) raise({ call: 'FICLONE', subject: to, number: errno.EXDEV });
    const target = machine.file(to, 'FICLONE');
    node.token ||= `bytes-of-${node.inode}`;
    pour(node, target, true);
    target.allocatedBytes = node.allocatedBytes;
  };
  return {
    clone,
    createSparse(path, sizeBytes) {
      machine.writable(path, 'open');
      const node = machine.file(path, 'open');
      if (node.sizeBytes !== 0 && node.sizeBytes !== sizeBytes)
        raise({ call: 'createSparse', subject: path, number: errno.EEXIST });
      node.sizeBytes = sizeBytes;
    },
    allocate(path, sizeBytes, options = {}) {
      const node = machine.file(path, 'fallocate');
      if (options.unshare && node.token !== '') node.token = `unshared-${node.inode}`;
      const { filesystem } = machine.writable(path, 'fallocate');
      allocateBytes(filesystem, node, sizeBytes, 'fallocate', path);
      node.sizeBytes = sizeBytes;
    },
    truncate(path, sizeBytes) {
      machine.writable(path, 'ftruncate');
      const node = source(path, 'ftruncate');
      node.sizeBytes = sizeBytes;
      node.allocatedBytes = Math.min(node.allocatedBytes, sizeBytes);
    },
    cloneRange(from, to) {
      clone(from, to);
      return { nextOffsetBytes: source(from, 'FICLONERANGE').sizeBytes, done: true };
    },
    copyRange(from, to, options) {
      const node = source(from, 'copyRange');
      const target = machine.file(to, 'copyRange');
      pour(node, target, false);
      allocateBytes(machine.writable(to, 'copyRange').filesystem, target, node.allocatedBytes, 'copyRange', to);
      return {
        nextOffsetBytes: node.sizeBytes,
        done: true,
        copiedBytes: node.allocatedBytes - Math.min(options.offsetBytes, node.allocatedBytes),
      };
    },
    extentUsage(path) {
      const node = source(path, 'FIEMAP');
      const others = [...machine.place(path).filesystem.nodes.values()].some(
        (other) => other !== node && other.token === node.token,
      );
      const shared = node.token !== '' && others;
      const extents = node.allocatedBytes > 0 ? 1 : 0;
      return {
        exclusiveBytes: shared ? 0 : node.allocatedBytes,
        sharedBytes: shared ? node.allocatedBytes : 0,
        unwrittenBytes: 0,
        extents,
      };
    },
    allocatedRanges(path, options) {
      const { allocatedBytes } = source(path, 'FIEMAP');
      const lengthBytes = allocatedBytes - options.fromBytes;
      return { ranges: lengthBytes > 0 ? [{ offsetBytes: options.fromBytes, lengthBytes }] : [] };
    },
    changedRanges(base, target, options) {
      const [before, after] = [source(base, 'FIEMAP'), source(target, 'FIEMAP')];
      const lengthBytes = Math.max(before.sizeBytes, after.sizeBytes) - options.fromBytes;
      const same = before.token === after.token && before.sizeBytes === after.sizeBytes;
      return { ranges: !same && lengthBytes > 0 ? [{ offsetBytes: options.fromBytes, lengthBytes }] : [] };
    },
    freePreallocation(path) {
      machine.need(path, 'XFS_IOC_FREE_EOFBLOCKS');
    },
    setFilesystemUuid(path, type, uuid) {
      const { filesystem } = machine.need(path, 'open');
      if (filesystem?.type !== type)
        raise({ call: 'setFilesystemUuid', subject: path, problem: `it holds no ${type}`, code: 'FailedPrecondition' });
      filesystem.uuid = uuid;
    },
    /** No disk of the fake is a physical volume. */
    readLvmLabel: () => undefined,
    probeFilesystem(path) {
      const { filesystem } = machine.need(path, 'open');
      if (!filesystem) return undefined;
      const { type, uuid, clean, capacityBytes } = filesystem;
      return { filesystem: type, uuid, clean, sizeBytes: capacityBytes };
    },
    canClone(directory) {
      machine.need(directory, 'open');
      return machine.place(directory).filesystem.canClone;
    },
  };
}
