import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { basename } from 'node:path';
import type { LoopDevice } from '../kernel.ts';
import { readLoop } from '../loops.ts';
import { errno } from './errno.ts';
import { deviceNumber } from './files.ts';
import { ioctl, makeBlockNode } from './libc.ts';
import { LoopFinder, realFile } from './loop-finder.ts';
import { sleep, withFile } from './open.ts';
import { errnoOf, raise, unless } from './raise.ts';
import type { SyncKernel } from './sync.ts';

const { O_DIRECT, O_EXCL, O_RDONLY, O_RDWR } = constants;
const blockBytes = 4096;
// LO_FLAGS_* of include/uapi/linux/loop.h
const readOnlyFlag = 1;
const autoclearFlag = 4;
const directIoFlag = 16;
/** Offset of lo_flags in struct loop_info64, and of that in struct loop_config. */
const flagsAt = 52;
const infoAt = 8;
const attachTries = 256;
const detachPatienceMs = 2_000;

type Loops = Pick<SyncKernel, 'findLoop' | 'attachLoop' | 'detachLoop' | 'resizeLoop' | 'changeLoopFile'>;

/** Loop devices, see Kernel. */
export function loopCalls(): Loops {
  const finder = new LoopFinder('/sys');
  return {
    findLoop: (file, options) => finder.find(file, options?.hint),

    attachLoop(file, options = {}) {
      const readOnly = options.readOnly ?? false;
      const direct = options.directIo ?? true;
      const present = options.reuse ? finder.find(file, options.hint) : undefined;
      if (present) return present;
      return withBacking(file, readOnly, direct, (backing) => {
        const config = Buffer.alloc(304);
        config.writeUInt32LE(backing, 0);
        config.writeUInt32LE(blockBytes, 4);
        config.writeUInt32LE((readOnly ? readOnlyFlag : 0) | (direct ? directIoFlag : 0), infoAt + flagsAt);
        // lo_file_name, what `losetup -l` shows when sysfs is not there
        config.write(basename(file).slice(-63), infoAt + 56, 'latin1');
        const configured = configureFree(config, file);
        return { ...configured, backingFile: realFile(file), readOnly, logicalBlockBytes: blockBytes };
      });
    },

    detachLoop(device, given) {
      const file = realFile(given);
      const endMs = performance.now() + detachPatienceMs;
      for (;;) {
        if (backingOf(device) !== file) return;
        if (clear(device, file)) return;
        if (performance.now() > endMs) break;
        sleep(20);
      }
      const problem = 'something still holds it, perhaps another mount namespace';
      raise({ call: 'LOOP_CLR_FD', subject: device, number: errno.EBUSY, problem });
    },

    resizeLoop(device) {
      withFile(device, O_RDWR, (fd) => ioctl(fd, 'LOOP_SET_CAPACITY', 0, device));
    },

    changeLoopFile(device, file) {
      withBacking(file, true, true, (backing) =>
        withFile(device, O_RDONLY, (fd) => ioctl(fd, 'LOOP_CHANGE_FD', backing, device)),
      );
    },
  };
}

/** Opens a backing file for direct I/O, or buffered where its file system refuses (EINVAL). */
function withBacking<T>(file: string, readOnly: boolean, direct: boolean, work: (fd: number) => T): T {
  const flags = readOnly ? O_RDONLY : O_RDWR;
  if (!direct) return withFile(file, flags, work);
  const fd = unless([errno.EINVAL], () => openSync(file, flags | O_DIRECT | constants.O_NOFOLLOW));
  if (fd === undefined) return withFile(file, flags, work);
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
}

/** Takes a free loop device and configures it; another process may be faster, then the next one is taken. */
function configureFree(config: Buffer, file: string): Pick<LoopDevice, 'device' | 'deviceNumber' | 'directIo'> {
  return withControl(file, (control) => {
    for (let tries = 0; tries < attachTries; tries += 1) {
      const number = freeNumber(control, file);
      const device = `/dev/loop${number}`;
      const fd = openLoop(device, number);
      if (fd === undefined) continue;
      try {
        if (unless([errno.EBUSY], () => ioctl(fd, 'LOOP_CONFIGURE', config, `${device} for ${file}`)) === undefined)
          continue;
        // The kernel drops direct I/O without a word when the file system below cannot do it.
        const status = readStatus(fd, device);
        const directIo = (status.readUInt32LE(flagsAt) & directIoFlag) !== 0;
        return { device, deviceNumber: deviceNumber(fstatSync(fd).rdev), directIo };
      } finally {
        closeSync(fd);
      }
    }
    return noDevices(file, errno.EBUSY, `${attachTries} devices were taken by others meanwhile`);
  });
}

function withControl<T>(file: string, work: (control: number) => T): T {
  const control = unless([errno.ENOENT, errno.ENODEV, errno.ENXIO], () => openSync('/dev/loop-control', O_RDWR));
  if (control === undefined) return noDevices(file, errno.ENOENT, 'there is no /dev/loop-control');
  try {
    return work(control);
  } finally {
    closeSync(control);
  }
}

function freeNumber(control: number, file: string): number {
  const number = unless([errno.ENOSPC, errno.ENODEV], () => ioctl(control, 'LOOP_CTL_GET_FREE', 0, file));
  return number ?? noDevices(file, errno.ENOSPC, 'all of them are in use');
}

function noDevices(file: string, number: number, problem: string): never {
  const blame = { code: 'NoLoopDevices', values: { problem } } as const;
  return raise({
    call: 'attachLoop',
    subject: file,
    number,
    problem: `no loop device is free: ${problem}`,
    code: 'ResourceExhausted',
    blame,
  });
}

/** Undefined when somebody else is at it; its node is made where /dev is not a devtmpfs. */
function openLoop(device: string, number: number): number | undefined {
  const open = () => unless([errno.ENXIO, errno.EBUSY], () => openSync(device, O_RDWR));
  try {
    return open();
  } catch (error) {
    if (errnoOf(error) !== errno.ENOENT) throw error;
    unless([errno.EEXIST], () => makeBlockNode(device, 7, number));
    return open();
  }
}

/**
 * Detaches a device that nobody else holds; false while it is held. LOOP_CLR_FD alone would "succeed" on a device in
 * use and take it away at some later time.
 */
function clear(device: string, file: string): boolean {
  const fd = unless([errno.EBUSY], () => openSync(device, O_RDWR | O_EXCL));
  if (fd === undefined) return false;
  try {
    // Now that it is open nobody can give it another file: look once more.
    if (backingOf(device) !== file) return true;
    if (unless([errno.ENXIO], () => ioctl(fd, 'LOOP_CLR_FD', 0, device)) === undefined) return true;
  } finally {
    closeSync(fd);
  }
  const endMs = performance.now() + detachPatienceMs;
  while (performance.now() < endMs) {
    if (backingOf(device) !== file) return true;
    sleep(5);
  }
  keep(device);
  return backingOf(device) !== file;
}

/** Takes back a detach that waits for the last user, so that the device does not vanish under a later attachment. */
function keep(device: string): void {
  unless([errno.ENXIO], () =>
    withFile(device, O_RDWR, (fd) => {
      const status = readStatus(fd, device);
      status.writeUInt32LE(status.readUInt32LE(flagsAt) & ~autoclearFlag, flagsAt);
      ioctl(fd, 'LOOP_SET_STATUS64', status, device);
    }),
  );
}

function readStatus(fd: number, device: string): Buffer {
  const status = Buffer.alloc(232);
  ioctl(fd, 'LOOP_GET_STATUS64', status, device);
  return status;
}

/** The file below a loop device, also when it has been deleted; undefined when the device is not in use. */
function backingOf(device: string): string | undefined {
  return readLoop('/sys', basename(device))?.backingFile;
}
