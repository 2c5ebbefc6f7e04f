/** The disks of a machine: what was asked for, the files behind them, and their names in the machine. */
import { existsSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { LabError } from './error.ts';
import type { DiskKind, DiskRecord } from './folder.ts';

/**
 * A disk to be added. A plain disk (/dev/ubda …) is as fast as memory and cannot misbehave; it can be pulled out only
 * while nothing uses it. A controlled disk (/dev/nbd0 …) hangs, fails, fills, slows down, is pulled out under load, and
 * can log all writes and flushes.
 */
export interface DiskOptions {
  /** Bytes, or a number with K, M, G or T (powers of 1024). Absent: the size of `image`. */
  readonly size?: number | string;
  /** Default: controlled when `log` or `ignoreFlush` is set, else plain. */
  readonly kind?: DiskKind;
  /** Controlled only: writes a log for `lab/replay.ts`; its path is the disk's `logPath`. */
  readonly log?: boolean;
  /** Controlled only: a disk that lies; it answers flushes and forgets them. */
  readonly ignoreFlush?: boolean;
  /** An existing file as the disk, written to directly; it stays when the lab goes down. */
  readonly image?: string;
}

export type DiskSpec = number | string | DiskOptions;

export const maxPlainDisks = 8;
export const maxControlledDisks = 16;
const letters = 'abcdefgh';

export function deviceOf(disk: Pick<DiskRecord, 'kind' | 'slot'>): string {
  return disk.kind === 'plain' ? `/dev/ubd${letters[disk.slot] ?? ''}` : `/dev/nbd${disk.slot}`;
}

/** The name of a disk in the lab; a plain disk's is its serial in the machine too (/sys/block/ubda/serial). */
export function diskName(machine: number, disk: Pick<DiskRecord, 'kind' | 'slot'>): string {
  return `n${machine}${disk.kind === 'plain' ? 'd' : 'c'}${disk.slot}`;
}

/** @throws LabError when it is no size */
export function parseSize(size: number | string): number {
  const match = /^(\d+)([KMGT]?)(i?B)?$/i.exec(String(size));
  const bytes = Number(match?.[1]) * 1024 ** ' KMGT'.indexOf(match?.[2]?.toUpperCase() || ' ');
  if (!match || !Number.isSafeInteger(bytes) || bytes < 1 << 20 || bytes % 4096 !== 0)
    throw new LabError(`"${size}" is no size of a disk`, 'give a number with M, G or T, at least 1M, such as 4G');
  return bytes;
}

/** Where a disk is to be. */
export interface DiskPlace {
  /** For the files behind the lab's disks. */
  readonly folder: string;
  readonly machine: number;
  readonly present: readonly DiskRecord[];
  readonly running: boolean;
}

/**
 * Makes the file behind a new disk and says what it is.
 *
 * @throws LabError when the machine has no place for it or the options contradict each other
 */
export function planDisk({ folder, machine, present, running }: DiskPlace, spec: DiskSpec): DiskRecord {
  const options: DiskOptions = typeof spec === 'object' ? spec : { size: spec };
  const kind = options.kind ?? (options.log || options.ignoreFlush ? 'controlled' : 'plain');
  if (kind === 'plain' && (options.log || options.ignoreFlush))
    throw new LabError('a plain disk cannot log or ignore flushes', 'make it a controlled disk');
  const taken = new Set(present.filter((disk) => disk.kind === kind).map((disk) => disk.slot));
  const limit = kind === 'plain' ? maxPlainDisks : maxControlledDisks;
  // A running kernel has given its disk 0 away, to a file named root_fs if to nothing else.
  const first = kind === 'plain' && running ? 1 : 0;
  const slot = Array.from({ length: limit }, (_, index) => index).find((index) => index >= first && !taken.has(index));
  if (slot === undefined)
    throw new LabError(`n${machine} has ${limit} ${kind} disks already`, 'remove one, or use the other kind');
  const file = options.image ? path.resolve(options.image) : path.join(folder, diskName(machine, { kind, slot }));
  if (options.image && !existsSync(file)) throw new LabError(`there is no file ${file}`);
  if (!options.image && options.size === undefined) throw new LabError('a disk needs a size or an image');
  if (/[\s,]/.test(file)) throw new LabError(`the file ${file} has a blank or comma in its name`);
  const sizeBytes = options.size === undefined ? statSync(file).size : parseSize(options.size);
  if (!options.image) {
    writeFileSync(file, '', { mode: 0o600 });
    truncateSync(file, sizeBytes);
  }
  return {
    kind,
    slot,
    file,
    sizeBytes,
    ...(options.log ? { log: `${file}.log` } : {}),
    ...(options.ignoreFlush ? { ignoreFlush: true } : {}),
  };
}
