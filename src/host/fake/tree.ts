import { errno } from '../kernel/errno.ts';
import { raise } from '../kernel/raise.ts';

/** A file, folder or link of the fake machine. */
export interface FakeNode {
  readonly kind: 'file' | 'directory' | 'symlink';
  readonly inode: number;
  sizeBytes: number;
  allocatedBytes: number;
  /** Of a link, where it leads to. */
  text: string;
  /** Stands for the file's bytes: equal tokens mean equal, shared blocks. Empty = all zeroes. */
  token: string;
  /** The group that it was given to; its members may then read and write. */
  gid?: number;
  /** Of a file that is its owner's alone, unless told. */
  permissions?: number;
  /** What is formatted into the file, when it backs a device. */
  filesystem?: FakeFilesystem;
}

/** One file system: its tree, by absolute path inside of it. */
export interface FakeFilesystem {
  type: string;
  uuid: string;
  clean: boolean;
  canClone: boolean;
  capacityBytes: number;
  readOnly: boolean;
  frozen: boolean;
  /** major:minor, the same as the device's while it is mounted. */
  device: string;
  readonly nodes: Map<string, FakeNode>;
}

let inodes = 1;

/** A new node; inode numbers are unique in the process. */
export function fakeNode(kind: FakeNode['kind'], part: Partial<FakeNode> = {}): FakeNode {
  return { kind, inode: ++inodes, sizeBytes: 0, allocatedBytes: 0, text: '', token: '', ...part };
}

/** An empty file system. */
export function fakeFilesystem(part: Partial<FakeFilesystem> = {}): FakeFilesystem {
  const nodes = new Map<string, FakeNode>([['/', fakeNode('directory')]]);
  const plain = { type: 'xfs', uuid: '', clean: true, readOnly: false, frozen: false, device: '0:99', nodes };
  const type = part.type ?? 'xfs';
  return { ...plain, canClone: type === 'xfs' || type === 'btrfs', capacityBytes: 1024 ** 4, ...part };
}

/** A copy that shares nothing with its source: what a clone of the backing file holds. */
export function copyFilesystem(source: FakeFilesystem): FakeFilesystem {
  const nodes = new Map([...source.nodes].map(([path, node]) => [path, { ...node }]));
  return { ...source, nodes, frozen: false };
}

/** Bytes in use: shared blocks count once. */
export function usedBytes(filesystem: FakeFilesystem): number {
  const seen = new Set<string>();
  let total = 0;
  for (const node of filesystem.nodes.values()) {
    if (node.token !== '' && seen.has(node.token)) continue;
    if (node.token !== '') seen.add(node.token);
    total += node.allocatedBytes;
  }
  return total;
}

/** Takes room for a node, or fails with ENOSPC as the kernel does. */
export function allocateBytes(
  filesystem: FakeFilesystem,
  node: FakeNode,
  bytes: number,
  call: string,
  path: string,
): void {
  const before = node.allocatedBytes;
  node.allocatedBytes = bytes;
  if (usedBytes(filesystem) > filesystem.capacityBytes) {
    node.allocatedBytes = before;
    raise({ call, subject: path, number: errno.ENOSPC });
  }
}

/** The folder that holds a path. */
export function parentOf(path: string): string {
  const cut = path.lastIndexOf('/');
  return cut <= 0 ? '/' : path.slice(0, cut);
}

/** Whether `path` is `folder` or lies in it. */
export function isWithin(folder: string, path: string): boolean {
  return folder === '/' || path === folder || path.startsWith(`${folder}/`);
}
