import { z } from 'zod';
import { ClaimRef } from '../model/claim.ts';
import { ClassSpec } from '../model/class.ts';
import type { Kind } from '../model/kinds.ts';
import { apiVersion, Bytes, Name, NodeName } from '../model/meta.ts';
import { Policy } from '../model/policy.ts';
import { PoolSource, PoolSpec } from '../model/pool.ts';
import { SnapshotGroupSpec } from '../model/snapshot.ts';
import { VolumeSource } from '../model/volume.ts';

const labels = z.record(z.string().min(1).max(317), z.string().max(4096));

function envelope<S extends z.ZodType>(kind: Kind, spec: S) {
  return z
    .object({
      apiVersion: z.literal(apiVersion).optional(),
      kind: z.literal(kind).optional(),
      metadata: z.object({ name: Name, labels: labels.optional() }).strict(),
      spec,
    })
    .strict();
}

/**
 * A schema whose fields may all be left out and get no defaults: a patch of one field must not reset the others, and
 * the defaults of a new object are Operations' to choose.
 */
export function sparse<S extends z.ZodObject>(schema: S): z.ZodType<Partial<z.output<S>>> {
  const shape: Record<string, z.ZodType> = {};
  for (const [key, field] of Object.entries(schema.shape)) {
    let inner = field as z.ZodType;
    while (inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) inner = inner.unwrap() as z.ZodType;
    const description = (field as z.ZodType).description;
    shape[key] = (description ? inner.describe(description) : inner).optional();
  }
  return z.object(shape).strict() as unknown as z.ZodType<Partial<z.output<S>>>;
}

export const VolumeInput = envelope(
  'Volume',
  z
    .object({
      sizeBytes: Bytes.min(1, 'must be greater than zero').optional().describe('May be left out with a source'),
      className: Name.optional().describe('The default class when absent'),
      mode: z.enum(['filesystem', 'block']).optional(),
      provisioning: Policy.shape.provisioning.unwrap().optional(),
      filesystem: Policy.shape.filesystem.unwrap().optional(),
      encryption: Policy.shape.encryption.unwrap().optional(),
      encryptionKeyFile: Policy.shape.encryptionKeyFile,
      encryptionDiscard: Policy.shape.encryptionDiscard,
      parameters: z.record(z.string().max(63), z.string().max(256)).optional(),
      source: VolumeSource.optional(),
      poolName: Name.optional(),
      claim: ClaimRef.optional(),
    })
    .strict(),
);

/** A merge patch (RFC 7396): a label that is null goes. */
export const VolumePatch = z
  .object({
    metadata: z
      .object({ labels: z.record(z.string().min(1).max(317), z.string().max(4096).nullable()) })
      .strict()
      .optional(),
    spec: z
      .object({ sizeBytes: Bytes.min(1, 'must be greater than zero') })
      .strict()
      .optional(),
  })
  .strict();

export const SnapshotInput = envelope(
  'Snapshot',
  z.object({ volumeName: Name, freeze: z.boolean().optional() }).strict(),
);

export const SnapshotGroupInput = envelope(
  'SnapshotGroup',
  z.object({ volumeNames: SnapshotGroupSpec.shape.volumeNames, freeze: z.boolean().optional() }).strict(),
);

/** Without `trial`: only `azekura up` makes a trial pool. */
export const PoolInput = envelope(
  'Pool',
  z
    .object({
      source: PoolSource,
      nodeName: NodeName.optional(),
      engine: PoolSpec.shape.engine.unwrap().optional(),
      deviceClass: PoolSpec.shape.deviceClass,
      reservePercent: PoolSpec.shape.reservePercent.unwrap().optional(),
      overcommitRatio: PoolSpec.shape.overcommitRatio.unwrap().optional(),
      warnPercent: PoolSpec.shape.warnPercent.unwrap().optional(),
      acceptNoJournal: z.boolean().optional(),
    })
    .strict(),
);
export const PoolPatch = z
  .object({
    spec: sparse(
      PoolSpec.pick({
        reservePercent: true,
        overcommitRatio: true,
        warnPercent: true,
        cordoned: true,
        deviceClass: true,
      }),
    ),
  })
  .strict();

export const ClassInput = envelope('Class', sparse(ClassSpec));
export const ClassPatch = z.object({ spec: sparse(ClassSpec) }).strict();
export const NodePatch = z.object({ spec: z.object({ cordoned: z.boolean() }).strict() }).strict();

export const MountInput = z
  .object({
    path: z.string().startsWith('/', 'must be an absolute path').max(4095),
    readOnly: z.boolean().optional(),
    mountOptions: z.array(z.string().max(128)).max(32).optional(),
  })
  .strict();
export const UnmountInput = z
  .object({ path: z.string().startsWith('/', 'must be an absolute path').max(4095).optional() })
  .strict();
export const RestoreInput = z.object({ snapshotName: Name }).strict();
export const ChangeKeyInput = z
  .object({
    keyFile: z.string().startsWith('/', 'must be an absolute path').max(4095).optional().describe('On the node'),
    previousKeyFile: z
      .string()
      .startsWith('/', 'must be an absolute path')
      .max(4095)
      .optional()
      .describe('On the node'),
  })
  .strict();
export const UndeleteInput = z.object({ as: Name.optional() }).strict();
export const DrainInput = z.object({ cancel: z.boolean().optional() }).strict();
const diskPaths = z.array(z.string().startsWith('/dev/').max(1024)).min(1).max(64);
export const DisksInput = z
  .object({
    add: diskPaths.optional(),
    confirmedIds: z
      .array(z.string().max(256))
      .max(64)
      .optional()
      .describe('Serial numbers of disks that may be overwritten'),
    remove: z.array(z.string().min(1).max(1024)).min(1).max(64).optional().describe('Paths, serial numbers or ids'),
  })
  .strict();
export const AdoptInput = z
  .object({
    volumes: z.array(z.string().min(1).max(1_024)).min(1).max(1_024).optional().describe('Names or ids'),
    all: z.boolean().optional(),
    as: Name.optional().describe('Another name, for one volume'),
    keyFile: z
      .string()
      .startsWith('/', 'must be an absolute path')
      .max(4095)
      .optional()
      .describe('File on the node with the key of those that are encrypted'),
  })
  .strict();
const adopted = z.object({ volume: z.string(), volumeId: z.string() });
export const AdoptOutput = z.object({
  apiVersion: z.literal(apiVersion),
  kind: z.literal('Adoption'),
  pool: Name,
  adopted: z.array(adopted.extend({ sizeBytes: Bytes, recycled: z.boolean(), snapshots: z.array(Name) })),
  conflicts: z.array(adopted.extend({ problem: z.string(), next: z.string() })),
  unlisted: z.int().describe('Volumes and snapshots beyond what the Pool object lists: ask again'),
});
export const NoInput = z.object({}).strict();
