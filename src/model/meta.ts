import { z } from 'zod';

/** The API group and version of every object, as in Kubernetes: `apiVersion: azekura.dev/v1`. */
export const apiVersion = 'azekura.dev/v1';

/** A DNS-1123 label: the form of names in Kubernetes that fits file names and device names alike. */
export const namePattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

/** A name of an object: 1 to 63 bytes of lower-case letters, digits and dashes. */
export const Name = z
  .string()
  .min(1, 'must not be empty')
  .max(63, 'must have at most 63 characters')
  .regex(namePattern, 'must consist of lower-case letters, digits and "-", and start and end with a letter or digit')
  .describe('Name of an object: a DNS-1123 label of at most 63 characters');

/** A DNS-1123 subdomain: labels joined by dots. */
export const nodeNamePattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/**
 * The name of a node, as Kubernetes allows it: often the machine's full host name, with dots. Files, devices and labels
 * are never made from it.
 */
export const NodeName = z
  .string()
  .min(1, 'must not be empty')
  .max(253, 'must have at most 253 characters')
  .regex(
    nodeNamePattern,
    'must consist of lower-case letters, digits, "-" and ".", and each part start and end with a letter or digit',
  )
  .describe('Name of a node: a DNS-1123 subdomain of at most 253 characters');

/** A whole number of bytes. */
export const Bytes = z.int().min(0).max(Number.MAX_SAFE_INTEGER).describe('A whole number of bytes');

/** RFC 3339, UTC. */
export const Timestamp = z.iso.datetime().describe('RFC 3339 time stamp');

export const OwnerReference = z.object({
  apiVersion: z.string(),
  kind: z.string(),
  name: z.string(),
  uid: z.string(),
  controller: z.boolean().optional(),
  blockOwnerDeletion: z.boolean().optional(),
});

const LabelMap = z.record(z.string().max(317), z.string().max(4096));

/** Metadata of every object; the meaning of each field is that of Kubernetes' ObjectMeta. */
export const ObjectMeta = z.object({
  /** A NodeName for nodes, a Name for all others: nameOf() in kinds.ts. */
  name: NodeName,
  uid: z.string(),
  /** Opaque: compare for equality only. */
  resourceVersion: z.string(),
  /** Counts changes of spec only. */
  generation: z.int().min(1),
  creationTimestamp: Timestamp,
  /** Set when deletion was asked for; the object stays until its finalizers are gone. */
  deletionTimestamp: Timestamp.optional(),
  finalizers: z.array(z.string()).default([]),
  ownerReferences: z.array(OwnerReference).default([]),
  labels: LabelMap.default({}),
  annotations: LabelMap.default({}),
});
export type ObjectMeta = z.infer<typeof ObjectMeta>;
export type OwnerReference = z.infer<typeof OwnerReference>;

/** What a creator may say of the metadata; the store adds the rest. */
export type NewMeta = Pick<ObjectMeta, 'name'> &
  Partial<Pick<ObjectMeta, 'uid' | 'finalizers' | 'ownerReferences' | 'labels' | 'annotations'>>;
