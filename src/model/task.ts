import { z } from 'zod';
import { Cause } from './cause.ts';
import { Bytes, NodeName, Timestamp } from './meta.ts';

/** One long operation, kept as history. */
export const TaskSpec = z
  .object({
    /** For example CreateVolume, ExpandVolume, CutSnapshot, DrainPool. */
    verb: z.string(),
    subject: z.object({ kind: z.string(), name: NodeName, uid: z.string().optional() }),
    nodeName: NodeName.optional(),
    /** The id of the request that asked for it; the same as in the log. */
    requestId: z.string().optional(),
  })
  .strict();

export const TaskStep = z.object({
  name: z.string(),
  startedAt: Timestamp,
  endedAt: Timestamp.optional(),
  outcome: z.enum(['Running', 'Succeeded', 'Failed']),
  message: z.string().optional(),
});

export const TaskStatus = z.object({
  phase: z.enum(['Running', 'Succeeded', 'Failed', 'Cancelled']).default('Running'),
  steps: z.array(TaskStep).default([]),
  progress: z.object({ doneBytes: Bytes, totalBytes: Bytes }).optional(),
  startedAt: Timestamp.optional(),
  endedAt: Timestamp.optional(),
  attempts: z.int().default(1),
  cause: Cause.optional(),
});
export type TaskSpec = z.infer<typeof TaskSpec>;
export type TaskStatus = z.infer<typeof TaskStatus>;
export type TaskStep = z.infer<typeof TaskStep>;
