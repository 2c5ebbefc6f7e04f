import { z } from 'zod';
import { ClaimRef } from './claim.ts';
import { Bytes, Timestamp } from './meta.ts';

/** Lists are bounded, so that a Pool object stays small; when these are adopted, the next ones are listed. */
export const mostOrphanVolumes = 128;
export const mostOrphanSnapshots = 512;

const Text = z.string().max(1024);

/** A volume on a pool that no object stands for, as its identity tells. */
export const OrphanVolume = z.object({
  volumeId: Text,
  /** Undefined when its identity cannot be read; then `problem` says how. */
  name: Text.optional(),
  uid: Text.optional(),
  className: Text.optional(),
  createdAt: Timestamp.optional(),
  generation: z.int().optional(),
  claim: ClaimRef.optional(),
  parent: Text.optional(),
  /** Of its data file: zero when that is missing. */
  sizeBytes: Bytes,
  mode: z.enum(['filesystem', 'block']),
  filesystem: z.enum(['xfs', 'ext4']).optional(),
  provisioning: z.enum(['thin', 'thick']).default('thin'),
  encryption: z.object({ kind: z.literal('luks2'), keyFile: z.string().max(4095).optional() }).optional(),
  /** It lies in the recycle bin of the pool. */
  recycled: z.object({ deletedAt: Timestamp.optional(), expiresAt: Timestamp.optional() }).optional(),
  problem: Text.optional(),
});
export type OrphanVolume = z.infer<typeof OrphanVolume>;

/** A snapshot on a pool that no object stands for; its volume may have one. */
export const OrphanSnapshot = z.object({
  volumeId: Text,
  snapshotId: Text,
  name: Text.optional(),
  uid: Text.optional(),
  cutAt: Timestamp.optional(),
  consistency: z.enum(['crash', 'filesystem']).optional(),
  group: Text.optional(),
  sizeBytes: Bytes,
  problem: Text.optional(),
});
export type OrphanSnapshot = z.infer<typeof OrphanSnapshot>;

/** What lies on a pool without objects. The agent writes it when it starts, opens the pool, or is asked to look. */
export const PoolOrphans = z.object({
  scannedAt: Timestamp,
  /** The spec.scan request that this answers. */
  requestId: z.string().optional(),
  volumeCount: z.int().min(0),
  snapshotCount: z.int().min(0),
  /** Σ sizes of the volumes. */
  sizeBytes: Bytes,
  volumes: z.array(OrphanVolume).max(mostOrphanVolumes),
  snapshots: z.array(OrphanSnapshot).max(mostOrphanSnapshots),
});
export type PoolOrphans = z.infer<typeof PoolOrphans>;
