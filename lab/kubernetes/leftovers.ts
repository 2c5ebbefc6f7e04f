/** What the kernel keeps when a node dies: loop devices on its files, and its pods' cgroups. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { run, sleep, tryRun } from './exec.ts';

interface Loop {
  readonly name: string;
  /** The device of the file system that the file below it is on, "MAJOR:MINOR". */
  readonly backingDevice: string;
  readonly backingInode: number;
}

async function allLoops(): Promise<readonly Loop[]> {
  const { stdout } = await tryRun(['losetup', '--list', '--json', '--output', 'NAME,BACK-INO,BACK-MAJ:MIN']);
  if (stdout.trim() === '') return [];
  const { loopdevices } = JSON.parse(stdout) as { loopdevices: Record<string, string | number>[] };
  return loopdevices.map((loop) => ({
    name: String(loop.name),
    backingDevice: String(loop['back-maj:min']).trim(),
    backingInode: Number(loop['back-ino']),
  }));
}

/** Device and inode of every file in a folder that could be below a loop device. */
function identities(folder: string, found: Set<string>): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    // Unpacked images are large and never below a loop device.
    if (entry.isDirectory() && entry.name !== 'containerd') identities(path, found);
    else if (entry.isFile()) {
      const { dev, ino, size } = lstatSync(path);
      if (size >= 1 << 20) found.add(`${deviceName(dev)} ${ino}`);
    }
  }
}

/** As <sys/sysmacros.h> takes a dev_t apart. */
function deviceName(dev: number): string {
  const value = BigInt(dev);
  const major = ((value >> 8n) & 0xfffn) | ((value >> 32n) & 0xfffff000n);
  const minor = (value & 0xffn) | ((value >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

/**
 * Loop devices on files of a folder, and on files in file systems on those: the innermost last. Paths are of no use
 * here, since every node calls its folders the same.
 */
export async function loopsOn(folder: string): Promise<readonly string[]> {
  if (!existsSync(folder)) return [];
  const files = new Set<string>();
  identities(folder, files);
  const loops = await allLoops();
  const ours: string[] = [];
  const devices = new Set<string>();
  for (let more = true; more; ) {
    more = false;
    for (const loop of loops) {
      if (ours.includes(loop.name)) continue;
      if (!files.has(`${loop.backingDevice} ${loop.backingInode}`) && !devices.has(loop.backingDevice)) continue;
      ours.push(loop.name);
      devices.add(deviceName(statSync(loop.name).rdev));
      more = true;
    }
  }
  return ours;
}

/**
 * Detaches all loop devices that stand on files of a folder, the innermost first, and waits until they are gone: one whose
 * file system is still mounted in a namespace that ends goes with that.
 *
 * @throws Error with the names of those that do not go
 */
export async function releaseLoops(folder: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const left = await loopsOn(folder);
    if (left.length === 0) return;
    for (const name of left.toReversed()) await tryRun(['losetup', '-d', name]);
    await sleep(100);
  }
  throw new Error(`loop devices on files of ${folder} do not go: ${(await loopsOn(folder)).join(' ')}`);
}

const cgroupRoot = '/sys/fs/cgroup';
const isUnified = (): boolean => existsSync(join(cgroupRoot, 'cgroup.controllers'));

/** Where cgroups of ours can be: one folder with cgroup v2, one for each controller with v1. */
function hierarchies(): string[] {
  if (isUnified()) return [cgroupRoot];
  return readdirSync(cgroupRoot)
    .map((name) => join(cgroupRoot, name))
    .filter((folder) => existsSync(join(folder, 'cgroup.procs')) && !lstatSync(folder).isSymbolicLink());
}

/** The kubelet's root cgroup must exist in every hierarchy. */
export function createCgroup(name: string): void {
  for (const hierarchy of hierarchies()) {
    const folder = join(hierarchy, name);
    mkdirSync(folder, { recursive: true });
    if (isUnified()) continue;
    for (const file of ['cpuset.cpus', 'cpuset.mems'])
      if (existsSync(join(folder, file))) writeFileSync(join(folder, file), readFileSync(join(hierarchy, file)));
  }
}

/** Removes a cgroup and what is below it. Left over, each pod's costs the kubelet three seconds at its next start. */
export async function removeCgroup(name: string): Promise<void> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const left = hierarchies()
      .map((hierarchy) => join(hierarchy, name))
      .filter((folder) => existsSync(folder));
    if (left.length === 0) return;
    for (const folder of left) removeTree(folder);
    await sleep(100);
  }
  throw new Error(`the cgroup ${name} cannot be removed`);
}

function removeTree(folder: string): void {
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true }))
      if (entry.isDirectory()) removeTree(join(folder, entry.name));
    rmdirSync(folder);
  } catch {
    // busy for a moment longer
  }
}

/** Removes a folder in which mounts may have been a moment ago. */
export async function removeFolder(folder: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const result = await tryRun(['rm', '-rf', '--one-file-system', folder]);
    if (result.code === 0) return;
    if (attempt === 50) await run(['rm', '-rf', '--one-file-system', folder]);
    await sleep(200);
  }
}
