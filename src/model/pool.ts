import { z } from 'zod';
import { Cause } from './cause.ts';
import { Bytes, NodeName } from './meta.ts';
import { PoolOrphans } from './orphans.ts';

/** How data lies on the disks of a volume group. */
export const diskLayouts = ['linear', 'striped', 'mirror', 'raid1', 'raid5', 'raid6', 'raid10'] as const;
export const DiskLayout = z
  .enum(diskLayouts)
  .describe('How thin volumes lie on the disks: one after the other, spread over all, or with redundancy');
export type DiskLayout = z.infer<typeof DiskLayout>;

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
  z
    .object({
      kind: z.literal('disks'),
      disks: z
        .array(z.string().startsWith('/dev/').max(1024))
        .min(1)
        .max(64)
        .describe('Disks or partitions that become a volume group'),
      /** Serial numbers that the user typed: consent to overwrite the disks that hold something. */
      confirmedIds: z.array(z.string().max(256)).max(64).optional(),
      layout: DiskLayout.optional(),
    })
    .strict(),
  z
    .object({
      kind: z.literal('volumeGroup'),
      group: z
        .string()
        .regex(/^[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,126}$/)
        .describe('An existing volume group; what is in it stays as it is'),
      moreDisks: z
        .array(z.string().startsWith('/dev/').max(1024))
        .max(64)
        .optional()
        .describe('Disks added to it since'),
      confirmedIds: z.array(z.string().max(256)).max(64).optional(),
      layout: DiskLayout.optional(),
    })
    .strict(),
]);
export type PoolSource = z.infer<typeof PoolSource>;

/** What a message calls the place. */
export function placeOf(source: PoolSource): string {
  if (source.kind === 'disks') return source.disks.join(', ');
  return source.kind === 'volumeGroup' ? `volume group ${source.group}` : source.path;
}

/** Paths that the pool takes for itself. */
export function pathsOf(source: PoolSource): readonly string[] {
  if (source.kind === 'disks') return source.disks;
  return source.kind === 'volumeGroup' ? (source.moreDisks ?? []) : [source.path];
}

/** A disk of a pool. */
export const PoolDisk = z.object({
  /** The kernel's name just now, or the last one known. */
  path: z.string(),
  /** What it is known by in its pool, whatever its name is. */
  id: z.string(),
  /** The path by which the pool was told to take it. */
  source: z.string().optional(),
  serial: z.string().optional(),
  sizeBytes: Bytes,
  usedBytes: Bytes,
  state: z.enum(['InUse', 'Leaving', 'Cordoned', 'Missing']),
});
export type PoolDisk = z.infer<typeof PoolDisk>;

/** A kind of disk: ssd, hdd and nvme are detected, others are a site's own. */
export const DeviceClass = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$/, 'must be up to 32 of lower-case letters, digits and dashes');

export const PoolSpec = z
  .object({
    engine: z.string().default('file'),
    nodeName: NodeName,
    source: PoolSource,
    deviceClass: DeviceClass.optional().describe('Instead of the one that is detected: ssd, hdd, nvme'),
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
    leavingDisks: z
      .array(z.string().max(64))
      .max(64)
      .default([])
      .describe('Ids of disks that are to be emptied and given back'),
    draining: z.boolean().default(false),
    cordoned: z.boolean().default(false),
    /** A request to look for volumes without objects; status.orphans answers it. */
    scan: z.object({ requestId: z.string().max(64) }).optional(),
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
  /** What of the free bytes thick volumes can have; absent when that is all of them. */
  thickFreeBytes: Bytes.optional(),
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
  /** The one that the spec names, else what was detected. */
  deviceClass: z.string().optional(),
  /** Of pools that are made of disks. */
  disks: z.array(PoolDisk).default([]),
  /** What lies on the pool and has no objects; absent when there is nothing. */
  orphans: PoolOrphans.optional(),
  causes: z.array(Cause).default([]),
});
/** Disks of a pool that are there; 0 for pools that are not made of disks, or not seen yet. */
export function presentDisks({ disks }: Pick<PoolStatus, 'disks'>): number {
  let count = 0;
  for (const { state } of disks) if (state !== 'Missing') count += 1;
  return count;
}

export type PoolSpec = z.infer<typeof PoolSpec>;
export type PoolStatus = z.infer<typeof PoolStatus>;
