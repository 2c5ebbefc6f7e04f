import { readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { UninstallOptions } from '../cli/context.ts';
import type { Terminal } from '../cli/terminal.ts';
import type { Host, LoopDevice, MountEntry } from '../host/host.ts';
import { createHost } from '../host/linux.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLogger } from '../lib/log.ts';
import { makeCause } from '../model/cause.ts';
import { AzekuraError, blamed } from '../model/errors.ts';
import { acquireInstanceLock } from '../store/lmdb/instance-lock.ts';
import { type DataDir, layoutOf } from './data-dir.ts';

/**
 * Takes an instance off the machine. Works from what is observed, so that it also works when the state is damaged:
 * every mount and loop device that belongs to the data folder is released, then the state goes. The data stays unless
 * it is to be deleted; pools outside the data folder are never deleted.
 *
 * @returns the exit code
 * @throws AzekuraError FailedPrecondition while a daemon runs or a volume is in use
 */
export async function runUninstall(options: UninstallOptions, terminal: Terminal): Promise<number> {
  if (process.getuid?.() !== 0)
    throw new AzekuraError('PermissionDenied', 'azekura uninstall must run as root', { next: 'run it with sudo' });
  const dataDir = layoutOf(options.dataDir);
  await requireInstance(dataDir);
  const lock = await acquireInstanceLock(dataDir.state);
  const host = createHost({ clock: systemClock, log: silentLogger });
  try {
    const loops = await ownLoops(host, dataDir);
    await refuseWhileInUse(host, loops, dataDir);
    if (options.deleteData && !(await confirmed(options, terminal))) {
      throw new AzekuraError('FailedPrecondition', 'deleting all data was not confirmed, so nothing was changed', {
        next: 'type the path of the data folder when asked, or add --yes',
      });
    }
    await releaseAll(host, loops, dataDir);
  } finally {
    await lock.release();
    await host.close();
  }
  await removeFiles(dataDir, options.deleteData);
  terminal.out(
    options.deleteData
      ? `Azekura's data folder ${dataDir.path} is deleted with everything in it. Pools in other places were not touched.\n`
      : `Azekura is taken off this machine. The data of pools stays in ${dataDir.pools}; read it with \`azekura rescue list ${dataDir.path}\`.\nTo delete that too: azekura uninstall --delete-data --data-dir ${dataDir.path}\n`,
  );
  return 0;
}

/** Nothing is removed from a folder that does not look like ours. */
async function requireInstance({ path }: DataDir): Promise<void> {
  const names = await readdir(path).catch(() => [] as string[]);
  if (names.includes('README') && (names.includes('state') || names.includes('pools'))) return;
  throw new AzekuraError('NotFound', `${path} is no data folder of Azekura`, { next: 'name it with --data-dir' });
}

/** The folder itself does not count: what is mounted there was mounted by the user, to hold the instance. */
function inside(path: string, folder: string): boolean {
  return path.startsWith(`${folder}/`);
}

/** Loop devices of the instance: those whose file lies in the data folder, and those that are mounted there. */
async function ownLoops(host: Host, { path }: DataDir): Promise<readonly LoopDevice[]> {
  const here = (await host.mounts()).filter((mount) => inside(mount.target, path)).map((mount) => mount.device);
  return (await host.loops()).filter((loop) => inside(loop.backingFile, path) || here.includes(loop.deviceNumber));
}

/** A volume's file system has the number of its loop device; a raw volume is a bind mount of the device file. */
function shows(mount: MountEntry, loop: LoopDevice): boolean {
  return mount.device === loop.deviceNumber || `/dev${mount.root}` === loop.device;
}

async function refuseWhileInUse(host: Host, loops: readonly LoopDevice[], { path }: DataDir): Promise<void> {
  const elsewhere = (await host.mounts())
    .filter((mount) => !inside(mount.target, path) && loops.some((loop) => shows(mount, loop)))
    .map((mount) => mount.target);
  if (elsewhere.length === 0) return;
  throw blamed(
    'FailedPrecondition',
    makeCause('InUse', { what: 'a volume', holder: `the mount at ${elsewhere.join(', ')}` }),
    { next: `unmount it first: umount ${elsewhere.join(' ')}` },
  );
}

async function confirmed(options: UninstallOptions, terminal: Terminal): Promise<boolean> {
  if (options.yes) return true;
  const answer = await terminal.ask(
    `This deletes every volume in ${options.dataDir} for good.\nType ${options.dataDir} to go on: `,
  );
  return answer?.trim() === options.dataDir;
}

/** The newest mounts first, with the loops that they free, until nothing is left: volumes lie in pools that are mounted too. */
async function releaseAll(host: Host, loops: readonly LoopDevice[], dataDir: DataDir): Promise<void> {
  const kernel = host.kernel('uninstall');
  const mountsInside = async () => (await host.mounts()).filter((mount) => inside(mount.target, dataDir.path));
  for (let mounts = await mountsInside(); mounts.length > 0; ) {
    for (const mount of [...mounts].reverse()) {
      // A volume that is attached without being mounted keeps its pool busy.
      await detachUnused(
        host,
        loops.filter((loop) => inside(loop.backingFile, mount.target)),
      );
      await kernel.unmount(mount.target);
    }
    const left = await mountsInside();
    if (left.length >= mounts.length)
      throw new AzekuraError('FailedPrecondition', `${left[0]?.target ?? dataDir.path} cannot be unmounted`, {
        next: 'stop what uses it',
      });
    mounts = left;
  }
  await detachUnused(host, loops);
}

async function detachUnused(host: Host, loops: readonly LoopDevice[]): Promise<void> {
  const [mounts, present] = await Promise.all([host.mounts(), host.loops()]);
  for (const { device, backingFile } of loops) {
    const loop = present.find((each) => each.device === device && each.backingFile === backingFile);
    if (loop && !mounts.some((mount) => shows(mount, loop)))
      await host.kernel('uninstall').detachLoop(device, backingFile);
  }
}

async function removeFiles(dataDir: DataDir, deleteData: boolean): Promise<void> {
  const kept = deleteData ? [] : ['pools', 'README'];
  for (const name of await readdir(dataDir.path)) {
    if (!kept.includes(name)) await rm(join(dataDir.path, name), { recursive: true, force: true });
  }
  // Without pools nothing is worth keeping, and an empty folder goes; a mount point may stay.
  if (deleteData) await rmdir(dataDir.path).catch(() => {});
}
