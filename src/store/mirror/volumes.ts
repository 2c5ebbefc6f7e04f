import type { Attachment, Replica, Volume } from '../../model/kinds.ts';
import { apiVersion } from '../../model/meta.ts';
import { annotations, replicaOrdinal } from '../../model/names.ts';
import type { VolumeStatus } from '../../model/volume.ts';

/**
 * The Volume that a node needs to know of what it holds: made from its Replicas, which say all of it. So a node watches
 * its own few objects only, and no cluster is asked when the kubelet wants a volume. Pure.
 *
 * @param replicas those of one volume on this node, in any order
 * @returns undefined when none of them is to be used as a volume
 */
export function volumeOnNode(
  name: string,
  replicas: readonly Replica[],
  attachments: readonly Attachment[],
): Volume | undefined {
  const candidates = replicas
    .filter(({ spec }) => spec.volumeName === name && spec.recycled === undefined)
    .sort((a, b) => replicaOrdinal(a.metadata.name) - replicaOrdinal(b.metadata.name));
  const staying = candidates.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  const used = staying.findLast(({ status }) => status.sizeBytes > 0) ?? staying[0] ?? candidates.at(-1);
  if (!used) return undefined;
  const { spec, status } = used;
  return {
    apiVersion,
    kind: 'Volume',
    metadata: {
      name,
      uid: spec.volumeUid,
      resourceVersion: '',
      generation: Math.max(1, spec.volumeGeneration),
      creationTimestamp: spec.volumeCreatedAt,
      finalizers: [],
      ownerReferences: [],
      labels: {},
      annotations: { [annotations.mirrored]: used.metadata.name },
    },
    spec: {
      sizeBytes: spec.sizeBytes,
      className: spec.className === '' ? 'local-xfs' : spec.className,
      mode: spec.mode,
      policy: spec.policy,
      nodeNames: [spec.nodeName],
      recycleMs: 0,
      ...(spec.claim ? { claim: spec.claim } : {}),
    },
    status: {
      observedGeneration: Math.max(1, spec.volumeGeneration),
      phase: phaseOf(used),
      volumeId: spec.volumeId,
      sizeBytes: status.sizeBytes,
      replicas: staying.map((replica) => ({
        replicaName: replica.metadata.name,
        nodeName: replica.spec.nodeName,
        poolName: replica.spec.poolName,
        phase: replica.status.phase,
      })),
      ...(status.exclusiveBytes === undefined ? {} : { exclusiveBytes: status.exclusiveBytes }),
      ...(status.sharedBytes === undefined ? {} : { sharedBytes: status.sharedBytes }),
      attachedTo: attachments
        .filter((one) => one.spec.volumeId === spec.volumeId && one.status.phase === 'Attached')
        .map((one) => one.spec.nodeName),
      causes: status.causes,
    },
  };
}

function phaseOf({ metadata, spec, status }: Replica): VolumeStatus['phase'] {
  if (metadata.deletionTimestamp !== undefined) return 'Deleting';
  if (status.phase === 'Failed') return 'Failed';
  if (status.sizeBytes === 0) return 'Creating';
  return status.sizeBytes < spec.sizeBytes ? 'Expanding' : 'Ready';
}

/** Whether a Volume of the node's store was made by volumeOnNode(), and so is its to change and to remove. */
export function isMadeHere(volume: Volume): boolean {
  return volume.metadata.annotations[annotations.mirrored] !== undefined;
}
