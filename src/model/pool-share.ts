/** Below this a pool is no pleasure: XFS itself asks for 300 MiB. */
export const smallestPoolBytes = 512 * 2 ** 20;

/**
 * The size of a pool that takes a bounded share of a disk that others use too.
 *
 * @param share.fraction of what is free
 * @param share.spareFraction of the disk that stays free whatever the share is
 * @returns whole MiB; undefined when there is too little for any pool
 */
export function shareBytes(
  disk: { readonly sizeBytes: number; readonly availableBytes: number },
  share: { readonly fraction: number; readonly maximumBytes: number; readonly spareFraction: number },
): number | undefined {
  const spareBytes = disk.availableBytes - disk.sizeBytes * share.spareFraction;
  const wantedBytes = Math.min(disk.availableBytes * share.fraction, share.maximumBytes, spareBytes);
  const bytes = Math.floor(wantedBytes / 2 ** 20) * 2 ** 20;
  return bytes >= smallestPoolBytes ? bytes : undefined;
}
