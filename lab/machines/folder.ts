/** Where a lab keeps what it knows: one folder by name, with a file for the lab and one for each machine. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { cacheRoot } from './build/recipe.ts';
import { isAlive, type ProcessIdentity } from './command.ts';
import { LabError } from './error.ts';

export interface LabRecord {
  readonly name: string;
  /** The program that makes the lab; counts until the keeper is there. */
  readonly owner: ProcessIdentity;
  readonly keeper?: ProcessIdentity;
  /** The folder of the machines' files. */
  readonly build: string;
  /** Pairs of machines that cannot reach each other on the storage network; 0 stands for all others. */
  readonly partitions: readonly (readonly [number, number])[];
}

export interface MountRecord {
  readonly from: string;
  readonly to: string;
  readonly writable: boolean;
}

export type DiskKind = 'plain' | 'controlled';

export interface DiskRecord {
  readonly kind: DiskKind;
  /** 0 is /dev/ubda or /dev/nbd0. */
  readonly slot: number;
  readonly file: string;
  readonly sizeBytes: number;
  readonly log?: string;
  /** A disk that answers flushes and forgets them. */
  readonly ignoreFlush?: boolean;
}

export interface MachineRecord {
  readonly number: number;
  readonly memory: string;
  readonly disks: readonly DiskRecord[];
  readonly mounts: readonly MountRecord[];
  readonly project?: string;
  readonly kernelArguments: readonly string[];
}

const namePattern = /^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/;

function labsFolder(): string {
  return path.join(cacheRoot(), 'labs');
}

export class LabFolder {
  readonly name: string;
  readonly path: string;

  constructor(name: string) {
    if (!namePattern.test(name))
      throw new LabError(
        `"${name}" cannot name a lab`,
        'use at most 32 letters, digits, "-" and "_" in LAB_NAME, the first a letter or digit',
      );
    this.name = name;
    this.path = path.join(labsFolder(), name);
    // The paths of the sockets in it are limited to 107 characters.
    if (this.path.length > 80)
      throw new LabError(
        `the lab's folder ${this.path} has a name of more than 80 characters`,
        'set AZEKURA_CACHE_DIR',
      );
  }

  /** Takes the name. @throws LabError when a lab of this name is there */
  create(record: LabRecord): void {
    mkdirSync(labsFolder(), { recursive: true });
    const fresh = mkdtempSync(path.join(labsFolder(), '.new-'));
    for (const name of ['umid', 'disks', 'shared']) mkdirSync(path.join(fresh, name));
    writeFileSync(path.join(fresh, 'lab.json'), JSON.stringify(record));
    try {
      renameSync(fresh, this.path);
    } catch (error) {
      rmSync(fresh, { recursive: true });
      throw new LabError(
        `the lab "${this.name}" is up already`,
        'take it down first, or give this one another LAB_NAME',
        { cause: error },
      );
    }
  }

  /** @throws LabError when there is no lab of this name */
  read(): LabRecord {
    const record = readJson<LabRecord>(path.join(this.path, 'lab.json'));
    if (!record) throw new LabError(`the lab "${this.name}" is not up`, 'start it: npm run lab -- up 1');
    return record;
  }

  write(record: LabRecord): void {
    writeWhole(path.join(this.path, 'lab.json'), record);
  }

  machineFolder(number: number): string {
    return path.join(this.path, `n${number}`);
  }

  /** Numbers of the machines that were ever started. */
  machines(): readonly number[] {
    return readdirSync(this.path)
      .map((name) => /^n([1-9])$/.exec(name)?.[1])
      .filter((number) => number !== undefined)
      .map(Number)
      .filter((number) => existsSync(path.join(this.machineFolder(number), 'machine.json')))
      .sort((a, b) => a - b);
  }

  /** @throws LabError when the lab has no such machine */
  readMachine(number: number): MachineRecord {
    const record = readJson<MachineRecord>(path.join(this.machineFolder(number), 'machine.json'));
    if (record) return record;
    this.read();
    const names = this.machines().map((other) => `n${other}`);
    throw new LabError(`the lab "${this.name}" has no machine n${number}`, `it has ${names.join(', ') || 'none'}`);
  }

  writeMachine(record: MachineRecord): void {
    const folder = this.machineFolder(record.number);
    mkdirSync(path.join(folder, 'share'), { recursive: true });
    writeWhole(path.join(folder, 'machine.json'), record);
  }

  remove(): void {
    removeFolder(this.path);
  }
}

/** Whether anybody still stands behind a lab. */
export function hasLife(record: LabRecord): boolean {
  return isAlive(record.keeper) || isAlive(record.owner);
}

/** Removes the folders of labs whose owner was killed and whose keeper is gone. Their processes died with the keeper. */
export function removeDeadLabs(): void {
  if (!existsSync(labsFolder())) return;
  for (const name of readdirSync(labsFolder())) {
    const folder = path.join(labsFolder(), name);
    const record = readJson<LabRecord>(path.join(folder, 'lab.json'));
    // One that is being filled has no record yet; one without a record under its final name is a rest.
    const filling = name.startsWith('.new-') && isYoung(folder);
    if (record ? !hasLife(record) : !filling) removeFolder(folder);
  }
}

/** Out of the way first: whoever still writes to it under its name makes nothing new, and the name is free at once. */
function removeFolder(folder: string): void {
  const gone = path.join(labsFolder(), `.gone-${process.pid}-${Math.random().toString(36).slice(2)}`);
  try {
    renameSync(folder, gone);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  rmSync(gone, { recursive: true, force: true, maxRetries: 5 });
}

function isYoung(folder: string): boolean {
  const stat = statSync(folder, { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.mtimeMs < 60_000;
}

/** The labs that are up. */
export function labNames(): readonly string[] {
  if (!existsSync(labsFolder())) return [];
  return readdirSync(labsFolder()).filter(
    (name) => !name.startsWith('.') && existsSync(path.join(labsFolder(), name, 'lab.json')),
  );
}

function readJson<T>(file: string): T | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** A reader sees the old record or the new one. */
function writeWhole(file: string, value: object): void {
  const fresh = `${file}.${process.pid}`;
  writeFileSync(fresh, JSON.stringify(value));
  renameSync(fresh, file);
}
