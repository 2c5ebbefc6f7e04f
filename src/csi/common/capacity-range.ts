import type { CapacityRange } from '../../gen/csi/csi_pb.js';
import { formatBytes, roundUp } from '../../lib/quantity.ts';
import { AzekuraError } from '../../model/errors.ts';
import { sectorBytes } from '../../model/volume.ts';
import { bytesOf } from './arguments.ts';

/** The size of a volume for which nobody asked for one. */
const defaultBytes = 1 << 30;

/** What a caller finds large enough; 0 means no bound. */
export interface SizeBounds {
  readonly requiredBytes: number;
  readonly limitBytes: number;
}

/** @throws AzekuraError InvalidArgument, OutOfRange */
export function sizeBounds(range: CapacityRange | undefined): SizeBounds {
  const requiredBytes = bytesOf(range?.requiredBytes ?? 0n, 'required_bytes');
  const limitBytes = bytesOf(range?.limitBytes ?? 0n, 'limit_bytes');
  if (range && requiredBytes === 0 && limitBytes === 0)
    throw new AzekuraError('InvalidArgument', 'capacity_range has neither required_bytes nor limit_bytes');
  if (limitBytes > 0 && requiredBytes > limitBytes)
    throw new AzekuraError('InvalidArgument', 'required_bytes is larger than limit_bytes');
  return { requiredBytes, limitBytes };
}

/**
 * The size of a new volume: what is required, in whole sectors; else the source's; else the default.
 *
 * @throws AzekuraError OutOfRange when no whole number of sectors lies within the bounds, or the source is larger
 */
export function chooseSize(bounds: SizeBounds, sourceBytes: number | undefined): number {
  const { requiredBytes, limitBytes } = bounds;
  if (sourceBytes !== undefined && requiredBytes > 0 && requiredBytes < sourceBytes)
    throw new AzekuraError(
      'OutOfRange',
      `${formatBytes(requiredBytes)} is smaller than the source, which has ${formatBytes(sourceBytes)}`,
    );
  const wantedBytes = requiredBytes || sourceBytes || defaultBytes;
  const ceilingBytes = limitBytes > 0 ? limitBytes - (limitBytes % sectorBytes) : Number.MAX_SAFE_INTEGER;
  const sizeBytes = roundUp(wantedBytes, sectorBytes);
  if (sizeBytes <= ceilingBytes) return sizeBytes;
  if (requiredBytes === 0 && sourceBytes === undefined && ceilingBytes > 0) return ceilingBytes;
  throw new AzekuraError(
    'OutOfRange',
    `no size fits: ${formatBytes(sizeBytes)} is needed, ${formatBytes(limitBytes)} is the limit`,
  );
}

/** Whether a volume of that size is what the caller asked for. */
export function withinBounds(sizeBytes: number, bounds: SizeBounds): boolean {
  return sizeBytes >= bounds.requiredBytes && (bounds.limitBytes === 0 || sizeBytes <= bounds.limitBytes);
}
