/** A thin pool as the kernel tells of it (Documentation/admin-guide/device-mapper/thin-provisioning.rst, "Status"). */
export type ThinPoolStatus =
  /** The kernel has given the pool up; nothing is known any more. */
  | { readonly state: 'failed' }
  | {
      readonly state: 'ok';
      readonly transactionId: number;
      readonly usedMetadataBlocks: number;
      readonly metadataBlocks: number;
      readonly usedChunks: number;
      readonly chunks: number;
      /** A copy of the metadata is held for reading. */
      readonly held: boolean;
      readonly mode: 'rw' | 'ro' | 'out_of_data_space';
      readonly errorWhenFull: boolean;
      /** The metadata must be checked and mended before the pool is written to again. */
      readonly needsCheck: boolean;
    };

/** The kernel's blocks of thin metadata. */
export const thinMetadataBlockBytes = 4096;

/**
 * Reads `dmsetup status` of a thin pool.
 *
 * @throws SyntaxError for anything else
 */
export function parseThinPoolStatus(line: string): ThinPoolStatus {
  const words = line.trim().split(/\s+/);
  const at = words.indexOf('thin-pool');
  if (at === -1) throw new SyntaxError(`this is no status of a thin pool: ${line.slice(0, 80)}`);
  const [transaction, metadata, data, held, ...rest] = words.slice(at + 1);
  if (transaction === 'Fail' || transaction === 'Error') return { state: 'failed' };
  const [usedMetadataBlocks, metadataBlocks] = fraction(metadata);
  const [usedChunks, chunks] = fraction(data);
  const mode = rest.find((word) => word === 'rw' || word === 'ro' || word === 'out_of_data_space');
  return {
    state: 'ok',
    transactionId: Number(transaction),
    usedMetadataBlocks,
    metadataBlocks,
    usedChunks,
    chunks,
    held: held !== '-',
    mode: mode ?? 'ro',
    errorWhenFull: rest.includes('error_if_no_space'),
    needsCheck: rest.includes('needs_check'),
  };
}

function fraction(text: string | undefined): readonly [number, number] {
  const match = /^(\d+)\/(\d+)$/.exec(text ?? '');
  if (!match) throw new SyntaxError(`"${text}" is no fraction`);
  return [Number(match[1]), Number(match[2])];
}

/** Health of a RAID volume: one letter for each leg: A alive and in sync, a alive and catching up, D dead. */
export interface RaidStatus {
  readonly legs: string;
  readonly syncedSectors: number;
  readonly totalSectors: number;
  readonly action: string;
}

/** Reads `dmsetup status` of a RAID volume; undefined when it is none. */
export function parseRaidStatus(line: string): RaidStatus | undefined {
  const match = / raid \S+ \d+ ([AaD-]+) (\d+)\/(\d+) (\S+)/.exec(line);
  const [, legs, synced, total, action] = match ?? [];
  if (legs === undefined) return undefined;
  return { legs, syncedSectors: Number(synced), totalSectors: Number(total), action: action ?? '' };
}
