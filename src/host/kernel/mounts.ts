import { closeSync, constants, openSync, rmdirSync, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { errno } from './errno.ts';
import { lstatOf, makeDirectory } from './files.ts';
import { isMountPoint, mount, statfs, unmount } from './libc.ts';
import { flagsToKeep, mountFlags, splitMountOptions } from './mount-options.ts';
import { errnoOf, raise, unless } from './raise.ts';
import type { SyncKernel } from './sync.ts';

const { O_CREAT, O_EXCL, O_WRONLY } = constants;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

type Mounts = Pick<SyncKernel, 'mount' | 'bindMount' | 'unmount' | 'makeMountPoint' | 'removeMountPoint'>;

/** Mounts and mount points, see Kernel. */
export function mountCalls(): Mounts {
  return {
    mount({ source, target, filesystem, options = [] }) {
      refuseLink(target, 'mount');
      const { flags, data } = splitMountOptions(options);
      try {
        mount(source, target, filesystem, flags, data);
      } catch (error) {
        explain(error, source, target, filesystem);
      }
    },

    bindMount(source, target, options = {}) {
      refuseLink(target, 'mount');
      mount(source, target, null, mountFlags.bind, null);
      if (!options.readOnly) return;
      try {
        const kept = flagsToKeep(Number(statfs(target).getBigUint64(80, true)));
        mount(source, target, null, mountFlags.remount | mountFlags.bind | mountFlags.readOnly | kept, null);
      } catch (error) {
        unmount(target, UMOUNT_NOFOLLOW | MNT_DETACH);
        throw error;
      }
    },

    unmount(target, options = {}) {
      try {
        unmount(target, UMOUNT_NOFOLLOW | (options.lazy ? MNT_DETACH : 0));
      } catch (error) {
        const number = errnoOf(error);
        // EINVAL: nothing is mounted there.
        if (number !== errno.EINVAL && number !== errno.ENOENT && number !== errno.ENOTDIR) throw error;
      }
    },

    makeMountPoint(path, kind) {
      if (kind === 'directory') {
        makeDirectory(path, undefined, { sync: false });
        return;
      }
      makeDirectory(dirname(path), undefined, { sync: false });
      const fd = unless([errno.EEXIST], () => openSync(path, O_CREAT | O_EXCL | O_WRONLY, 0o600));
      if (fd !== undefined) {
        closeSync(fd);
        return;
      }
      const stat = lstatOf(path);
      // A device that is bind mounted here already is right too.
      if (!stat?.isFile() && !stat?.isBlockDevice())
        raise({ call: 'makeMountPoint', subject: path, number: errno.EEXIST, problem: 'it is there and is no file' });
    },

    removeMountPoint(path) {
      const stat = lstatOf(path);
      if (!stat || isMountPoint(path)) return;
      if (stat.isDirectory()) {
        unless([errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.EBUSY], () => rmdirSync(path));
      } else if (stat.isFile() && stat.size === 0) {
        unless([errno.ENOENT, errno.EBUSY], () => unlinkSync(path));
      }
    },
  };
}

/** mount(2) follows links, also in the last part of the target. */
function refuseLink(target: string, call: string): void {
  if (lstatOf(target)?.isSymbolicLink()) raise({ call, subject: target, number: errno.ELOOP });
}

/** What the kernel means by its few errnos of mount(2), as a sentence and a cause. */
function explain(error: unknown, source: string, target: string, filesystem: string): never {
  const number = errnoOf(error);
  const subject = `${source} on ${target}`;
  const fail = (problem: string, code: 'MountFailed' | 'FilesystemNeedsCheck' = 'MountFailed') =>
    raise({
      call: 'mount',
      subject,
      ...(number === undefined ? {} : { number }),
      problem,
      blame: { code, values: { volume: source, problem } },
    });
  switch (number) {
    case errno.EUCLEAN:
      return fail(`the ${filesystem} file system is damaged`, 'FilesystemNeedsCheck');
    case errno.EINVAL:
      return fail(`there is no ${filesystem} file system on it, or it is damaged, or an option is unknown`);
    case errno.ENODEV:
      return fail(`this kernel has no ${filesystem} file system`);
    case errno.EIO:
      return fail('the device answers with I/O errors');
    case errno.EBUSY:
      return fail('it is in use already, or a file system with the same UUID is mounted');
    default:
      throw error;
  }
}
