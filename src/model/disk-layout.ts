import { AzekuraError } from './errors.ts';
import { type DiskLayout, diskLayouts } from './pool.ts';

/** How volumes lie on the disks of a pool, and what of the disks that takes. Pure: placement counts with what an engine does. */

/** What a class or pool says; the rest follows from the disks. */
export interface WantedLayout {
  readonly type: DiskLayout;
  readonly stripes?: number | undefined;
  readonly mirrors?: number | undefined;
}

/** A layout over so many disks. */
export interface DiskSpread {
  readonly type: DiskLayout;
  /** Disks that data is spread over, without those for redundancy. */
  readonly stripes?: number;
  /** Further copies. */
  readonly mirrors?: number;
}

/** The part of a policy that says how a volume lies. */
export interface LayoutPolicy {
  readonly provisioning: 'thin' | 'thick';
  readonly parameters?: Readonly<Record<string, string>>;
}

/** The fewest disks of each layout. */
const fewestDisks: Readonly<Record<DiskLayout, number>> = {
  linear: 1,
  striped: 2,
  mirror: 2,
  raid1: 2,
  raid5: 3,
  raid6: 5,
  raid10: 4,
};

const parityOf = (type: DiskLayout): number => (type === 'raid5' ? 1 : type === 'raid6' ? 2 : 0);

/** The fewest disks that a layout needs. */
export function disksNeeded({ type, stripes, mirrors = 1 }: WantedLayout): number {
  const copies = 1 + mirrors;
  switch (type) {
    case 'linear':
      return 1;
    case 'mirror':
    case 'raid1':
      return Math.max(fewestDisks[type], copies);
    case 'raid10':
      return Math.max(fewestDisks[type], (stripes ?? 1) * copies);
    case 'striped':
    case 'raid5':
    case 'raid6':
      return Math.max(fewestDisks[type], (stripes ?? 1) + parityOf(type));
  }
}

/**
 * The layout over so many disks.
 *
 * @throws AzekuraError FailedPrecondition when there are too few disks for it
 */
export function spread(wanted: WantedLayout, disks: number): DiskSpread {
  const { type } = wanted;
  const needed = disksNeeded(wanted);
  if (needed > disks)
    throw new AzekuraError(
      'FailedPrecondition',
      `the layout ${type} needs ${needed} disks, and the volume group has ${disks}`,
      { next: 'add disks to the pool, or choose a layout with fewer' },
    );
  const mirrors = type === 'raid1' || type === 'mirror' || type === 'raid10' ? (wanted.mirrors ?? 1) : undefined;
  const parity = parityOf(type);
  const striped = type === 'striped' || parity > 0 || type === 'raid10';
  const most = type === 'raid10' ? Math.floor(disks / (1 + (mirrors ?? 1))) : disks - parity;
  const stripes = striped ? (wanted.stripes ?? Math.max(1, most)) : undefined;
  return {
    type,
    ...(stripes === undefined ? {} : { stripes }),
    ...(mirrors === undefined ? {} : { mirrors }),
  };
}

/** Copies of each byte, parity counted in: what a layout takes of the disks for one byte of data. */
export function overheadOf(layout: DiskSpread): number {
  const { taken, stored } = shareOf(layout);
  return taken / stored;
}

/** The same as whole numbers, by which bytes are counted exactly. */
function shareOf({ type, stripes = 1, mirrors = 1 }: DiskSpread): { readonly taken: number; readonly stored: number } {
  switch (type) {
    case 'linear':
    case 'striped':
      return { taken: 1, stored: 1 };
    case 'mirror':
    case 'raid1':
    case 'raid10':
      return { taken: 1 + mirrors, stored: 1 };
    case 'raid5':
    case 'raid6':
      return { taken: stripes + parityOf(type), stored: stripes };
  }
}

/**
 * The layout that a policy asks for; undefined when its volumes take of a pool what they have. Whether the policy's engine
 * knows layouts has been checked with its other parameters.
 */
export function wantedLayout({ provisioning, parameters = {} }: LayoutPolicy): WantedLayout | undefined {
  if (provisioning !== 'thick') return undefined;
  const type = diskLayouts.find((one) => one === parameters.layout);
  if (type === undefined || type === 'linear') return undefined;
  const count = (text: string | undefined) => (text === undefined ? undefined : Number(text) || undefined);
  return { type, stripes: count(parameters.stripes), mirrors: count(parameters.mirrors) };
}

/**
 * Bytes that a layout takes of a pool for so many of a volume.
 *
 * @param disks of the pool; as many as the layout needs are assumed where fewer are known
 */
export function bytesOnDisks(storedBytes: number, wanted: WantedLayout | undefined, disks: number): number {
  if (!wanted) return storedBytes;
  const { taken, stored } = shareOver(wanted, disks);
  return Math.ceil((storedBytes * taken) / stored);
}

/** The most bytes of a volume that take no more than these of a pool; the reverse of bytesOnDisks. */
export function bytesFromDisks(poolBytes: number, wanted: WantedLayout | undefined, disks: number): number {
  if (!wanted) return poolBytes;
  const { taken, stored } = shareOver(wanted, disks);
  return Math.floor((poolBytes * stored) / taken);
}

function shareOver(wanted: WantedLayout, disks: number) {
  return shareOf(spread(wanted, Math.max(disks, disksNeeded(wanted))));
}
