import { MultiIndex } from '../../lib/multi-index.ts';
import type { Attachment, Replica, Resource, Snapshot } from '../../model/kinds.ts';
import type { Informer } from '../informer.ts';
import type { MirrorKind } from './flows.ts';

/** What all objects of these kinds are held in, on one side. */
export type Informers = { readonly [K in MirrorKind]: Informer<K> };

/** What belongs to one volume or pool, found without a look at all others: a change of one of them comes for each pod that starts. */
export class ByVolume {
  /** Of the node's store, by the name of the volume. */
  readonly replicasNamed: (volumeName: string) => readonly Replica[];
  /** Of the node's store, by the name of the pool. */
  readonly replicasOn: (poolName: string) => readonly Replica[];
  /** Of the node's store, by the id of the volume; so are the next two. */
  readonly replicas: (volumeId: string) => readonly Replica[];
  readonly attachments: (volumeId: string) => readonly Attachment[];
  readonly snapshots: (volumeId: string) => readonly Snapshot[];
  /** Of the cluster, by the id of the volume. */
  readonly replicasThere: (volumeId: string) => readonly Replica[];

  /** Listens to the informers; whoever listens to them later finds here what it was told of. */
  constructor(here: Informers, there: Informers) {
    this.replicasNamed = index(here.Replica, ({ spec }) => spec.volumeName);
    this.replicasOn = index(here.Replica, ({ spec }) => spec.poolName);
    this.replicas = index(here.Replica, ({ spec }) => spec.volumeId);
    this.attachments = index(here.Attachment, ({ spec }) => spec.volumeId);
    this.snapshots = index(here.Snapshot, ({ spec }) => spec.volumeId);
    this.replicasThere = index(there.Replica, ({ spec }) => spec.volumeId);
  }
}

/** @returns the objects of a group, in the order of names */
function index<K extends MirrorKind>(
  informer: Informer<K>,
  groupOf: (object: Resource<K>) => string | undefined,
): (group: string) => readonly Resource<K>[] {
  const names = new MultiIndex();
  informer.onChange(({ type, object }) =>
    names.set(object.metadata.name, type === 'deleted' ? undefined : groupOf(object)),
  );
  return (group) =>
    [...names.members(group)].sort().flatMap((name) => {
      const object = informer.get(name);
      return object ? [object] : [];
    });
}
