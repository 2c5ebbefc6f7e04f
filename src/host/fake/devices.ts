import { errno } from '../kernel/errno.ts';
import { raise } from '../kernel/raise.ts';
import type { SyncKernel } from '../kernel/sync.ts';
import { deviceNumber, type FakeMachine } from './machine.ts';
import { fakeNode, isWithin, parentOf } from './tree.ts';

type Devices = Pick<SyncKernel, 'findLoop' | 'attachLoop' | 'detachLoop' | 'resizeLoop' | 'changeLoopFile'>;
type Mounts = Pick<
  SyncKernel,
  | 'mount'
  | 'bindMount'
  | 'unmount'
  | 'makeMountPoint'
  | 'removeMountPoint'
  | 'freeze'
  | 'thaw'
  | 'trim'
  | 'growFilesystem'
  | 'giveToGroup'
>;

/** Loop devices of the fake machine. */
export function fakeLoops(machine: FakeMachine): Devices {
  const loopOf = (device: string, call: string) =>
    machine.loops.get(device) ?? raise({ call, subject: device, number: errno.ENXIO });
  return {
    findLoop: (file) => machine.loopEntries().find((loop) => loop.backingFile === file && !loop.backingDeleted),
    attachLoop(file, options = {}) {
      const backing = machine.need(file, 'open');
      const present = options.reuse && machine.loopEntries().find((loop) => loop.backingFile === file);
      if (present) return present;
      let number = 0;
      while (machine.loops.has(`/dev/loop${number}`)) number += 1;
      if (number >= machine.maxLoops) {
        const problem = 'all loop devices are in use';
        raise({
          call: 'LOOP_CTL_GET_FREE',
          subject: file,
          number: errno.ENOSPC,
          blame: { code: 'NoLoopDevices', values: { problem } },
        });
      }
      const device = `/dev/loop${number}`;
      const directIo = (options.directIo ?? true) && machine.directIoWorks;
      machine.loops.set(device, {
        device,
        file,
        backing,
        sizeBytes: backing.sizeBytes,
        readOnly: options.readOnly ?? false,
        directIo,
      });
      const readOnly = options.readOnly ?? false;
      return {
        device,
        deviceNumber: deviceNumber(device),
        backingFile: file,
        directIo,
        readOnly,
        logicalBlockBytes: 4096,
      };
    },
    detachLoop(device, file) {
      if (machine.loops.get(device)?.file !== file) return;
      if (machine.mounts.some((mount) => mount.source === device))
        raise({ call: 'LOOP_CLR_FD', subject: device, number: errno.EBUSY });
      machine.loops.delete(device);
    },
    resizeLoop(device) {
      const loop = loopOf(device, 'LOOP_SET_CAPACITY');
      loop.sizeBytes = loop.backing.sizeBytes;
    },
    changeLoopFile(device, file) {
      const loop = loopOf(device, 'LOOP_CHANGE_FD');
      if (!loop.readOnly) raise({ call: 'LOOP_CHANGE_FD', subject: device, number: errno.EINVAL });
      machine.loops.set(device, { ...loop, file, backing: machine.need(file, 'open') });
    },
  };
}

/** Mounts of the fake machine. A device is mountable when its backing holds a file system. */
export function fakeMounts(machine: FakeMachine): Mounts {
  const filesystemAt = (path: string, call: string) => {
    if (!machine.isMountPoint(path)) raise({ call, subject: path, number: errno.EINVAL });
    return machine.place(path).filesystem;
  };
  return {
    mount({ source, target, filesystem: type, options = [] }) {
      const filesystem = machine.need(source, 'mount').filesystem;
      if (machine.need(target, 'mount').kind !== 'directory')
        raise({ call: 'mount', subject: target, number: errno.ENOTDIR });
      if (filesystem?.type !== type) {
        const problem = `no ${type} file system is found on it`;
        raise({
          call: 'mount',
          subject: source,
          number: errno.EINVAL,
          problem,
          blame: { code: 'MountFailed', values: { volume: source, problem } },
        });
      }
      if (machine.mounts.some((mount) => mount.filesystem === filesystem && mount.target === target))
        raise({ call: 'mount', subject: target, number: errno.EBUSY });
      const readOnly = options.includes('ro');
      filesystem.device = deviceNumber(source);
      filesystem.capacityBytes = Math.min(
        filesystem.capacityBytes,
        machine.loops.get(source)?.sizeBytes ?? filesystem.capacityBytes,
      );
      if (!readOnly) filesystem.clean = false;
      machine.addMount({
        filesystem,
        root: '/',
        target,
        source,
        readOnly,
        options: options.filter((option) => option !== 'ro'),
      });
    },
    bindMount(source, target, options = {}) {
      machine.need(source, 'mount');
      machine.need(target, 'mount');
      const from = machine.mountOf(source);
      const { filesystem, inner } = machine.place(source);
      machine.addMount({
        filesystem,
        root: inner,
        target,
        source: from.source,
        readOnly: options.readOnly ?? false,
        options: [],
      });
    },
    unmount(target) {
      const index = machine.mounts.findLastIndex((mount) => mount.target === target);
      const mount = machine.mounts[index];
      if (!mount) return;
      const below = machine.mounts.some(
        (other) => other !== mount && other.target !== target && isWithin(target, other.target),
      );
      if (below) raise({ call: 'umount', subject: target, number: errno.EBUSY });
      machine.mounts.splice(index, 1);
      if (!machine.mounts.some((other) => other.filesystem === mount.filesystem)) mount.filesystem.clean = true;
    },
    makeMountPoint(path, kind) {
      if (machine.find(path)) return;
      const missing: string[] = [];
      for (let folder = parentOf(path); !machine.find(folder); folder = parentOf(folder)) missing.unshift(folder);
      for (const folder of missing) machine.add(folder, fakeNode('directory'), 'mkdir');
      machine.add(path, fakeNode(kind), 'mkdir');
    },
    removeMountPoint(path) {
      if (!machine.find(path) || machine.isMountPoint(path)) return;
      const { filesystem, inner } = machine.place(path);
      if ([...filesystem.nodes.keys()].some((key) => key !== inner && isWithin(inner, key))) return;
      if ((filesystem.nodes.get(inner)?.sizeBytes ?? 0) === 0) filesystem.nodes.delete(inner);
    },
    freeze(mountPoint) {
      const filesystem = filesystemAt(mountPoint, 'FIFREEZE');
      if (filesystem.frozen) raise({ call: 'FIFREEZE', subject: mountPoint, number: errno.EBUSY });
      filesystem.frozen = true;
    },
    thaw(mountPoint) {
      const filesystem = filesystemAt(mountPoint, 'FITHAW');
      const wasFrozen = filesystem.frozen;
      filesystem.frozen = false;
      return { wasFrozen };
    },
    trim(mountPoint) {
      filesystemAt(mountPoint, 'FITRIM');
      return { trimmedBytes: 0 };
    },
    growFilesystem(mountPoint) {
      const filesystem = filesystemAt(mountPoint, 'growFilesystem');
      const source = machine.mountOf(mountPoint).source;
      filesystem.capacityBytes = machine.loops.get(source)?.sizeBytes ?? filesystem.capacityBytes;
    },
    giveToGroup(root, gid) {
      const { filesystem } = machine.writable(root, 'chown');
      if (filesystem.nodes.get('/')?.gid === gid) return { done: true, changed: 0, skipped: 0 };
      for (const node of filesystem.nodes.values()) node.gid = gid;
      return { done: true, changed: filesystem.nodes.size, skipped: 0 };
    },
  };
}
