import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseMountinfo } from './mountinfo.ts';

const maxProcesses = 8_192;
const maxNamespaces = 256;
const maxHolders = 20;
/** Processes looked at between two turns of the event loop. */
const chunk = 32;

/**
 * Finds who keeps a device or a mounted path busy: open files and working directories, mounts in other mount
 * namespaces, devices stacked on it. Reads /proc and /sys only, which never wait for the device. Best effort: what may
 * not be read is left out, and at most twenty are named.
 *
 * @param target device such as /dev/loop3, and/or a path such as a mount point
 * @param proc "/proc", or a copy of parts of it in tests
 * @returns for example "postgres (pid 812) has /mnt/db/base/1 open"
 */
export async function findHolders(
  target: { readonly device?: string; readonly path?: string },
  proc = '/proc',
): Promise<readonly string[]> {
  const holders = new Set<string>(target.device === undefined ? [] : stackedOn(target.device));
  const deviceNumber = target.device === undefined ? undefined : numberOf(target.device);
  const own = link(join(proc, 'self/ns/mnt'));
  const namespaces = new Set<string>(own === undefined ? [] : [own]);
  const pids = list(proc)
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .slice(0, maxProcesses);
  for (const [index, pid] of pids.entries()) {
    if (holders.size >= maxHolders) break;
    if (index % chunk === chunk - 1) await new Promise((resolve) => setImmediate(resolve));
    const folder = join(proc, pid);
    const who = () => `${(read(join(folder, 'comm')) ?? '').trim() || 'a process'} (pid ${pid})`;
    const open = openFile(folder, target);
    if (open !== undefined) holders.add(`${who()} has ${open} open`);
    const namespace = link(join(folder, 'ns/mnt'));
    if (namespace === undefined || namespaces.has(namespace) || namespaces.size >= maxNamespaces) continue;
    namespaces.add(namespace);
    for (const mount of parseMountinfo(read(join(folder, 'mountinfo')) ?? '')) {
      const same = mount.device === deviceNumber || mount.source === target.device || mount.target === target.path;
      if (same) holders.add(`the mount namespace of ${who()} has it mounted at ${mount.target}`);
    }
  }
  return [...holders].slice(0, maxHolders);
}

/** The first file of the process that is the target or lies in it. */
function openFile(folder: string, target: { readonly device?: string; readonly path?: string }): string | undefined {
  const files = list(join(folder, 'fd')).map((fd) => link(join(folder, 'fd', fd)));
  return [link(join(folder, 'cwd')), link(join(folder, 'root')), ...files].find(
    (file) =>
      file !== undefined &&
      (file === target.device ||
        (target.path !== undefined && (file === target.path || file.startsWith(`${target.path}/`)))),
  );
}

/** Devices stacked on a device: device mapper, RAID. Loop devices on it are found by their open backing file. */
function stackedOn(device: string): readonly string[] {
  return list(join('/sys/class/block', basename(device), 'holders')).map((name) => `/dev/${name} is stacked on it`);
}

/** major:minor of a device, from sysfs. */
function numberOf(device: string): string | undefined {
  return read(join('/sys/class/block', basename(device), 'dev'))?.trim();
}

function list(path: string): readonly string[] {
  return quietly(() => readdirSync(path)) ?? [];
}

function link(path: string): string | undefined {
  return quietly(() => readlinkSync(path));
}

function read(path: string): string | undefined {
  return quietly(() => readFileSync(path, 'utf8'));
}

/** Processes come and go, and some may not be looked at. */
function quietly<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
