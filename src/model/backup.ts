import { z } from 'zod';
import { Cause } from './cause.ts';
import { Bytes, Name, Timestamp } from './meta.ts';

/** A place for backups, with its own key. Content-addressed, deduplicated across volumes and clusters. */
export const RepositorySpec = z
  .object({
    target: z.discriminatedUnion('kind', [
      z.object({ kind: z.literal('directory'), path: z.string().startsWith('/') }).strict(),
      z.object({ kind: z.literal('nfs'), server: z.string(), path: z.string().startsWith('/') }).strict(),
      z
        .object({
          kind: z.literal('s3'),
          endpoint: z.url(),
          bucket: z.string(),
          prefix: z.string().default(''),
          region: z.string().optional(),
        })
        .strict(),
    ]),
    /** Names of secrets, never their values. */
    keySecretName: Name.optional(),
    credentialsSecretName: Name.optional(),
  })
  .strict();
export const RepositoryStatus = z.object({
  phase: z.enum(['Pending', 'Ready', 'Unreachable', 'Failed']).default('Pending'),
  storedBytes: Bytes.default(0),
  causes: z.array(Cause).default([]),
});

/** A snapshot stored in a repository. */
export const BackupSpec = z.object({ repositoryName: Name, snapshotName: Name, volumeName: Name }).strict();
export const BackupStatus = z.object({
  phase: z.enum(['Pending', 'Running', 'Ready', 'Failed']).default('Pending'),
  startedAt: Timestamp.optional(),
  finishedAt: Timestamp.optional(),
  readBytes: Bytes.default(0),
  addedBytes: Bytes.default(0),
  causes: z.array(Cause).default([]),
});

/** How many to keep, by age (grandfather, father, son). */
export const Retention = z
  .object({
    last: z.int().min(0).optional(),
    hourly: z.int().min(0).optional(),
    daily: z.int().min(0).optional(),
    weekly: z.int().min(0).optional(),
    monthly: z.int().min(0).optional(),
    yearly: z.int().min(0).optional(),
  })
  .strict();

/** cron + retention that makes snapshots and backups. */
export const ScheduleSpec = z
  .object({
    cron: z.string().max(128),
    timeZone: z.string().max(64).default('UTC'),
    volumeNames: z.array(Name).optional(),
    volumeLabels: z.record(z.string(), z.string()).optional(),
    asGroup: z.boolean().default(false),
    snapshotRetention: Retention.optional(),
    repositories: z.array(z.object({ name: Name, retention: Retention }).strict()).default([]),
    suspended: z.boolean().default(false),
  })
  .strict();
export const ScheduleStatus = z.object({
  lastRunAt: Timestamp.optional(),
  nextRunAt: Timestamp.optional(),
  causes: z.array(Cause).default([]),
});
