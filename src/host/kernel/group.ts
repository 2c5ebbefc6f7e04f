import { chmodSync, chownSync, closeSync, constants, fstatSync, openSync, readdirSync, type Stats } from 'node:fs';
import { errno } from './errno.ts';
import { raise, unless } from './raise.ts';
import type { SyncKernel } from './sync.ts';

const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;
/** include/uapi/asm-generic/fcntl.h: names a file without opening it, so that devices and FIFOs do not notice. */
const O_PATH = 0o10000000;
/** Every level holds an open folder. */
const deepest = 400;
const clockEvery = 32;

/** What everybody of the group may do: read and write; in folders also enter them and pass the group on (setgid). */
const fileBits = 0o660;
const folderBits = 0o2770;

/** Walks until its time is over. */
interface Walk {
  readonly device: number;
  readonly gid: number;
  endMs: number;
  entries: number;
  changed: number;
  skipped: number;
}

/** Files and folders that a group gets, see Kernel. */
export function groupCalls(): Pick<SyncKernel, 'giveToGroup'> {
  return {
    giveToGroup(root, gid, { budgetMs, after }) {
      const fd = openSync(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK);
      try {
        const stat = fstatSync(fd);
        if (!after && isRight(stat, gid)) return { done: true, changed: 0, skipped: 0 };
        const endMs = performance.now() + budgetMs;
        const walk: Walk = { device: stat.dev, gid, endMs, entries: 0, changed: 0, skipped: 0 };
        const stoppedAt = below(walk, fd, after ?? []);
        const { changed, skipped } = walk;
        if (stoppedAt) return { done: false, after: stoppedAt, changed, skipped };
        // The last of all: until the root is right, whoever comes after a crash begins again.
        give(fd, stat, gid);
        return { done: true, changed: changed + 1, skipped };
      } finally {
        closeSync(fd);
      }
    },
  };
}

function isRight(stat: Stats, gid: number): boolean {
  const bits = stat.isDirectory() ? folderBits : fileBits;
  return stat.gid === gid && (stat.mode & bits) === bits;
}

/**
 * Goes through what lies in an open folder: names in the order of their bytes, what lies below a name before the name
 * itself. Names are those bytes, one character each: they need not be UTF-8.
 *
 * @param after names from here down to the last entry that is done; empty begins at the beginning
 * @returns the same for the next piece; undefined when all is done
 */
function below(walk: Walk, folder: number, after: readonly string[], depth = 0): readonly string[] | undefined {
  if (depth > deepest)
    raise({
      call: 'giveToGroup',
      subject: `/proc/self/fd/${folder}`,
      code: 'FailedPrecondition',
      problem: `folders lie in each other more than ${deepest} deep`,
    });
  const [reached, ...inside] = after;
  const startMs = performance.now();
  const names = readdirSync(`/proc/self/fd/${folder}`, { encoding: 'latin1' }).sort();
  // Every piece reads the folders down to its beginning again: in a huge one that alone would use up the time.
  walk.endMs += performance.now() - startMs;
  let last: readonly string[] = after;
  for (const name of names) {
    if (reached !== undefined && (name < reached || (name === reached && inside.length === 0))) continue;
    const goesOn = name === reached;
    if (!goesOn) walk.entries += 1;
    if (!goesOn && walk.entries % clockEvery === 0 && performance.now() > walk.endMs) return last;
    const stopped = entry(walk, folder, name, goesOn ? inside : [], depth);
    if (stopped) return [name, ...stopped];
    last = [name];
  }
  return undefined;
}

/** One entry of a folder. What vanishes meanwhile, and what another file system shows there, is not ours. */
function entry(
  walk: Walk,
  folder: number,
  name: string,
  inside: readonly string[],
  depth: number,
): readonly string[] | undefined {
  const path = Buffer.from(`/proc/self/fd/${folder}/${name}`, 'latin1');
  // Through the open folder, and never over a link: somebody who writes at the same time cannot lead us elsewhere.
  const fd = unless([errno.ENOENT], () => openSync(path, O_PATH | O_NOFOLLOW));
  if (fd === undefined) return undefined;
  try {
    const stat = fstatSync(fd);
    if (stat.dev !== walk.device) return undefined;
    if (stat.isDirectory()) {
      const opened = openSync(`/proc/self/fd/${fd}`, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
      try {
        const stopped = below(walk, opened, inside, depth + 1);
        // Nothing of it done yet: an empty list would say that all is.
        if (stopped) return stopped.length > 0 ? stopped : [''];
      } finally {
        closeSync(opened);
      }
    }
    // The group and the mode of a symbolic link mean nothing.
    if (stat.isSymbolicLink() || isRight(stat, walk.gid)) return undefined;
    // EPERM: the file is immutable or append-only, which its owner wanted.
    const given = unless([errno.EPERM], () => {
      give(fd, stat, walk.gid);
      return true;
    });
    if (given) walk.changed += 1;
    else walk.skipped += 1;
    return undefined;
  } finally {
    closeSync(fd);
  }
}

function give(fd: number, stat: Stats, gid: number): void {
  const path = `/proc/self/fd/${fd}`;
  // -1 leaves the owner. chown(2) takes setuid and setgid away from programs: chmod gives them back.
  if (stat.gid !== gid) chownSync(path, -1, gid);
  chmodSync(path, (stat.mode & 0o7777) | (stat.isDirectory() ? folderBits : fileBits));
}
