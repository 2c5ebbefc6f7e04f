import type { RescuedVolume } from './report.ts';

/**
 * Marks, of all copies of each volume, the one to use. Copies are known by the volume's uid, or by the volume id where
 * an identity cannot be read. A living copy goes before a recycled one, then the higher generation, then the one that
 * is in use, then the one that was written last.
 *
 * @returns the volumes sorted as people look for them: by claim, by name, newest copy first
 */
export function markNewest(volumes: readonly RescuedVolume[]): readonly RescuedVolume[] {
  const copies = new Map<string, RescuedVolume[]>();
  for (const volume of volumes) {
    const key = identityKey(volume);
    copies.set(key, [...(copies.get(key) ?? []), volume]);
  }
  const marked: RescuedVolume[] = [];
  for (const group of copies.values()) {
    group.sort(compareCopies);
    for (const [index, volume] of group.entries())
      marked.push({ ...volume, newest: index === 0, copies: group.length });
  }
  return marked.sort(compareForDisplay);
}

function identityKey(volume: RescuedVolume): string {
  return volume.identity ? `uid ${volume.identity.uid}` : `id ${volume.volumeId}`;
}

/** Negative when `a` is the copy to use. */
export function compareCopies(a: RescuedVolume, b: RescuedVolume): number {
  return (
    Number(a.recycled) - Number(b.recycled) ||
    (b.identity?.generation ?? 0) - (a.identity?.generation ?? 0) ||
    Number(b.inUseBy !== undefined) - Number(a.inUseBy !== undefined) ||
    b.modifiedAt.localeCompare(a.modifiedAt)
  );
}

function compareForDisplay(a: RescuedVolume, b: RescuedVolume): number {
  return (
    displayKey(a).localeCompare(displayKey(b)) || Number(b.newest) - Number(a.newest) || a.place.localeCompare(b.place)
  );
}

function displayKey({ identity, volumeId }: RescuedVolume): string {
  if (!identity) return `\uffff${volumeId}`;
  const claim = identity.claim ? `${identity.claim.namespace}/${identity.claim.name}` : '';
  return `${claim}\u0000${identity.name}\u0000${identity.uid}`;
}
