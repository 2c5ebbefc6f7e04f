import { createHash } from 'node:crypto';
import { namePattern } from '../../model/meta.ts';

const prefix = 'csi-';
const longestName = 63;

/**
 * The name of the object that a CSI name stands for. CSI names have up to 128 bytes of any kind and never become names of
 * ours as they are: a DNS label (`pvc-<uid>`) is kept, so that people find it again; all else is hashed. The same CSI name
 * always gives the same object, which is what makes repeated calls find it.
 */
export function objectName(csiName: string): string {
  if (csiName.length <= longestName && namePattern.test(csiName) && !csiName.startsWith(prefix)) return csiName;
  return `${prefix}${createHash('sha256').update(csiName).digest('hex').slice(0, 32)}`;
}

/** Annotations on what CSI has made. */
export const csiAnnotations = {
  /** The name as CSI gave it, when it is not the object's. */
  name: 'csi.azekura.dev/name',
  /** Parameters of the request, to know it again: JSON with sorted keys. Never secrets. */
  parameters: 'csi.azekura.dev/parameters',
  /** What the volume was made from: "snapshot:<handle>" or "volume:<handle>". */
  source: 'csi.azekura.dev/source',
  /** An inline volume that lives as long as its pod; its handle is the CSI name. */
  ephemeral: 'csi.azekura.dev/ephemeral',
} as const;

/** JSON that is equal for equal maps. */
export function canonical(map: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1))));
}
