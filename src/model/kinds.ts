import { z } from 'zod';
import { AttachmentSpec, AttachmentStatus } from './attachment.ts';
import { BackupSpec, BackupStatus, RepositorySpec, RepositoryStatus, ScheduleSpec, ScheduleStatus } from './backup.ts';
import { ClassSpec, ClassStatus } from './class.ts';
import { apiVersion, Name, type NewMeta, NodeName, ObjectMeta } from './meta.ts';
import { NodeSpec, NodeStatus } from './node.ts';
import { PoolSpec, PoolStatus } from './pool.ts';
import { ReplicaSpec, ReplicaStatus } from './replica.ts';
import { SnapshotGroupSpec, SnapshotGroupStatus, SnapshotSpec, SnapshotStatus } from './snapshot.ts';
import { TaskSpec, TaskStatus } from './task.ts';
import { RecycledVolumeSpec, RecycledVolumeStatus, VolumeSpec, VolumeStatus } from './volume.ts';

/**
 * All kinds of object. Adding one here gives it a place in the store, the API, the OpenAPI document, `-o json`, and
 * a CustomResourceDefinition.
 *
 * served: whether the HTTP API offers it; the kinds of features that are not there yet are not.
 * fields: what lists and watches may select by, besides metadata.name; at most eight, all strings (Kubernetes' limits).
 */
export const kinds = {
  Node: { plural: 'nodes', shortNames: ['no'], served: true, fields: [], spec: NodeSpec, status: NodeStatus },
  Pool: {
    plural: 'pools',
    shortNames: ['po'],
    served: true,
    fields: ['spec.nodeName'],
    spec: PoolSpec,
    status: PoolStatus,
  },
  Class: { plural: 'classes', shortNames: ['cl'], served: true, fields: [], spec: ClassSpec, status: ClassStatus },
  Volume: {
    plural: 'volumes',
    shortNames: ['vol'],
    served: true,
    fields: ['spec.className', 'spec.poolName', 'status.volumeId'],
    spec: VolumeSpec,
    status: VolumeStatus,
  },
  RecycledVolume: {
    plural: 'recycledvolumes',
    shortNames: ['rv'],
    served: true,
    fields: ['spec.volumeName', 'spec.volumeId'],
    spec: RecycledVolumeSpec,
    status: RecycledVolumeStatus,
  },
  Replica: {
    plural: 'replicas',
    shortNames: ['rep'],
    served: true,
    fields: ['spec.nodeName', 'spec.poolName', 'spec.volumeName', 'spec.volumeId'],
    spec: ReplicaSpec,
    status: ReplicaStatus,
  },
  Attachment: {
    plural: 'attachments',
    shortNames: ['att'],
    served: true,
    fields: ['spec.nodeName', 'spec.volumeName', 'spec.volumeId'],
    spec: AttachmentSpec,
    status: AttachmentStatus,
  },
  Snapshot: {
    plural: 'snapshots',
    shortNames: ['snap'],
    served: true,
    fields: ['spec.nodeName', 'spec.poolName', 'spec.volumeName', 'spec.volumeId', 'spec.groupName'],
    spec: SnapshotSpec,
    status: SnapshotStatus,
  },
  SnapshotGroup: {
    plural: 'snapshotgroups',
    shortNames: ['sg'],
    served: true,
    fields: ['spec.nodeName'],
    spec: SnapshotGroupSpec,
    status: SnapshotGroupStatus,
  },
  Repository: {
    plural: 'repositories',
    shortNames: ['repo'],
    served: false,
    fields: [],
    spec: RepositorySpec,
    status: RepositoryStatus,
  },
  Backup: {
    plural: 'backups',
    shortNames: ['bk'],
    served: false,
    fields: ['spec.repositoryName', 'spec.volumeName'],
    spec: BackupSpec,
    status: BackupStatus,
  },
  Schedule: {
    plural: 'schedules',
    shortNames: ['sch'],
    served: false,
    fields: [],
    spec: ScheduleSpec,
    status: ScheduleStatus,
  },
  Task: {
    plural: 'tasks',
    shortNames: ['ta'],
    served: true,
    fields: ['spec.nodeName', 'spec.verb'],
    spec: TaskSpec,
    status: TaskStatus,
  },
} as const;

export type Kind = keyof typeof kinds;
export const kindNames = Object.keys(kinds) as Kind[];

export type SpecOf<K extends Kind> = z.output<(typeof kinds)[K]['spec']>;
export type StatusOf<K extends Kind> = z.output<(typeof kinds)[K]['status']>;

/** A stored object: the Kubernetes shape. */
export interface Resource<K extends Kind = Kind> {
  readonly apiVersion: typeof apiVersion;
  readonly kind: K;
  readonly metadata: ObjectMeta;
  readonly spec: SpecOf<K>;
  readonly status: StatusOf<K>;
}

/** What is handed to Store.create(). */
export interface NewResource<K extends Kind = Kind> {
  readonly kind: K;
  readonly metadata: NewMeta;
  readonly spec: z.input<(typeof kinds)[K]['spec']>;
  readonly status?: z.input<(typeof kinds)[K]['status']>;
}

export type Volume = Resource<'Volume'>;
export type RecycledVolume = Resource<'RecycledVolume'>;
export type Replica = Resource<'Replica'>;
export type Attachment = Resource<'Attachment'>;
export type Snapshot = Resource<'Snapshot'>;
export type SnapshotGroup = Resource<'SnapshotGroup'>;
export type Pool = Resource<'Pool'>;
export type Node = Resource<'Node'>;
export type Class = Resource<'Class'>;
export type Task = Resource<'Task'>;

/** What names of a kind look like: nodes are called as Kubernetes calls them, all others by a label. */
export function nameOf(kind: Kind): z.ZodString {
  return kind === 'Node' ? NodeName : Name;
}

/** The zod schema of a whole object of the kind. */
export function resourceSchema<K extends Kind>(kind: K) {
  return z.object({
    apiVersion: z.literal(apiVersion),
    kind: z.literal(kind),
    metadata: ObjectMeta.extend({ name: nameOf(kind) }),
    spec: kinds[kind].spec,
    status: kinds[kind].status,
  });
}

/** The kind whose plural, short name or own name this is, whatever its case. */
export function kindFromWord(word: string): Kind | undefined {
  const lower = word.toLowerCase();
  return kindNames.find(
    (kind) =>
      kind.toLowerCase() === lower ||
      kinds[kind].plural === lower ||
      (kinds[kind].shortNames as readonly string[]).includes(lower),
  );
}
