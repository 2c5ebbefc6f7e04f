import { MultiIndex } from '../lib/multi-index.ts';
import type { Attachment, Kind, Pool, Replica, Snapshot, SnapshotGroup } from '../model/kinds.ts';
import { replicaOrdinal } from '../model/names.ts';
import { presentDisks } from '../model/pool.ts';
import { Ledger, ledgerEntry } from '../placement/index.ts';
import { createInformer, type Informer } from '../store/informer.ts';
import type { AgentDeps } from './deps.ts';

/** What is wanted of this node, in memory. */
export interface AgentState {
  readonly pools: Informer<'Pool'>;
  readonly replicas: Informer<'Replica'>;
  readonly attachments: Informer<'Attachment'>;
  readonly snapshots: Informer<'Snapshot'>;
  readonly groups: Informer<'SnapshotGroup'>;
  /** What is promised on the pools. */
  readonly ledger: Ledger;
  /** Pools of this node. */
  ownPools(): readonly Pool[];
  /** Of this node, in the order of their ordinals. */
  replicasOf(volumeId: string): readonly Replica[];
  replicasOn(poolName: string): readonly Replica[];
  attachmentOf(volumeId: string): Attachment | undefined;
  ownAttachments(): readonly Attachment[];
  snapshotsOf(volumeId: string): readonly Snapshot[];
  group(name: string): SnapshotGroup | undefined;
  /** Ids of volumes whose move to another pool is not at its end. */
  movingVolumeIds(): readonly string[];
  /** Ids of all volumes that something is wanted of here. */
  volumeIds(): readonly string[];
  readonly synced: Promise<void>;
  close(): Promise<void>;
}

/** Begins to list and watch what concerns the node. */
export function createState(deps: AgentDeps): AgentState {
  const own = (nodeName: string | undefined) => nodeName === deps.nodeName;
  const made: { close(): Promise<void> }[] = [];
  const stops: (() => void)[] = [];
  const informer = <K extends Kind>(kind: K): Informer<K> => {
    const shared = deps.informers?.of(kind);
    if (shared) return untilClosed(shared, stops);
    const one = createInformer(deps.store, kind, { log: deps.log, clock: deps.clock });
    made.push(one);
    return one;
  };
  const pools = informer('Pool');
  const replicas = informer('Replica');
  const attachments = informer('Attachment');
  const snapshots = informer('Snapshot');
  const groups = informer('SnapshotGroup');
  const all = [pools, replicas, attachments, snapshots, groups];

  const ledger = new Ledger();
  const replicasByVolume = new MultiIndex();
  const replicasByPool = new MultiIndex();
  const attachmentsByVolume = new MultiIndex();
  const snapshotsByVolume = new MultiIndex();
  replicas.onChange(({ type, object }) => {
    const { name } = object.metadata;
    const here = type !== 'deleted' && own(object.spec.nodeName);
    replicasByVolume.set(name, here ? object.spec.volumeId : undefined);
    replicasByPool.set(name, here ? object.spec.poolName : undefined);
    if (here) ledger.set(ledgerEntry(object));
    else ledger.delete(name);
  });
  pools.onChange(({ type, object }) =>
    ledger.setDisks(object.metadata.name, type === 'deleted' ? 0 : presentDisks(object.status)),
  );
  attachments.onChange(({ type, object }) =>
    attachmentsByVolume.set(
      object.metadata.name,
      type !== 'deleted' && own(object.spec.nodeName) ? object.spec.volumeId : undefined,
    ),
  );
  snapshots.onChange(({ type, object }) =>
    snapshotsByVolume.set(
      object.metadata.name,
      type !== 'deleted' && own(object.spec.nodeName) ? object.spec.volumeId : undefined,
    ),
  );

  const pick = <K extends Kind>(from: Informer<K>, names: readonly string[]) =>
    names.flatMap((name) => from.get(name) ?? []);
  return {
    pools,
    replicas,
    attachments,
    snapshots,
    groups,
    ledger,
    ownPools: () => pools.list().filter((pool) => own(pool.spec.nodeName)),
    replicasOf: (volumeId) =>
      pick(replicas, replicasByVolume.members(volumeId)).sort(
        (a, b) => replicaOrdinal(a.metadata.name) - replicaOrdinal(b.metadata.name),
      ),
    replicasOn: (poolName) => pick(replicas, replicasByPool.members(poolName)),
    attachmentOf: (volumeId) => pick(attachments, attachmentsByVolume.members(volumeId))[0],
    ownAttachments: () => attachments.list().filter((attachment) => own(attachment.spec.nodeName)),
    snapshotsOf: (volumeId) => pick(snapshots, snapshotsByVolume.members(volumeId)),
    group: (name) => groups.get(name),
    movingVolumeIds: () =>
      replicas
        .list()
        .filter(
          ({ metadata, spec, status }) =>
            own(spec.nodeName) &&
            spec.source?.kind === 'move' &&
            status.sizeBytes === 0 &&
            metadata.deletionTimestamp === undefined,
        )
        .map(({ spec }) => spec.volumeId),
    volumeIds: () => [
      ...new Set([...replicasByVolume.groups(), ...attachmentsByVolume.groups(), ...snapshotsByVolume.groups()]),
    ],
    synced: Promise.all(all.map((each) => each.synced)).then(() => {}),
    close: async () => {
      for (const stop of stops) stop();
      await Promise.all(made.map((each) => each.close()));
    },
  };
}

/** An informer whose listeners all end together, while it goes on for others. */
function untilClosed<K extends Kind>(shared: Informer<K>, stops: (() => void)[]): Informer<K> {
  return {
    kind: shared.kind,
    synced: shared.synced,
    get: (name) => shared.get(name),
    list: () => shared.list(),
    onChange: (listener) => {
      const stop = shared.onChange(listener);
      stops.push(stop);
      return stop;
    },
    close: async () => {},
  };
}
