import { z } from 'zod';
import { Cause } from './cause.ts';
import { Bytes, Timestamp } from './meta.ts';

export const NodeSpec = z
  .object({
    cordoned: z.boolean().default(false).describe('Nothing new is placed on a cordoned node'),
    topology: z.record(z.string(), z.string()).default({}).describe('zone, rack, host …'),
  })
  .strict();

/** A block device of the machine, as a candidate for a pool. */
export const BlockDevice = z.object({
  path: z.string(),
  sizeBytes: Bytes,
  kind: z.enum(['disk', 'partition', 'other']),
  serial: z.string().optional(),
  model: z.string().optional(),
  rotational: z.boolean().optional(),
  readOnly: z.boolean().optional(),
  /** What holds it, or what was found on it; absent when it is blank and free. */
  usedBy: z.string().optional(),
});
export type BlockDevice = z.infer<typeof BlockDevice>;

/** The disk that the agent's own folder is on: there a node's first pool can be. */
export const NodeDisk = z.object({
  path: z.string().describe("The agent's folder"),
  filesystem: z.string().optional(),
  sizeBytes: Bytes,
  availableBytes: Bytes,
});
export type NodeDisk = z.infer<typeof NodeDisk>;

export const NodeStatus = z.object({
  phase: z.enum(['Ready', 'NotReady']).default('NotReady'),
  version: z.string().optional(),
  kernel: z.string().optional(),
  bootId: z.string().optional(),
  heartbeat: Timestamp.optional(),
  devices: z.array(BlockDevice).default([]),
  dataDisk: NodeDisk.optional(),
  /** Pools that the agent knows, those included that its cluster does not. */
  pools: z.int().min(0).default(0),
  attachedVolumes: z.int().min(0).default(0),
  causes: z.array(Cause).default([]),
});
export type NodeSpec = z.infer<typeof NodeSpec>;
export type NodeStatus = z.infer<typeof NodeStatus>;
