import { AzekuraError } from '../../model/errors.ts';

/**
 * @param field as in csi.proto
 * @throws AzekuraError InvalidArgument when it is empty
 */
export function required(value: string, field: string): string {
  if (value === '') throw new AzekuraError('InvalidArgument', `field ${field} is missing`);
  return value;
}

/** @throws AzekuraError OutOfRange for a size that no volume can have; InvalidArgument for a negative one */
export function bytesOf(value: bigint, field: string): number {
  if (value < 0n) throw new AzekuraError('InvalidArgument', `field ${field} is negative`);
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new AzekuraError('OutOfRange', `field ${field} is larger than any volume can be`);
  return Number(value);
}
