import { lostVolumeCause } from '../../control/lost-volume.ts';
import { MultiIndex } from '../../lib/multi-index.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { Attachment, Snapshot, SnapshotGroup, Volume } from '../../model/kinds.ts';
import type { CsiDeps } from '../deps.ts';
import { OperationLocks } from './locks.ts';
import { csiAnnotations, objectName } from './names.ts';
import { Watched } from './watched.ts';

/** What all services share: how to find things, how to wait for them, who works on what. */
export interface CsiContext {
  readonly deps: CsiDeps;
  readonly locks: OperationLocks;
  readonly volumes: Watched<'Volume'>;
  readonly attachments: Watched<'Attachment'>;
  readonly snapshots: Watched<'Snapshot'>;
  readonly groups: Watched<'SnapshotGroup'>;
  /** The volume with this handle, also an inline one; undefined when there is none, being deleted or not. */
  findVolume(handle: string): Promise<Volume | undefined>;
  /** @throws AzekuraError NotFound */
  needVolume(handle: string): Promise<Volume>;
  /** The snapshot with this handle; undefined when there is none. */
  findSnapshot(handle: string): Promise<Snapshot | undefined>;
  /** @throws AzekuraError NotFound */
  needSnapshot(handle: string): Promise<Snapshot>;
  findGroup(handle: string): Promise<SnapshotGroup | undefined>;
  /** The volume's attachment on the node, as it is stored. */
  findAttachment(volume: Volume, nodeName: string): Promise<Attachment | undefined>;
  close(): void;
}

/**
 * The handle of a volume: the id that also names its data. A name would be free for another volume after a deletion,
 * and an old PV would then point at new data; the id stays the same through undelete, under any name, and is found again
 * on the disk when a cluster is rebuilt from it.
 */
export function volumeHandle(volume: Volume): string {
  return volume.status.volumeId ?? '';
}

/** The handle of a snapshot: the id that names its data, for the same reasons. */
export function snapshotHandle(snapshot: Snapshot): string {
  return snapshot.spec.snapshotId ?? snapshot.metadata.name;
}

/** The handle of a group: its name, which is written beside the data of its members. */
export function groupHandle(group: SnapshotGroup): string {
  return group.metadata.name;
}

/** Makes the context, which begins to listen to the view. */
export function createContext(deps: CsiDeps): CsiContext {
  const { view, store, clock } = deps;
  const snapshotsById = new MultiIndex();
  const stopIndex = view.snapshots.onChange(({ type, object }) =>
    snapshotsById.set(object.metadata.name, type === 'deleted' ? undefined : snapshotHandle(object)),
  );
  const volumes = new Watched(view.volumes, clock);
  const attachments = new Watched(view.attachments, clock);
  const snapshots = new Watched(view.snapshots, clock);
  const groups = new Watched(view.groups, clock);

  // The memory may lag behind what somebody else wrote: only the store can say that something is not there.
  const findVolume = async (handle: string): Promise<Volume | undefined> => {
    const known = view.volumeOf(handle);
    if (known) return known;
    const inline = await store.find('Volume', objectName(handle));
    if (inline?.metadata.annotations[csiAnnotations.ephemeral] === handle) return inline;
    if (!looksLikeId(handle)) return undefined;
    const { items } = await store.list('Volume');
    return items.find((volume) => volume.status.volumeId === handle);
  };
  const findSnapshot = async (handle: string): Promise<Snapshot | undefined> => {
    const [name] = snapshotsById.members(handle);
    const known = name === undefined ? undefined : view.snapshots.get(name);
    if (known) return known;
    if (!looksLikeId(handle)) return undefined;
    const { items } = await store.list('Snapshot');
    return items.find((snapshot) => snapshotHandle(snapshot) === handle);
  };
  return {
    deps,
    locks: new OperationLocks(),
    volumes,
    attachments,
    snapshots,
    groups,
    findVolume,
    needVolume: async (handle) => {
      const volume = await findVolume(handle);
      if (!volume) throw unknownVolume(view, handle);
      return volume;
    },
    findSnapshot,
    needSnapshot: async (handle) => {
      const snapshot = await findSnapshot(handle);
      if (!snapshot) throw new AzekuraError('NotFound', `there is no snapshot with the handle "${handle}"`);
      return snapshot;
    },
    findGroup: async (handle) =>
      objectName(handle) === handle || isHashed(handle) ? store.find('SnapshotGroup', handle) : undefined,
    findAttachment: async (volume, nodeName) => {
      const known = view.attachmentsOf(volumeHandle(volume)).find(({ spec }) => spec.nodeName === nodeName);
      if (known) return store.find('Attachment', known.metadata.name);
      const { volumeId } = volume.status;
      if (volumeId === undefined) return undefined;
      const { items } = await store.list('Attachment', { fields: { 'spec.volumeId': volumeId } });
      return items.find(({ spec }) => spec.nodeName === nodeName);
    },
    close: () => {
      stopIndex();
      for (const watched of [volumes, attachments, snapshots, groups]) watched.close();
    },
  };
}

/** Who removed the object by force has to be told that the data is there. */
function unknownVolume(view: CsiDeps['view'], handle: string): AzekuraError {
  const message = `there is no volume with the handle "${handle}"`;
  const cause = lostVolumeCause(view, handle);
  return cause
    ? new AzekuraError('NotFound', `${message}: ${cause.message}`, { next: cause.nextStep })
    : new AzekuraError('NotFound', message);
}

/** lib/id.ts' shortId(): other handles cannot be in the store, and need no search. */
function looksLikeId(handle: string): boolean {
  return /^[0-9a-hjkmnp-tv-z]{16}$/.test(handle);
}

function isHashed(handle: string): boolean {
  return /^csi-[0-9a-f]{32}$/.test(handle);
}
