/** A lab: up to nine machines with kernels of their own, two networks, and everything undone at the end. */
import { existsSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Build, buildIn, machineFiles } from './build/build.ts';
import { type CommandOptions, isAlive, type ProcessIdentity, processIdentity } from './command.ts';
import { type DiskSpec, planDisk } from './disks.ts';
import { LabError } from './error.ts';
import { type DiskRecord, LabFolder, type LabRecord, type MountRecord, removeDeadLabs } from './folder.ts';
import { endKeeper, runInNetwork, startKeeper } from './keeper.ts';
import { Machine } from './machine.ts';
import { makeNetworks, maxMachines, setPartitions } from './network.ts';

const projectRoot = path.resolve(fileURLToPath(new URL('../..', import.meta.url)));

export interface MachineSetup {
  /** Of each machine; default one plain disk of 4G. */
  readonly disks?: readonly DiskSpec[];
  /** Memory, such as 256M (default): Node.js and small daemons fit. */
  readonly memory?: string;
  /** Folders of the host to show in the machines, live; read-only unless `writable`. */
  readonly mounts?: readonly { readonly from: string; readonly to?: string; readonly writable?: boolean }[];
  /** Shows the project's folder (default true), so that `azekura` and everything in the checkout runs in the machines. */
  readonly project?: boolean;
  readonly kernelArguments?: readonly string[];
}

export interface LabOptions extends MachineSetup {
  /** How many; 1 unless told. 0 makes a lab to which machines are added. */
  readonly machines?: number;
  /** Default: a fresh one, so that labs of several programs do not meet. */
  readonly name?: string;
  /** Takes a line for each step of building the machines' files, when that is needed. */
  readonly report?: (line: string) => void;
  /** The lab outlives this program once it is up. */
  readonly keep?: boolean;
}

export class Lab implements AsyncDisposable {
  readonly folder: LabFolder;
  readonly #build: Build;
  readonly #keeper: ProcessIdentity;

  private constructor(folder: LabFolder, build: Build, keeper: ProcessIdentity) {
    this.folder = folder;
    this.#build = build;
    this.#keeper = keeper;
  }

  /** Starts a lab and its machines. When anything fails nothing of it stays. */
  static async start(options: LabOptions = {}): Promise<Lab> {
    const count = options.machines ?? 1;
    if (!Number.isInteger(count) || count < 0 || count > maxMachines)
      throw new LabError(`a lab has 0 to ${maxMachines} machines, not ${count}`);
    requireHost();
    removeDeadLabs();
    const build = await machineFiles(options.report);
    const owner = processIdentity(process.pid);
    if (!owner) throw new LabError('/proc does not show this program');
    const folder = new LabFolder(options.name ?? `test-${process.pid}-${Math.random().toString(36).slice(2, 8)}`);
    const record: LabRecord = { name: folder.name, owner, build: build.folder, partitions: [] };
    folder.create(record);
    let keeper: ProcessIdentity | undefined;
    try {
      const started = await startKeeper(folder.path);
      keeper = started.identity;
      folder.write({ ...record, keeper });
      const lab = new Lab(folder, build, keeper);
      await makeNetworks({ keeper, build });
      const numbers = Array.from({ length: count }, (_, index) => index + 1);
      await Promise.all(numbers.map((number) => lab.addMachine(number, options)));
      if (options.keep) started.keep();
      return lab;
    } catch (error) {
      await endKeeper(keeper);
      folder.remove();
      throw error;
    }
  }

  /** A lab that another program has started. @throws LabError when none of this name is up */
  static open(name: string): Lab {
    removeDeadLabs();
    const folder = new LabFolder(name);
    const record = folder.read();
    if (!isAlive(record.keeper) || !record.keeper)
      throw new LabError(`the lab "${name}" is just being started or has died`, 'npm run lab -- down, then up again');
    return new Lab(folder, buildIn(record.build), record.keeper);
  }

  get name(): string {
    return this.folder.name;
  }

  /** The folder on the host that all machines see as /shared, live, read-write. */
  get shared(): string {
    return path.join(this.folder.path, 'shared');
  }

  get machines(): readonly Machine[] {
    return this.folder.machines().map((number) => this.#machine(number));
  }

  /** @param number from 1 @throws LabError when there is no such machine */
  machine(number: number): Machine {
    this.folder.readMachine(number);
    return this.#machine(number);
  }

  /** Adds a machine and boots it. */
  async addMachine(number: number, setup: MachineSetup = {}): Promise<Machine> {
    if (!Number.isInteger(number) || number < 1 || number > maxMachines)
      throw new LabError(`"${number}" is no number of a machine`, `use 1 to ${maxMachines}`);
    if (this.folder.machines().includes(number)) throw new LabError(`the lab "${this.name}" has a machine n${number}`);
    const memory = setup.memory ?? '256M';
    if (!/^\d+[MG]$/.test(memory)) throw new LabError(`"${memory}" is no amount of memory`, 'give it as 256M or 1G');
    const disks: DiskRecord[] = [];
    const folder = path.join(this.folder.path, 'disks');
    for (const spec of setup.disks ?? ['4G'])
      disks.push(planDisk({ folder, machine: number, present: disks, running: false }, spec));
    const project = setup.project !== false;
    this.folder.writeMachine({
      number,
      memory,
      disks,
      mounts: [...(project ? projectMounts() : []), ...(setup.mounts ?? []).map(mountRecord)],
      ...(project ? { project: projectRoot } : {}),
      kernelArguments: setup.kernelArguments ?? [],
    });
    const machine = this.#machine(number);
    await machine.boot();
    return machine;
  }

  /** Cuts a machine off the storage network, or only from one other machine. */
  async partition(one: number, other?: number): Promise<void> {
    for (const number of [one, other ?? one]) this.folder.readMachine(number);
    if (one === other) throw new LabError('a machine cannot be cut from itself');
    const pair = [one, other ?? 0] as const;
    await this.#partitions([...this.folder.read().partitions.filter((present) => !samePair(present, pair)), pair]);
  }

  /** Ends one partition, or all of them. */
  async heal(one?: number, other?: number): Promise<void> {
    const pair = one === undefined ? undefined : ([one, other ?? 0] as const);
    await this.#partitions(pair ? this.folder.read().partitions.filter((present) => !samePair(present, pair)) : []);
  }

  /** Runs a program of the host in the lab's network, in which all machines have their network cards. */
  runInNetwork(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
    return runInNetwork(this.#keeper, this.#build, argv, options);
  }

  /** Ends the lab; its disks are gone with it. Safe to repeat. */
  async down(): Promise<void> {
    await endKeeper(this.#keeper);
    this.folder.remove();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }

  async #partitions(partitions: LabRecord['partitions']): Promise<void> {
    await setPartitions({ keeper: this.#keeper, build: this.#build }, partitions);
    this.folder.write({ ...this.folder.read(), partitions });
  }

  #machine(number: number): Machine {
    return new Machine(number, { folder: this.folder, build: this.#build, keeper: this.#keeper });
  }
}

/** Ends the lab of this name in whatever state it is. @returns whether there was one */
export async function takeDown(name: string): Promise<boolean> {
  const folder = new LabFolder(name);
  let record: LabRecord;
  try {
    record = folder.read();
  } catch (error) {
    if (error instanceof LabError) return false;
    throw error;
  }
  await endKeeper(record.keeper);
  folder.remove();
  return true;
}

/**
 * Starts machines that live as long as the caller holds them:
 * `await using lab = await startMachines({ machines: 2, disks: ['4G'] })`.
 */
export function startMachines(options: LabOptions = {}): Promise<Lab> {
  return Lab.start(options);
}

/** @throws LabError when this host cannot have labs */
function requireHost(): void {
  if (process.getuid?.() !== 0) throw new LabError('a lab needs root', 'run it as root');
  if (!existsSync('/dev/net/tun'))
    throw new LabError('/dev/net/tun is missing', 'modprobe tun, or give this container the device');
}

/** The checkout, and what its node_modules are if they are elsewhere. Node.js itself, where it is hidden in a machine. */
function projectMounts(): readonly MountRecord[] {
  const modules = path.join(projectRoot, 'node_modules');
  const folders = [projectRoot, realpathSync(modules)].filter(
    (folder) => folder === projectRoot || !folder.startsWith(`${projectRoot}/`),
  );
  if (/^\/(tmp|run)\//.test(process.execPath)) folders.push(path.dirname(process.execPath));
  return folders.map((folder) => ({ from: folder, to: folder, writable: false }));
}

function mountRecord(mount: { readonly from: string; readonly to?: string; readonly writable?: boolean }): MountRecord {
  const from = realpathSync(mount.from);
  const to = mount.to ?? from;
  if (/[\s,']/.test(`${from}${to}`)) throw new LabError(`the folder ${from} has a blank or comma in its name`);
  return { from, to, writable: mount.writable ?? false };
}

function samePair(one: readonly [number, number], other: readonly [number, number]): boolean {
  return (one[0] === other[0] && one[1] === other[1]) || (one[0] === other[1] && one[1] === other[0]);
}
