import { z } from 'zod';
import { Cause } from './cause.ts';
import { Bytes, NodeName } from './meta.ts';

/** Where a pool of the engines file and lvm gets its bytes from. */
export const PoolSource = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('directory'), path: z.string().startsWith('/').max(1024) }).strict(),
  z
    .object({
      kind: z.literal('image'),
      path: z.string().startsWith('/').max(1024).describe('The image file, made when it is not there'),
      sizeBytes: Bytes.describe('Allocated in full when it is made'),
    })
    .strict(),
  z
    .object({
      kind: z.literal('device'),
      path: z.string().startsWith('/dev/').max(1024),
      /** The serial number or stable id that the user typed: consent to overwrite what the device holds. */
      confirmedId: z.string().max(256).optional(),
    })
    .strict(),
]);
export type PoolSource = z.infer<typeof PoolSource>;

export const PoolSpec = z
  .object({
    engine: z.string().default('file'),
    nodeName: NodeName,
    source: PoolSource,
    reservePercent: z.number().min(0).max(50).default(5).describe('Share of the capacity that is never promised'),
    overcommitRatio: z
      .number()
      .min(1)
      .max(100)
      .default(2)
      .describe('Promised bytes of thin volumes may exceed the capacity this many times'),
    warnPercent: z
      .number()
      .min(1)
      .max(100)
      .default(80)
      .describe('From this fill on the pool has the cause PoolNearFull'),
    acceptNoJournal: z.boolean().default(false).describe('Consent to a host file system that a power cut can damage'),
    trial: z.boolean().default(false).describe('Made by `azekura up` for a first try'),
    draining: z.boolean().default(false),
    cordoned: z.boolean().default(false),
  })
  .strict();

export const PoolStatus = z.object({
  observedGeneration: z.int().default(0),
  phase: z.enum(['Pending', 'Ready', 'Missing', 'Draining', 'Failed', 'Removing']).default('Pending'),
  /** The id written into the pool's own identity file. */
  poolId: z.string().optional(),
  /** Where the pool's directory is mounted. */
  path: z.string().optional(),
  capacityBytes: Bytes.default(0),
  /** Free bytes of the file system or volume group, reserve not subtracted. */
  freeBytes: Bytes.default(0),
  usedBytes: Bytes.default(0),
  reserveBytes: Bytes.default(0),
  /** Σ sizes of thin volumes and full sizes of thick ones. */
  promisedBytes: Bytes.default(0),
  /** What the ledger holds: promised to objects that are not yet visible on the disk. */
  reservedBytes: Bytes.default(0),
  /** The largest volume that could be made now, thin. */
  maximumVolumeBytes: Bytes.default(0),
  recycledBytes: Bytes.default(0),
  volumes: z.int().min(0).default(0),
  filesystem: z.string().optional(),
  causes: z.array(Cause).default([]),
});
export type PoolSpec = z.infer<typeof PoolSpec>;
export type PoolStatus = z.infer<typeof PoolStatus>;
