import { AttachmentSpec, AttachmentStatus } from '../../model/attachment.ts';
import type { Attachment, NewResource, Pool, Replica } from '../../model/kinds.ts';
import { apiVersion, type ObjectMeta } from '../../model/meta.ts';
import { finalizers } from '../../model/names.ts';
import { Policy } from '../../model/policy.ts';
import { PoolSpec, PoolStatus } from '../../model/pool.ts';
import { ReplicaSpec, ReplicaStatus } from '../../model/replica.ts';

/** Objects for the mirror's tests: of node `one`, unless told. */

export const nodeName = 'one';

export function newReplica(volumeId: string, more: Partial<Replica['spec']> = {}): NewResource<'Replica'> {
  return {
    kind: 'Replica',
    metadata: { name: `${volumeId}-0`, finalizers: [finalizers.agent] },
    spec: replicaSpec(volumeId, more),
  };
}

export function replicaSpec(volumeId: string, more: Partial<Replica['spec']> = {}): Replica['spec'] {
  return ReplicaSpec.parse({
    volumeName: `name-of-${volumeId}`,
    volumeUid: `uid-of-${volumeId}`,
    volumeId,
    nodeName,
    poolName: 'main',
    sizeBytes: 1 << 20,
    mode: 'filesystem',
    policy: Policy.parse({}),
    volumeCreatedAt: '2026-01-01T00:00:00.000Z',
    volumeGeneration: 1,
    ...more,
  });
}

export function newAttachment(volumeId: string, more: Partial<Attachment['spec']> = {}): NewResource<'Attachment'> {
  return {
    kind: 'Attachment',
    metadata: { name: `${volumeId}-${nodeName}`, finalizers: [finalizers.agent] },
    spec: attachmentSpec(volumeId, more),
  };
}

export function attachmentSpec(volumeId: string, more: Partial<Attachment['spec']> = {}): Attachment['spec'] {
  return AttachmentSpec.parse({
    volumeName: `name-of-${volumeId}`,
    volumeUid: `uid-of-${volumeId}`,
    volumeId,
    nodeName,
    access: 'filesystem',
    origin: 'publish',
    staged: false,
    ...more,
  });
}

function meta(name: string, uid: string, generation: number): ObjectMeta {
  return {
    name,
    uid,
    resourceVersion: '1',
    generation,
    creationTimestamp: '2026-01-01T00:00:00.000Z',
    finalizers: [finalizers.agent],
    ownerReferences: [],
    labels: {},
    annotations: {},
  };
}

/** An attachment as a store would hand it out. */
export function attachment(uid: string, generation: number, spec: Partial<Attachment['spec']> = {}): Attachment {
  return {
    apiVersion,
    kind: 'Attachment',
    metadata: meta('v1-one', uid, generation),
    spec: attachmentSpec('v1', spec),
    status: AttachmentStatus.parse({}),
  };
}

/** A replica as a store would hand it out. */
export function replica(uid: string, generation: number, spec: Partial<Replica['spec']> = {}): Replica {
  return {
    apiVersion,
    kind: 'Replica',
    metadata: meta('v1-0', uid, generation),
    spec: replicaSpec('v1', spec),
    status: ReplicaStatus.parse({}),
  };
}

/** A pool as a store would hand it out. */
export function pool(uid: string, generation: number): Pool {
  return {
    apiVersion,
    kind: 'Pool',
    metadata: meta('main', uid, generation),
    spec: PoolSpec.parse({ nodeName, source: { kind: 'directory', path: '/pools/main' } }),
    status: PoolStatus.parse({}),
  };
}
