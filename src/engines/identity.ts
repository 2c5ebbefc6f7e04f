import { z } from 'zod';
import { ClaimRef } from '../model/claim.ts';
import { AzekuraError } from '../model/errors.ts';
import { Bytes, Timestamp } from '../model/meta.ts';

/** What all engines write beside the data has these fields; how they are written down is each engine's own. */
const Text = z.string().max(1024);

const idPattern = /^[0-9a-z][0-9a-z-]{0,62}$/;

/** Whether it may name a folder or a logical volume: 1 to 63 of lower-case letters, digits and dashes. */
export function isId(text: string): boolean {
  return idPattern.test(text);
}

/** @throws AzekuraError InvalidArgument for an id that could reach outside its place */
export function checkId(id: string): string {
  if (!isId(id)) throw new AzekuraError('InvalidArgument', `"${id.slice(0, 64)}" is not an id of a volume or snapshot`);
  return id;
}

const Id = z.string().refine(isId, 'is not an id');

const Layer = z.object({ headerBytes: Bytes, state: z.enum(['blank', 'header', 'ready']) });

export const VolumeSchema = z.object({
  name: Text,
  uid: Text,
  volumeId: Id,
  sizeBytes: Bytes,
  className: Text,
  mode: z.enum(['filesystem', 'block']),
  filesystem: z.enum(['xfs', 'ext4']).optional(),
  provisioning: z.enum(['thin', 'thick']),
  createdAt: Timestamp,
  generation: z.int().min(0),
  claim: ClaimRef.optional(),
  parent: Text.optional(),
  encryption: z
    .object({ kind: z.literal('luks2'), keyFile: z.string().max(4095).optional(), layer: Layer.optional() })
    .optional(),
  recycled: z.object({ deletedAt: Timestamp, expiresAt: Timestamp }).optional(),
});

export const SnapshotSchema = z.object({
  name: Text,
  uid: Text,
  snapshotId: Id,
  volumeId: Id,
  sizeBytes: Bytes,
  cutAt: Timestamp,
  consistency: z.enum(['crash', 'filesystem']),
  group: Text.optional(),
  encryption: Layer.optional(),
});
