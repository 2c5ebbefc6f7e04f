import type { z } from 'zod';
import type { KubeObject } from '../../kube/client.ts';
import { type Kind, kinds, type Resource } from '../../model/kinds.ts';
import { apiVersion, type ObjectMeta, type OwnerReference } from '../../model/meta.ts';
import { deepFreeze } from '../frozen.ts';
import type { WritableMeta } from '../validate.ts';

/** One of our objects as the API server has it. */
export interface StoredObject extends KubeObject {
  readonly metadata: KubeObject['metadata'] & {
    readonly generation?: number;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
    readonly finalizers?: readonly string[];
    readonly ownerReferences?: readonly OwnerReference[];
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: unknown;
  readonly status?: unknown;
}

/**
 * A stored object as one of ours: frozen, all defaults filled in, without what only Kubernetes needs (managedFields) and
 * without fields that a newer version has written and this one does not know. What the schema refuses although the
 * server took it is handed out as it is: an object that is not shown would look deleted.
 */
export function fromStored<K extends Kind>(kind: K, stored: StoredObject): Resource<K> {
  const { metadata: from } = stored;
  const metadata: ObjectMeta = {
    name: from.name,
    uid: from.uid ?? '',
    resourceVersion: from.resourceVersion ?? '',
    generation: from.generation ?? 1,
    creationTimestamp: from.creationTimestamp ?? '',
    ...(from.deletionTimestamp === undefined ? {} : { deletionTimestamp: from.deletionTimestamp }),
    finalizers: [...(from.finalizers ?? [])],
    ownerReferences: [...(from.ownerReferences ?? [])],
    labels: { ...from.labels },
    annotations: { ...from.annotations },
  };
  const spec = completed(kinds[kind].spec, stored.spec ?? {});
  const status = completed(kinds[kind].status, stored.status ?? {});
  return deepFreeze({ apiVersion, kind, metadata, spec, status }) as Resource<K>;
}

/** What is sent for a new object or a new spec; the server keeps all metadata that is not named. */
export function toStored(
  kind: Kind,
  metadata: Pick<ObjectMeta, 'name'> & Partial<Pick<ObjectMeta, 'uid' | 'resourceVersion'>> & Partial<WritableMeta>,
  part: { readonly spec: unknown } | { readonly status: unknown },
): StoredObject {
  return { apiVersion, kind, metadata, ...part };
}

function completed(schema: z.ZodType, value: unknown): unknown {
  const first = schema.safeParse(value);
  if (first.success) return first.data;
  const unknown = first.error.issues.filter((issue) => issue.code === 'unrecognized_keys');
  if (unknown.length === 0) return value;
  const copy: unknown = structuredClone(value);
  for (const { path, keys } of unknown) {
    const holder = at(copy, path);
    for (const key of keys) delete holder?.[key];
  }
  const second = schema.safeParse(copy);
  return second.success ? second.data : value;
}

function at(value: unknown, path: readonly PropertyKey[]): Record<string, unknown> | undefined {
  let current: unknown = value;
  for (const part of path) {
    if (typeof current !== 'object' || current === null) return undefined;
    current = (current as Record<PropertyKey, unknown>)[part];
  }
  return typeof current === 'object' && current !== null ? (current as Record<string, unknown>) : undefined;
}
