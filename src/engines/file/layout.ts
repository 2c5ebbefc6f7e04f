import { checkId, isId } from '../identity.ts';

/** Where things lie in a file pool: docs/formats/file-pool.md. All functions are pure; paths never leave the pool. */

export const poolFile = 'azekura-pool.json';
export const poolFileCopy = '.azekura-pool.json.copy';
export const readmeFile = 'README.txt';
export const ballastFile = 'ballast';
export const volumesFolder = 'volumes';
export const recycledFolder = 'recycled';
export const temporaryFolder = 'tmp';
export const templatesFolder = 'templates';
export const dataFile = 'data';
export const identityFile = 'identity.json';
export const snapshotsFolder = 'snapshots';

/** Everything of ours at the top of a pool, in the order in which it is removed: the identity last. */
export const poolEntries: readonly string[] = [
  temporaryFolder,
  templatesFolder,
  ballastFile,
  recycledFolder,
  volumesFolder,
  readmeFile,
  poolFileCopy,
  poolFile,
];

export { checkId, isId };

/** A volume's folder and what lies in it. */
export interface VolumePlace {
  readonly folder: string;
  readonly data: string;
  readonly identity: string;
  readonly snapshots: string;
}

export function volumePlace(poolPath: string, volumeId: string): VolumePlace {
  return placeIn(`${poolPath}/${volumesFolder}/${checkId(volumeId)}`);
}

export function recycledPlace(poolPath: string, volumeId: string): VolumePlace {
  return placeIn(`${poolPath}/${recycledFolder}/${checkId(volumeId)}`);
}

/** A committed snapshot's folder, in the folder of its volume. */
export function snapshotPlace(volume: VolumePlace, snapshotId: string): VolumePlace {
  return placeIn(`${volume.snapshots}/${checkId(snapshotId)}`);
}

/** What is being worked on, and has no meaning after a crash. */
export type Work = 'create' | 'snapshot' | 'restore' | 'delete' | 'delete-snapshot';

/** A folder for work in progress. The id is that of the volume, or of the snapshot for work on snapshots. */
export function workPlace(poolPath: string, work: Work, id: string): VolumePlace {
  return placeIn(`${poolPath}/${temporaryFolder}/${work}-${checkId(id)}`);
}

/** In the pool that a volume leaves: the clone of it that is copied, kept while the move lasts. */
export function movePlace(
  poolPath: string,
  volumeId: string,
): { readonly folder: string; readonly data: string; readonly token: string } {
  const folder = `${poolPath}/${temporaryFolder}/move-${checkId(volumeId)}`;
  return { folder, data: `${folder}/${dataFile}`, token: `${folder}/token` };
}

/** Beside the copy in the other pool: how far it is. */
export function moveNote(work: VolumePlace): string {
  return `${work.folder}/move.json`;
}

/** @param name without folder, for example "xfs-1073741824-0badcafe.img" */
export function templatePath(poolPath: string, name: string): string {
  return `${poolPath}/${templatesFolder}/${name}`;
}

function placeIn(folder: string): VolumePlace {
  return {
    folder,
    data: `${folder}/${dataFile}`,
    identity: `${folder}/${identityFile}`,
    snapshots: `${folder}/${snapshotsFolder}`,
  };
}
