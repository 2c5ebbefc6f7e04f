import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { behind } from '../engines/encrypted/identity.ts';
import type { ByteRange, Kernel } from '../host/kernel.ts';
import { formatBytes } from '../lib/quantity.ts';
import { AzekuraError } from '../model/errors.ts';
import type { Chosen } from './choose.ts';
import { decrypt, headerOf } from './decrypt.ts';
import { openGroupData } from './group-data.ts';
import type { Session } from './holdings.ts';
import { checkInterrupted } from './interrupt.ts';
import type { ExportOptions, ExportResult, RescueDeps } from './report.ts';
import type { PoolView } from './view.ts';
import { withChosen } from './with-chosen.ts';

const pieceBytes = 1 << 20;
const rangesPerPage = 4_096;

/**
 * Copies a volume or snapshot into a raw image file. Holes stay holes. The copy is written beside its destination,
 * made durable, read again and compared by checksum, and only then gets its name: a file of that name is complete.
 *
 * @throws AzekuraError AlreadyExists when `to` is there and `force` is not set; ResourceExhausted when the data would
 *   not fit; DataLoss when the copy differs from what was read; FailedPrecondition for a volume in use
 */
export async function exportVolume(options: ExportOptions): Promise<ExportResult> {
  const { host, to, signal } = options;
  if (!to.startsWith('/')) throw new AzekuraError('InvalidArgument', `"${to}" is not an absolute path`);
  const target = host.kernel(`rescue${dirname(to)}`);
  const existing = await target.stat(to);
  if (existing && (existing.kind !== 'file' || options.force !== true)) {
    throw new AzekuraError('AlreadyExists', `${to} is there already`, {
      next: existing.kind === 'file' ? 'choose another file, or replace it with --force' : 'choose another file',
    });
  }
  return withChosen(options, async ({ view, chosen, session, warnings }) => {
    const storedBytes = chosen.snapshot?.sizeBytes ?? chosen.volume.sizeBytes;
    const stored = await openSource(view, chosen, session, options, storedBytes);
    const { source, ranges, dataBytes, sizeBytes } = await asWanted(options, view, chosen, session, {
      ...stored,
      sizeBytes: storedBytes,
    });
    const { availableBytes } = await target.statfs(dirname(to));
    if (dataBytes > availableBytes) {
      throw new AzekuraError(
        'ResourceExhausted',
        `${dirname(to)} has ${formatBytes(availableBytes)} free, the export needs ${formatBytes(dataBytes)}`,
        { next: 'export to a larger disk' },
      );
    }
    const partial = `${to}.partial`;
    try {
      const checksum = await copy({
        source,
        partial,
        ranges,
        sizeBytes,
        dataBytes,
        signal,
        onProgress: options.onProgress,
      });
      if ((await digestFile(partial, ranges, signal)) !== checksum) {
        throw new AzekuraError('DataLoss', `${partial} differs from what was written to it`, {
          next: 'the disk of the export cannot be trusted; export to another one',
        });
      }
      await target.rename(partial, to, { replace: options.force === true });
      const { volume, snapshot } = chosen;
      return { to, volume, ...(snapshot ? { snapshot } : {}), sizeBytes, dataBytes, checksum, warnings };
    } catch (error) {
      await target.removeTree(partial);
      throw error;
    }
  });
}

interface Source {
  readonly source: string;
  readonly ranges: readonly ByteRange[];
  readonly dataBytes: number;
  readonly sizeBytes: number;
}

/** With a key what is stored is decrypted; without, it is exported as it is stored. */
async function asWanted(
  options: ExportOptions,
  view: PoolView,
  chosen: Chosen,
  session: Session,
  stored: Source,
): Promise<Source> {
  const headerBytes = headerOf(chosen);
  if (headerBytes === undefined || options.keyFile === undefined) return stored;
  const volume = chosen.volume.identity?.name ?? chosen.volume.volumeId;
  const { device } = await decrypt(options, view.kernel, session, {
    path: stored.source,
    headerBytes,
    volume,
    readOnly: true,
  });
  const ranges = stored.ranges.flatMap((range) => behind(range, headerBytes));
  return {
    source: device,
    ranges,
    dataBytes: Math.min(
      stored.dataBytes,
      ranges.reduce((sum, range) => sum + range.lengthBytes, 0),
    ),
    sizeBytes: stored.sizeBytes - headerBytes,
  };
}

/** The bytes to copy, and how many of them are data. What a device has not allocated reads as zeroes, and stays a hole. */
async function openSource(
  view: PoolView,
  chosen: Chosen,
  session: Session,
  deps: RescueDeps,
  sizeBytes: number,
): Promise<{ readonly source: string; readonly ranges: readonly ByteRange[]; readonly dataBytes: number }> {
  if (view.group) {
    const opened = await openGroupData({ ...view, group: view.group }, chosen.file, session, deps);
    const ranges = [{ offsetBytes: 0, lengthBytes: sizeBytes }];
    return { source: opened.path, ranges, dataBytes: opened.dataBytes ?? sizeBytes };
  }
  const source = `${view.root}/${chosen.file}`;
  const ranges = await dataRanges(view.kernel, source);
  return { source, ranges, dataBytes: ranges.reduce((sum, range) => sum + range.lengthBytes, 0) };
}

async function dataRanges(kernel: Kernel, file: string): Promise<readonly ByteRange[]> {
  const ranges: ByteRange[] = [];
  let fromBytes: number | undefined = 0;
  while (fromBytes !== undefined) {
    const page = await kernel.allocatedRanges(file, { fromBytes, limit: rangesPerPage });
    ranges.push(...page.ranges);
    fromBytes = page.nextBytes;
  }
  return ranges;
}

interface CopyRequest {
  readonly source: string;
  readonly partial: string;
  readonly ranges: readonly ByteRange[];
  readonly sizeBytes: number;
  readonly dataBytes: number;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ExportOptions['onProgress'];
}

/** @returns the checksum of what was read */
async function copy({
  source,
  partial,
  ranges,
  sizeBytes,
  dataBytes,
  signal,
  onProgress,
}: CopyRequest): Promise<string> {
  const from = await open(source, 'r');
  try {
    const into = await open(partial, 'w', 0o600);
    try {
      await into.truncate(sizeBytes);
      let doneBytes = 0;
      const checksum = await digest(from, ranges, sizeBytes, signal, async (piece, offsetBytes) => {
        if (!isZero(piece)) await writeFully(into, piece, offsetBytes);
        doneBytes += piece.length;
        onProgress?.(doneBytes, dataBytes);
      });
      await into.sync();
      return checksum;
    } finally {
      await into.close();
    }
  } finally {
    await from.close();
  }
}

/**
 * Reads the ranges in pieces and hashes them with their places.
 *
 * @param each sees every piece before the buffer is used again
 */
async function digest(
  file: FileHandle,
  ranges: readonly ByteRange[],
  sizeBytes: number,
  signal: AbortSignal | undefined,
  each: (piece: Buffer, offsetBytes: number) => Promise<void> = async () => {},
): Promise<string> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(pieceBytes);
  for (const range of ranges) {
    const endBytes = Math.min(range.offsetBytes + range.lengthBytes, sizeBytes);
    hashPlace(hash, range.offsetBytes, endBytes);
    for (let offset = range.offsetBytes; offset < endBytes; ) {
      checkInterrupted(signal);
      const { bytesRead } = await file.read(buffer, 0, Math.min(pieceBytes, endBytes - offset), offset);
      if (bytesRead === 0)
        throw new AzekuraError('DataLoss', `the data ends at byte ${offset}, ${sizeBytes} were expected`);
      const piece = buffer.subarray(0, bytesRead);
      hash.update(piece);
      await each(piece, offset);
      offset += bytesRead;
    }
  }
  return hash.digest('hex');
}

function hashPlace(hash: Hash, startBytes: number, endBytes: number): void {
  const place = Buffer.alloc(16);
  place.writeBigUInt64LE(BigInt(startBytes), 0);
  place.writeBigUInt64LE(BigInt(endBytes), 8);
  hash.update(place);
}

async function digestFile(
  path: string,
  ranges: readonly ByteRange[],
  signal: AbortSignal | undefined,
): Promise<string> {
  const file = await open(path, 'r');
  try {
    return await digest(file, ranges, (await file.stat()).size, signal);
  } finally {
    await file.close();
  }
}

async function writeFully(file: FileHandle, piece: Buffer, offsetBytes: number): Promise<void> {
  let written = 0;
  while (written < piece.length) {
    written += (await file.write(piece, written, piece.length - written, offsetBytes + written)).bytesWritten;
  }
}

const zeroes = Buffer.alloc(pieceBytes);

function isZero(piece: Buffer): boolean {
  return piece.equals(zeroes.subarray(0, piece.length));
}
