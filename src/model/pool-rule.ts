import { z } from 'zod';
import { parseQuantity } from '../lib/quantity.ts';
import { Name } from './meta.ts';
import { PoolSource, PoolSpec } from './pool.ts';

/** A bounded part of the disk that the agent's own folder is on, as an image file in it. */
export const ShareSource = z
  .object({
    kind: z.literal('share'),
    percent: z.number().min(1).max(90).default(30).describe('Share of what is free on the disk'),
    maximum: z
      .string()
      .max(32)
      .default('100Gi')
      .refine((text) => parseQuantity(text).ok, 'must be a size such as 100Gi')
      .describe('No more than this'),
  })
  .strict();
export type ShareSource = z.infer<typeof ShareSource>;

// Without their defaults: what a rule does not say, the pool decides.
const { engine, deviceClass, reservePercent, overcommitRatio, warnPercent, acceptNoJournal } = PoolSpec.shape;

/** What the nodes of a cluster give to volumes: one pool on each node that the selector fits. */
export const PoolRule = z
  .object({
    name: Name.max(30, 'must have at most 30 characters').describe('The pool is called NODE-NAME'),
    nodeSelector: z.record(z.string(), z.string()).default({}).describe('Labels that the Kubernetes node must have'),
    source: z.union([ShareSource, PoolSource]),
    engine: engine.unwrap().optional(),
    deviceClass,
    reservePercent: reservePercent.unwrap().optional(),
    overcommitRatio: overcommitRatio.unwrap().optional(),
    warnPercent: warnPercent.unwrap().optional(),
    acceptNoJournal: acceptNoJournal.unwrap().optional(),
  })
  .strict();
export type PoolRule = z.infer<typeof PoolRule>;

export const PoolRules = z
  .array(PoolRule)
  .max(64)
  .refine((rules) => new Set(rules.map(({ name }) => name)).size === rules.length, 'names must differ');
