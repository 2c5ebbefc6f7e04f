import type { LoopDevice, MountEntry } from '../host.ts';
import { errno } from '../kernel/errno.ts';
import { raise } from '../kernel/raise.ts';
import { type FakeFilesystem, type FakeNode, fakeFilesystem, fakeNode, isWithin, parentOf } from './tree.ts';

/** A mount of the fake machine. `root` is the path inside the file system that is seen at `target`. */
export interface FakeMount {
  readonly id: number;
  readonly filesystem: FakeFilesystem;
  readonly root: string;
  readonly target: string;
  readonly source: string;
  readonly readOnly: boolean;
  readonly options: readonly string[];
}

export interface FakeLoop {
  readonly device: string;
  readonly file: string;
  backing: FakeNode;
  sizeBytes: number;
  readonly readOnly: boolean;
  readonly directIo: boolean;
}

/** Where a path leads: the file system that is mounted there and the path inside it. */
export interface Place {
  readonly filesystem: FakeFilesystem;
  readonly inner: string;
  readonly readOnly: boolean;
}

/** The state of the fake machine: what the kernel would know. */
export class FakeMachine {
  readonly mounts: FakeMount[] = [];
  readonly loops = new Map<string, FakeLoop>();
  readonly disks = new Map<string, FakeNode>();
  /** How many loop devices there may be. */
  maxLoops = 4096;
  /** Whether loop devices come up with direct I/O when it is asked for. */
  directIoWorks = true;
  #mountIds = 20;

  constructor(root: FakeFilesystem = fakeFilesystem({ device: '8:1' })) {
    this.addMount({ filesystem: root, root: '/', target: '/', source: '/dev/fake', readOnly: false, options: [] });
    const devices = fakeFilesystem({ type: 'devtmpfs', device: '0:5' });
    this.addMount({ filesystem: devices, root: '/', target: '/dev', source: 'devtmpfs', readOnly: false, options: [] });
  }

  addMount(mount: Omit<FakeMount, 'id'>): void {
    this.mounts.push({ id: ++this.#mountIds, ...mount });
  }

  /** The topmost mount whose target holds the path. */
  mountOf(path: string): FakeMount {
    const best = this.mounts.reduce<FakeMount | undefined>(
      (found, mount) =>
        isWithin(mount.target, path) && mount.target.length >= (found?.target.length ?? 0) ? mount : found,
      undefined,
    );
    return best ?? raise({ call: 'open', subject: path, number: errno.ENOENT });
  }

  place(path: string): Place {
    const mount = this.mountOf(path);
    const rest = mount.target === '/' ? path : path.slice(mount.target.length);
    const inner = `${mount.root === '/' ? '' : mount.root}${rest === '/' ? '' : rest}` || '/';
    return { filesystem: mount.filesystem, inner, readOnly: mount.readOnly || mount.filesystem.readOnly };
  }

  /** The node at a path; devices are the nodes that back them. */
  find(path: string): FakeNode | undefined {
    return this.device(path) ?? this.nodeAt(path);
  }

  /** What backs the block device at a path, also where its node is bind mounted. */
  device(path: string): FakeNode | undefined {
    const { filesystem, inner } = this.place(path);
    const device = `/dev${inner}`;
    return filesystem.type === 'devtmpfs' ? (this.loops.get(device)?.backing ?? this.disks.get(device)) : undefined;
  }

  nodeAt(path: string): FakeNode | undefined {
    const { filesystem, inner } = this.place(path);
    return filesystem.nodes.get(inner);
  }

  need(path: string, call: string): FakeNode {
    return this.find(path) ?? raise({ call, subject: path, number: errno.ENOENT });
  }

  /** @throws as the kernel does when the path cannot be written: EROFS */
  writable(path: string, call: string): Place {
    const place = this.place(path);
    if (place.readOnly) raise({ call, subject: path, number: errno.EROFS });
    return place;
  }

  /** Puts a new node at a path. @throws ENOENT without a parent folder, EROFS */
  add(path: string, node: FakeNode, call: string): FakeNode {
    const { filesystem, inner } = this.writable(path, call);
    const parent = filesystem.nodes.get(parentOf(inner));
    if (!parent) raise({ call, subject: path, number: errno.ENOENT });
    if (parent.kind !== 'directory') raise({ call, subject: path, number: errno.ENOTDIR });
    filesystem.nodes.set(inner, node);
    return node;
  }

  /** The file at a path, made when absent. */
  file(path: string, call: string): FakeNode {
    const node = this.find(path) ?? this.add(path, fakeNode('file'), call);
    if (node.kind === 'directory') raise({ call, subject: path, number: errno.EISDIR });
    if (node.kind === 'symlink') raise({ call, subject: path, number: errno.ELOOP });
    return node;
  }

  isMountPoint(path: string): boolean {
    return this.mounts.some((mount) => mount.target === path);
  }

  /** Mounts at a path or below it. */
  mountedWithin(path: string): boolean {
    return this.mounts.some((mount) => isWithin(path, mount.target));
  }

  mountEntries(): readonly MountEntry[] {
    return this.mounts.map((mount) => ({
      mountId: mount.id,
      parentId: 1,
      device: mount.filesystem.device,
      root: mount.root,
      target: mount.target,
      options: [mount.readOnly ? 'ro' : 'rw', ...mount.options],
      filesystem: mount.filesystem.type,
      source: mount.source,
      superOptions: [mount.filesystem.readOnly ? 'ro' : 'rw'],
    }));
  }

  loopEntries(): readonly LoopDevice[] {
    return [...this.loops.values()].map((loop) => ({
      device: loop.device,
      deviceNumber: deviceNumber(loop.device),
      backingFile: loop.file,
      backingDeleted: this.find(loop.file) !== loop.backing,
      sizeBytes: loop.sizeBytes,
      readOnly: loop.readOnly,
      directIo: loop.directIo,
      logicalBlockBytes: 4096,
    }));
  }
}

/** major:minor of a fake device. */
export function deviceNumber(device: string): string {
  const number = /(\d+)$/.exec(device)?.[1] ?? '0';
  return device.startsWith('/dev/loop') ? `7:${number}` : `8:${number}`;
}
