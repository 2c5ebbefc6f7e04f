import { z } from 'zod';
import { Cause } from './cause.ts';
import { Bytes, Name, NodeName, Timestamp } from './meta.ts';

/** An immutable instant of one volume. */
export const SnapshotSpec = z
  .object({
    volumeName: Name,
    volumeUid: z.string().optional(),
    volumeId: z.string().optional(),
    /** Names the snapshot's files; filled when it is made. */
    snapshotId: z.string().optional(),
    /** Set for a member of a group; the group cuts it. */
    groupName: Name.optional(),
    nodeName: NodeName.optional(),
    poolName: Name.optional(),
    freeze: z
      .boolean()
      .default(true)
      .describe('Freeze the mounted file system, so that the snapshot needs no journal replay'),
    /** Consent to destroy the data with the object; without it a deleted snapshot leaves its data on the pool. */
    purge: z.boolean().optional(),
  })
  .strict();

export const SnapshotStatus = z.object({
  observedGeneration: z.int().default(0),
  phase: z.enum(['Pending', 'Ready', 'Deleting', 'Failed']).default('Pending'),
  readyToUse: z.boolean().default(false),
  cutAt: Timestamp.optional(),
  sizeBytes: Bytes.default(0),
  exclusiveBytes: Bytes.optional(),
  sharedBytes: Bytes.optional(),
  consistency: z.enum(['crash', 'filesystem']).optional(),
  causes: z.array(Cause).default([]),
});
export type SnapshotSpec = z.infer<typeof SnapshotSpec>;
export type SnapshotStatus = z.infer<typeof SnapshotStatus>;

/** Several volumes at one point in time. Members are Snapshots named `<group>-<volume>` that the group owns. */
export const SnapshotGroupSpec = z
  .object({
    volumeNames: z.array(Name).min(1).max(64),
    freeze: z.boolean().default(true),
    /** Where all of its members are: that node's agent cuts them together. Filled when they have their places. */
    nodeName: NodeName.optional(),
  })
  .strict();
export const SnapshotGroupStatus = z.object({
  observedGeneration: z.int().default(0),
  phase: z.enum(['Pending', 'Ready', 'Deleting', 'Failed']).default('Pending'),
  cutAt: Timestamp.optional(),
  snapshotNames: z.array(Name).default([]),
  causes: z.array(Cause).default([]),
});
export type SnapshotGroupSpec = z.infer<typeof SnapshotGroupSpec>;
export type SnapshotGroupStatus = z.infer<typeof SnapshotGroupStatus>;
