import type { AttachmentSpec } from '../../model/attachment.ts';
import type { Attachment, Resource, SpecOf } from '../../model/kinds.ts';
import { annotations, finalizers } from '../../model/names.ts';

/** The kinds whose specs flow down to the node and whose statuses flow up. */
export const mirrorKinds = ['Node', 'Pool', 'Replica', 'Attachment', 'Snapshot', 'SnapshotGroup'] as const;
export type MirrorKind = (typeof mirrorKinds)[number];

/** An object of one of these kinds; the plan treats them alike. */
export type Mirrored<K extends MirrorKind = MirrorKind> = Resource<K>;

/** Kinds whose objects stand for something on the node, so that an agent has to let them go. */
const held: readonly MirrorKind[] = ['Pool', 'Replica', 'Attachment', 'Snapshot'];

/** Whether objects of the kind are held by the agent's finalizer. */
export function isHeld(kind: MirrorKind): boolean {
  return held.includes(kind);
}

export function hasFinalizer(object: Mirrored, finalizer: string): boolean {
  return object.metadata.finalizers.includes(finalizer);
}

/** Whether an object of the node's store is the copy of one of the cluster's, and not the node's own. */
export function isCopy(local: Mirrored): boolean {
  return hasFinalizer(local, finalizers.mirror);
}

/** What of an Attachment the kubelet's calls decide on the node, unless the cluster itself asked for a mount. */
const nodeOwned = ['staged', 'stagingPath', 'published', 'mountOptions', 'observeRequestId'] as const;

/** The spec that the node's copy is to have: each field from the side that writes it. */
export function specOfCopy<K extends MirrorKind>(remote: Resource<K>, local: Resource<K> | undefined): SpecOf<K> {
  if (remote.kind !== 'Attachment' || local === undefined) return remote.spec;
  return attachmentSpec(remote.spec as AttachmentSpec, local.spec as AttachmentSpec) as SpecOf<K>;
}

function attachmentSpec(remote: AttachmentSpec, local: AttachmentSpec): AttachmentSpec {
  // Whatever is written into the cluster's object, it does not take what the kubelet mounted from beneath its pods.
  const isPods = local.origin !== 'mount' && isInUse(local);
  if (remote.origin === 'mount' && !isPods) return remote;
  const origin = remote.origin === 'mount' ? local.origin : remote.origin;
  const spec: Partial<Record<keyof AttachmentSpec, unknown>> = { ...remote, origin };
  for (const field of nodeOwned) {
    delete spec[field];
    if (local[field] !== undefined) spec[field] = local[field];
  }
  return spec as AttachmentSpec;
}

/**
 * Whether two objects of one name stand for the same thing on the node, though one was made anew: then the data here is
 * what the other one means.
 */
export function isSameThing(local: Mirrored, remote: Mirrored): boolean {
  const key = (object: Mirrored): unknown => {
    switch (object.kind) {
      case 'Pool': {
        const { engine, nodeName, source } = object.spec as SpecOf<'Pool'>;
        // A typed consent is no part of the place.
        return [engine, nodeName, source.kind, 'path' in source ? source.path : source];
      }
      case 'Replica': {
        const { volumeId, poolName } = object.spec as SpecOf<'Replica'>;
        return [volumeId, poolName];
      }
      case 'Attachment':
        return (object.spec as SpecOf<'Attachment'>).volumeId;
      case 'Snapshot': {
        const { volumeId, snapshotId } = object.spec as SpecOf<'Snapshot'>;
        return [volumeId, snapshotId];
      }
      default:
        return object.metadata.name;
    }
  };
  return JSON.stringify(key(local)) === JSON.stringify(key(remote));
}

/**
 * Whether the cluster should know an object that the node has made by itself: what a machine had before it joined the
 * cluster. Attachments say nothing that is not in the mount table too.
 */
export function isWorthKnowing(local: Mirrored): boolean {
  const { annotations: noted } = local.metadata;
  return ['Pool', 'Replica', 'Snapshot'].includes(local.kind) && noted[annotations.nodeOnly] === undefined;
}

/** What else the node has. */
export interface Surroundings {
  /** Whether there is a copy of the volume's bytes here. */
  readonly hasReplica: (volumeId: string) => boolean;
  /** Names of the volumes that have a copy on a pool. */
  readonly volumesOn: (poolName: string) => readonly string[];
  /** Whether the kubelet uses the volume here. */
  readonly isUsed: (volumeId: string) => boolean;
}

/** Whether the kubelet has the volume staged or published through this attachment: then pods may be running on it. */
export function isKubelets({ spec }: Attachment): boolean {
  return spec.origin !== 'mount' && isInUse(spec);
}

function isInUse({ staged, published }: AttachmentSpec): boolean {
  return staged || published.length > 0;
}

/**
 * Whether the cluster's wish to delete an object is kept from the agent for now: it would take mounts down beneath running
 * pods. Objects are deleted in many ways (with their CRD, by the garbage collector, by hand, by a detach that did not
 * wait), and none of them ends a pod. The kubelet unstages what its pods no longer need, and then the deletion goes on.
 */
export function isWithheld(local: Mirrored, remote: Mirrored, around: Surroundings): boolean {
  if (remote.metadata.deletionTimestamp === undefined || local.metadata.deletionTimestamp !== undefined) return false;
  if (local.kind === 'Attachment') return isKubelets(local as Attachment);
  // The node could not take up one that is made again under this name while its own is on its way out.
  if (local.kind === 'Pool') return around.volumesOn(local.metadata.name).length > 0;
  if (local.kind !== 'Replica') return false;
  // With consent to destroy it is the old copy of a volume that has moved on.
  const { purge, volumeId } = remote.spec as SpecOf<'Replica'>;
  return !purge && around.isUsed(volumeId);
}

/** Whether a copy may be let go on the node when the cluster knows it no more: nothing is lost with it. */
export function isDispensable(local: Mirrored, around: Surroundings): boolean {
  switch (local.kind) {
    case 'SnapshotGroup':
      return true;
    case 'Attachment': {
      const spec = local.spec as SpecOf<'Attachment'>;
      return spec.origin !== 'mount' && !isInUse(spec);
    }
    case 'Snapshot': {
      const { volumeId } = local.spec as SpecOf<'Snapshot'>;
      return volumeId === undefined || !around.hasReplica(volumeId);
    }
    default:
      return false;
  }
}
