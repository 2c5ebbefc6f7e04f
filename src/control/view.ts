import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { MultiIndex } from '../lib/multi-index.ts';
import type { Attachment, Kind, RecycledVolume, Replica, Snapshot, Volume } from '../model/kinds.ts';
import { annotations, replicaName } from '../model/names.ts';
import { Ledger, ledgerEntry, PoolStock, promise, Reservations } from '../placement/index.ts';
import { createInformer, type Informer } from '../store/informer.ts';
import type { Store } from '../store/store.ts';
import { Hearing } from './hearing.ts';

/**
 * The state in memory with its relations. It may lag behind the store by the time an event takes; who must not miss what
 * was written a moment ago asks the store itself.
 */
export interface View {
  readonly nodes: Informer<'Node'>;
  readonly pools: Informer<'Pool'>;
  readonly classes: Informer<'Class'>;
  readonly volumes: Informer<'Volume'>;
  readonly recycled: Informer<'RecycledVolume'>;
  readonly replicas: Informer<'Replica'>;
  readonly attachments: Informer<'Attachment'>;
  readonly snapshots: Informer<'Snapshot'>;
  readonly groups: Informer<'SnapshotGroup'>;
  readonly tasks: Informer<'Task'>;
  /** The informer of a kind; undefined for kinds that are not watched. */
  of<K extends Kind>(kind: K): Informer<K> | undefined;
  /** What is promised on each pool, the promises included that are not stored yet. */
  readonly ledger: Ledger;
  /** The pools with what is left of them, for placement. */
  readonly stock: PoolStock;
  /** What is kept for claims that have no volume yet. */
  readonly reservations: Reservations;
  /** In the order of their ordinals. */
  replicasOf(volumeId: string): readonly Replica[];
  replicasOn(poolName: string): readonly Replica[];
  attachmentsOf(volumeId: string): readonly Attachment[];
  snapshotsOf(volumeId: string): readonly Snapshot[];
  /** Entries of the recycle bin with this volume id. */
  recycledOf(volumeId: string): readonly RecycledVolume[];
  /** The living volume with this id; the one in the recycle bin is not it. */
  volumeOf(volumeId: string): Volume | undefined;
  /** How many volumes were made by the class. */
  countOfClass(className: string): number;
  /** Milliseconds since a node's agent was last heard of here. */
  silentMs(nodeName: string): number;
  readonly synced: Promise<void>;
  close(): Promise<void>;
}

/** Begins to list and watch every kind. */
export function createView(deps: { readonly store: Store; readonly log: Logger; readonly clock: Clock }): View {
  const informer = <K extends Kind>(kind: K) => createInformer(deps.store, kind, { log: deps.log, clock: deps.clock });
  const informers = {
    Node: informer('Node'),
    Pool: informer('Pool'),
    Class: informer('Class'),
    Volume: informer('Volume'),
    RecycledVolume: informer('RecycledVolume'),
    Replica: informer('Replica'),
    Attachment: informer('Attachment'),
    Snapshot: informer('Snapshot'),
    SnapshotGroup: informer('SnapshotGroup'),
    Task: informer('Task'),
  } satisfies { [K in Kind]?: Informer<K> };
  const byKind: { [K in Kind]?: Informer<K> } = informers;
  const all = Object.values(informers);
  const {
    Volume: volumes,
    RecycledVolume: recycled,
    Replica: replicas,
    Attachment: attachments,
    Snapshot: snapshots,
  } = informers;

  const ledger = new Ledger();
  const stock = new PoolStock(ledger);
  const reservations = new Reservations(ledger);
  const hearing = new Hearing();
  informers.Node.onChange(({ type, object }) => {
    if (type === 'deleted') {
      stock.deleteNode(object.metadata.name);
      hearing.forget(object.metadata.name);
      return;
    }
    stock.setNode(object);
    hearing.note(object);
  });
  informers.Pool.onChange(({ type, object }) =>
    type === 'deleted' ? stock.deletePool(object.metadata.name) : stock.setPool(object),
  );
  const replicasByVolume = new MultiIndex();
  const replicasByPool = new MultiIndex();
  const attachmentsByVolume = new MultiIndex();
  const snapshotsByVolume = new MultiIndex();
  const recycledByVolume = new MultiIndex();
  const volumesById = new MultiIndex();
  const volumesByClass = new MultiIndex();
  replicas.onChange(({ type, object }) => {
    const { name } = object.metadata;
    const gone = type === 'deleted';
    replicasByVolume.set(name, gone ? undefined : object.spec.volumeId);
    replicasByPool.set(name, gone ? undefined : object.spec.poolName);
    if (gone) ledger.delete(name);
    else ledger.set(ledgerEntry(object));
  });
  // Until a volume has its copy, what was promised to it counts: also in a process that has just begun, and in those
  // that did not promise it.
  const countPromise = (volume: Volume, gone: boolean) => {
    const { metadata, spec, status } = volume;
    const volumeId = status.volumeId ?? metadata.annotations[annotations.volumeId];
    const poolName = metadata.annotations[annotations.promisedPool];
    if (volumeId === undefined || replicasByVolume.count(volumeId) > 0) return;
    const name = replicaName(volumeId, 0);
    if (gone) ledger.delete(name);
    else if (poolName !== undefined && status.sizeBytes === 0) ledger.set(promise(name, poolName, spec));
  };
  attachments.onChange(({ type, object }) =>
    attachmentsByVolume.set(object.metadata.name, type === 'deleted' ? undefined : object.spec.volumeId),
  );
  snapshots.onChange(({ type, object }) =>
    snapshotsByVolume.set(object.metadata.name, type === 'deleted' ? undefined : object.spec.volumeId),
  );
  recycled.onChange(({ type, object }) =>
    recycledByVolume.set(object.metadata.name, type === 'deleted' ? undefined : object.spec.volumeId),
  );
  volumes.onChange(({ type, object }) => {
    const gone = type === 'deleted';
    countPromise(object, gone);
    volumesById.set(object.metadata.name, gone ? undefined : object.status.volumeId);
    volumesByClass.set(object.metadata.name, gone ? undefined : object.spec.className);
  });

  const pick = <K extends Kind>(from: Informer<K>, names: readonly string[]) => {
    const found = names.flatMap((name) => from.get(name) ?? []);
    return found.length < 2 ? found : found.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  };
  return {
    nodes: informers.Node,
    pools: informers.Pool,
    classes: informers.Class,
    volumes,
    recycled,
    replicas,
    attachments,
    snapshots,
    groups: informers.SnapshotGroup,
    tasks: informers.Task,
    of: (kind) => byKind[kind],
    ledger,
    stock,
    reservations,
    replicasOf: (volumeId) => pick(replicas, replicasByVolume.members(volumeId)),
    replicasOn: (poolName) => pick(replicas, replicasByPool.members(poolName)),
    attachmentsOf: (volumeId) => pick(attachments, attachmentsByVolume.members(volumeId)),
    snapshotsOf: (volumeId) => pick(snapshots, snapshotsByVolume.members(volumeId)),
    recycledOf: (volumeId) => pick(recycled, recycledByVolume.members(volumeId)),
    volumeOf: (volumeId) => pick(volumes, volumesById.members(volumeId))[0],
    silentMs: (nodeName) => hearing.silentMs(nodeName),
    countOfClass: (className) => volumesByClass.count(className),
    synced: Promise.all(all.map((each) => each.synced)).then(() => {}),
    close: async () => {
      await Promise.all(all.map((each) => each.close()));
    },
  };
}
