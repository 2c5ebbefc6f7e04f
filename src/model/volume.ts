import { z } from 'zod';
import { Cause } from './cause.ts';
import { ClaimRef } from './claim.ts';
import { Bytes, Name, NodeName, Timestamp } from './meta.ts';
import { Policy } from './policy.ts';

/** The sector size of every layer; sizes of volumes are multiples of it. */
export const sectorBytes = 4096;

/** When a volume gave back what its file system does not use, and how much the file system says that was. */
export const Trimmed = z.object({ at: Timestamp, trimmedBytes: Bytes, requestId: z.string().optional() });

/** A request to bring an encrypted volume to another key; done once for each requestId. */
export const ChangeKey = z
  .object({
    requestId: z.string().max(64),
    keyFile: z.string().startsWith('/').max(4095).describe('File on the node with the new key'),
    previousKeyFile: z.string().startsWith('/').max(4095).describe('File on the node with the key before'),
  })
  .strict();

export const VolumeSource = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('snapshot'), name: Name }).strict(),
  z.object({ kind: z.literal('volume'), name: Name }).strict(),
]);
export type VolumeSource = z.infer<typeof VolumeSource>;

export const VolumeSpec = z
  .object({
    sizeBytes: Bytes,
    className: Name.default('local-xfs'),
    mode: z.enum(['filesystem', 'block']).default('filesystem'),
    /** Filled from the class when the volume is made. */
    policy: Policy.prefault({}),
    source: VolumeSource.optional().describe('Made from a snapshot or as a clone of a volume'),
    poolName: Name.optional().describe('Pins the volume to one pool; drain changes it'),
    nodeNames: z.array(NodeName).max(64).optional().describe('Only on these nodes, the first ones preferred'),
    claim: ClaimRef.optional(),
    /** A request to put a snapshot back in place; done once for each requestId. */
    restore: z.object({ snapshotName: Name, requestId: z.string().max(64) }).optional(),
    /** A request to check and repair the file system; done once for each requestId. */
    repair: z.object({ requestId: z.string().max(64) }).optional(),
    /** A request to give back what the mounted file system does not use; done once for each requestId. */
    trim: z.object({ requestId: z.string().max(64) }).optional(),
    changeKey: ChangeKey.optional(),
    recycleMs: z
      .int()
      .min(0)
      .default(24 * 3_600_000),
  })
  .strict();

export const VolumeStatus = z.object({
  observedGeneration: z.int().default(0),
  phase: z
    .enum(['Pending', 'Creating', 'Ready', 'Expanding', 'Restoring', 'Moving', 'Deleting', 'Failed'])
    .default('Pending'),
  /** The short id that names the volume's files and devices. */
  volumeId: z.string().optional(),
  sizeBytes: Bytes.default(0),
  replicas: z.array(z.object({ replicaName: Name, nodeName: NodeName, poolName: Name, phase: z.string() })).default([]),
  /** Bytes that only this volume holds; deleting it gives these back. */
  exclusiveBytes: Bytes.optional(),
  /** Bytes shared with snapshots or clones. */
  sharedBytes: Bytes.optional(),
  extents: z.int().optional(),
  attachedTo: z.array(NodeName).default([]),
  restore: z.object({ requestId: z.string(), finishedAt: Timestamp }).optional(),
  repair: z.object({ requestId: z.string(), finishedAt: Timestamp, outcome: z.string() }).optional(),
  trim: Trimmed.optional(),
  changeKey: z.object({ requestId: z.string(), finishedAt: Timestamp, outcome: z.string() }).optional(),
  causes: z.array(Cause).default([]),
});
export type VolumeSpec = z.infer<typeof VolumeSpec>;
export type VolumeStatus = z.infer<typeof VolumeStatus>;

/**
 * A deleted volume in the recycle bin. A kind of its own, since Kubernetes cannot take back a deletion and the name is
 * free for a new volume at once.
 */
export const RecycledVolumeSpec = z
  .object({
    volumeName: Name,
    volumeId: z.string(),
    volume: VolumeSpec,
    replicaNames: z.array(Name),
    deletedAt: Timestamp,
    expiresAt: Timestamp,
  })
  .strict();
export const RecycledVolumeStatus = z.object({
  phase: z.enum(['Recycling', 'Recycled', 'Purging']).default('Recycling'),
  usedBytes: Bytes.default(0),
  causes: z.array(Cause).default([]),
});
export type RecycledVolumeSpec = z.infer<typeof RecycledVolumeSpec>;
export type RecycledVolumeStatus = z.infer<typeof RecycledVolumeStatus>;
