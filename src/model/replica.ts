import { z } from 'zod';
import { Cause } from './cause.ts';
import { ClaimRef } from './claim.ts';
import { Bytes, Name, NodeName, Timestamp } from './meta.ts';
import { Policy } from './policy.ts';
import { ChangeKey, Trimmed } from './volume.ts';

/**
 * One copy of a volume's bytes on one pool. control/ writes spec; the agent of spec.nodeName converges to it and
 * writes status. The name is `<volumeId>-<ordinal>`.
 */
export const ReplicaSpec = z
  .object({
    volumeName: Name,
    volumeUid: z.string(),
    volumeId: z.string(),
    nodeName: NodeName,
    poolName: Name,
    sizeBytes: Bytes,
    mode: z.enum(['filesystem', 'block']),
    policy: Policy,
    /** For the identity beside the data. */
    className: z.string().default(''),
    /** Bytes to start from; resolved to ids that stay true when names change. */
    source: z
      .discriminatedUnion('kind', [
        z
          .object({ kind: z.literal('snapshot'), volumeId: z.string(), snapshotId: z.string(), poolName: Name })
          .strict(),
        z.object({ kind: z.literal('replica'), volumeId: z.string(), poolName: Name }).strict(),
        /** A move: the old replica is deleted when this one is ready. */
        z.object({ kind: z.literal('move'), volumeId: z.string(), poolName: Name }).strict(),
      ])
      .optional(),
    claim: ClaimRef.optional(),
    volumeCreatedAt: Timestamp,
    volumeGeneration: z.int(),
    restore: z.object({ snapshotId: z.string(), requestId: z.string() }).optional(),
    repair: z.object({ requestId: z.string() }).optional(),
    trim: z.object({ requestId: z.string() }).optional(),
    changeKey: ChangeKey.optional(),
    /** Set while the volume rests in the recycle bin. */
    recycled: z.object({ deletedAt: Timestamp, expiresAt: Timestamp }).optional(),
    /** Consent to destroy the data with the object; without it a deleted replica leaves its data on the pool. */
    purge: z.boolean().optional(),
  })
  .strict();

export const ReplicaStatus = z.object({
  observedGeneration: z.int().default(0),
  phase: z.enum(['Pending', 'Creating', 'Ready', 'Recycled', 'Failed']).default('Pending'),
  sizeBytes: Bytes.default(0),
  exclusiveBytes: Bytes.optional(),
  sharedBytes: Bytes.optional(),
  extents: z.int().optional(),
  restoredRequestId: z.string().optional(),
  repair: z.object({ requestId: z.string(), outcome: z.string() }).optional(),
  changeKey: z.object({ requestId: z.string(), outcome: z.string() }).optional(),
  /** The last time that it gave unused bytes back. */
  trim: Trimmed.optional(),
  causes: z.array(Cause).default([]),
});
export type ReplicaSpec = z.infer<typeof ReplicaSpec>;
export type ReplicaStatus = z.infer<typeof ReplicaStatus>;
