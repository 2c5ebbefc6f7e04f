import { AzekuraError } from '../model/errors.ts';
import type { RescuedSnapshot, RescuedVolume, VolumeChoice } from './report.ts';

/**
 * The volume that is meant by a name, id, uid or `namespace/name` of a claim: its newest copy. A volume that lives goes
 * before a recycled one of the same name.
 *
 * @param volumes as markNewest() returns them
 * @throws AzekuraError NotFound; InvalidArgument when several different volumes answer to the name
 */
export function chooseVolume(volumes: readonly RescuedVolume[], wanted: string): RescuedVolume {
  const candidates = volumes.filter((volume) => volume.newest && answersTo(volume, wanted));
  const living = candidates.filter((volume) => !volume.recycled);
  const matches = living.length > 0 ? living : candidates;
  const [first, ...others] = matches;
  if (!first) {
    throw new AzekuraError('NotFound', `there is no volume "${wanted}" at this place`, {
      next: 'list what there is with `azekura rescue list`',
    });
  }
  if (others.length > 0) {
    const ids = matches.map((volume) => volume.volumeId).join(', ');
    throw new AzekuraError('InvalidArgument', `${matches.length} volumes are called "${wanted}"`, {
      next: `name one by its id: ${ids}`,
    });
  }
  return first;
}

function answersTo({ volumeId, identity }: RescuedVolume, wanted: string): boolean {
  if (wanted === volumeId || wanted === identity?.uid || wanted === identity?.name) return true;
  return identity?.claim !== undefined && wanted === `${identity.claim.namespace}/${identity.claim.name}`;
}

/** @throws AzekuraError NotFound; InvalidArgument when several snapshots of the volume bear the name */
export function chooseSnapshot(volume: RescuedVolume, wanted: string): RescuedSnapshot {
  const matches = volume.snapshots.filter(
    (snapshot) => snapshot.snapshotId === wanted || snapshot.identity?.name === wanted,
  );
  const [first, ...others] = matches;
  if (!first) {
    const names = volume.snapshots.map((snapshot) => snapshot.identity?.name ?? snapshot.snapshotId).join(', ');
    throw new AzekuraError(
      'NotFound',
      `volume "${volume.identity?.name ?? volume.volumeId}" has no snapshot "${wanted}"`,
      {
        next: names ? `its snapshots are ${names}` : 'it has no snapshots at all',
      },
    );
  }
  if (others.length > 0) {
    const ids = matches.map((snapshot) => snapshot.snapshotId).join(', ');
    throw new AzekuraError('InvalidArgument', `${matches.length} snapshots are called "${wanted}"`, {
      next: `name one by its id: ${ids}`,
    });
  }
  return first;
}

/** What a mount or export works on. */
export interface Chosen {
  readonly volume: RescuedVolume;
  readonly snapshot?: RescuedSnapshot;
  /** Path below the pool's folder. */
  readonly file: string;
}

/**
 * @throws as chooseVolume() and chooseSnapshot(); FailedPrecondition for the live data of a volume that something
 *   writes to: a second look at it would be torn
 */
export function choose(volumes: readonly RescuedVolume[], choice: VolumeChoice): Chosen {
  const volume = chooseVolume(volumes, choice.volume);
  if (choice.snapshot !== undefined) {
    const snapshot = chooseSnapshot(volume, choice.snapshot);
    return { volume, snapshot, file: snapshot.file };
  }
  if (volume.inUseBy !== undefined) {
    throw new AzekuraError(
      'FailedPrecondition',
      `volume "${volume.identity?.name ?? volume.volumeId}" is in use as ${volume.inUseBy}, so its data cannot be read at one instant`,
      { next: 'take a snapshot and name it with --snapshot, or detach the volume first' },
    );
  }
  return { volume, file: volume.file };
}
