import type { Cause } from '../model/cause.ts';
import type { Kind, Resource } from '../model/kinds.ts';

/** One object of a chain of dependencies. */
export interface Subject {
  readonly kind: Kind;
  readonly name: string;
}

/** The objects as they are related; the caller hands over functions on what it has in memory. */
export interface Relations {
  get<K extends Kind>(kind: K, name: string): Resource<K> | undefined;
  /** All of a kind. */
  list<K extends Kind>(kind: K): readonly Resource<K>[];
  replicasOf(volumeId: string): readonly Resource<'Replica'>[];
  attachmentsOf(volumeId: string): readonly Resource<'Attachment'>[];
}

/** The causes that an object says it has. */
export function causesOf(relations: Relations, { kind, name }: Subject): readonly Cause[] {
  const object = relations.get(kind, name);
  if (!object) return [];
  const { status } = object as { readonly status: { readonly causes?: readonly Cause[]; readonly cause?: Cause } };
  return status.causes ?? (status.cause ? [status.cause] : []);
}

/** What an object directly depends on, what is nearer to the hardware later. */
export function dependenciesOf(relations: Relations, { kind, name }: Subject): readonly Subject[] {
  switch (kind) {
    case 'Volume':
      return ofVolume(relations, name);
    case 'RecycledVolume': {
      const entry = relations.get('RecycledVolume', name);
      return entry ? replicas(relations, entry.spec.volumeId) : [];
    }
    case 'Attachment': {
      const attachment = relations.get('Attachment', name);
      return attachment ? [...replicas(relations, attachment.spec.volumeId), node(attachment.spec.nodeName)] : [];
    }
    case 'Replica': {
      const replica = relations.get('Replica', name);
      if (!replica) return [];
      const { source, poolName, nodeName } = replica.spec;
      const from = source && source.poolName !== poolName ? [pool(source.poolName)] : [];
      return [...from, pool(poolName), node(nodeName)];
    }
    case 'Pool': {
      const found = relations.get('Pool', name);
      return found ? [node(found.spec.nodeName)] : [];
    }
    case 'Snapshot': {
      const volumeId = relations.get('Snapshot', name)?.spec.volumeId;
      return volumeId === undefined ? [] : replicas(relations, volumeId);
    }
    case 'SnapshotGroup':
      return relations
        .list('Snapshot')
        .filter((snapshot) => snapshot.spec.groupName === name)
        .map((snapshot) => ({ kind: 'Snapshot', name: snapshot.metadata.name }));
    case 'Task': {
      const subject = relations.get('Task', name)?.spec.subject;
      return subject && relations.get(subject.kind as Kind, subject.name)
        ? [{ kind: subject.kind as Kind, name: subject.name }]
        : [];
    }
    default:
      return [];
  }
}

function ofVolume(relations: Relations, name: string): readonly Subject[] {
  const volume = relations.get('Volume', name);
  if (!volume) return [];
  const { volumeId } = volume.status;
  if (volumeId === undefined) return [];
  const attachments = relations
    .attachmentsOf(volumeId)
    .map(({ metadata }): Subject => ({ kind: 'Attachment', name: metadata.name }));
  const own = replicas(relations, volumeId);
  const { source } = volume.spec;
  // Only while it waits for its source does the source matter.
  const from: Subject[] =
    own.length === 0 && source ? [{ kind: source.kind === 'volume' ? 'Volume' : 'Snapshot', name: source.name }] : [];
  return [...from, ...attachments, ...own];
}

function replicas(relations: Relations, volumeId: string): readonly Subject[] {
  return relations.replicasOf(volumeId).map(({ metadata }) => ({ kind: 'Replica', name: metadata.name }));
}

const pool = (name: string): Subject => ({ kind: 'Pool', name });
const node = (name: string): Subject => ({ kind: 'Node', name });
