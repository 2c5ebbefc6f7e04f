import { z } from 'zod';
import { DeviceClass } from './pool.ts';

/** What a Class says of a volume, copied into the volume when it is made, so that a later change of the class harms nobody. */
export const Policy = z
  .object({
    engine: z.string().default('file').describe('Kind of engine: file, lvm, drbd, …'),
    replicas: z.int().min(1).max(3).default(1).describe('Copies of the data on different nodes'),
    provisioning: z
      .enum(['thin', 'thick'])
      .default('thin')
      .describe('thin allocates on first write; thick reserves everything at once and is immune to a full pool'),
    filesystem: z.enum(['xfs', 'ext4']).default('xfs').describe('File system of volumes of mode filesystem'),
    mountOptions: z
      .array(z.string().max(128))
      .max(32)
      .default([])
      .describe('Options of the mount, checked against a list'),
    encryption: z.enum(['none', 'luks2']).default('none').describe('Encryption at rest, above the engine'),
    encryptionKeyFile: z
      .string()
      .startsWith('/')
      .max(4095)
      .optional()
      .describe('File on the node that holds the key; without it the key comes with each request to stage'),
    encryptionDiscard: z
      .boolean()
      .optional()
      .describe(
        'Whether unused space of encrypted volumes goes back to the pool, which shows what is unused; yes unless told',
      ),
    shared: z.boolean().default(false).describe('Whether several nodes may write at once'),
    trimMs: z
      .int()
      .min(0)
      .optional()
      .describe(
        'How often a mounted thin volume gives back what its file system does not use; a week unless told, 0 never',
      ),
    poolSelector: z
      .object({
        names: z.array(z.string()).optional(),
        labels: z.record(z.string(), z.string()).optional(),
      })
      .strict()
      .default({})
      .describe('Which pools may hold the volume; empty means any pool of the engine'),
    deviceClass: DeviceClass.optional().describe(
      'Only on pools of this class of disks: ssd, hdd, nvme or one of your own',
    ),
    parameters: z.record(z.string(), z.string()).default({}).describe("The engine's own parameters"),
  })
  .strict();
export type Policy = z.infer<typeof Policy>;

/**
 * What lies before the data of an encrypted volume. Four mebibytes hold the header, eight key slots (2 MiB) and room for more,
 * and are one extent of LVM; cryptsetup's own 16 MiB would be written to, and so allocated, in every thin volume.
 */
export const encryptionHeaderBytes = 4 * 2 ** 20;

/** What of a pool is before the bytes that a volume offers. */
export function headerBytesOf({ encryption }: { readonly encryption?: Policy['encryption'] }): number {
  return encryption === 'luks2' ? encryptionHeaderBytes : 0;
}

/**
 * Whether a volume can be opened only by a request to stage it, which brings the key: its policy names no file. In
 * Kubernetes a volume is attached to the node before that.
 */
export function keyComesWithStaging({
  encryption,
  encryptionKeyFile,
}: Pick<Policy, 'encryption' | 'encryptionKeyFile'>): boolean {
  return encryption !== 'none' && encryptionKeyFile === undefined;
}
