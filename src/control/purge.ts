import type { Kind, Resource } from '../model/kinds.ts';
import { annotations } from '../model/names.ts';
import { change } from '../store/change.ts';
import type { Store } from '../store/store.ts';

/**
 * Deletes a replica or snapshot with its data: writes the consent first, since an agent destroys nothing for a deletion
 * alone (decision 0009). One that is being deleted already gets the consent too.
 *
 * @param annotate is written along, such as the request that asked for it
 */
export async function purge<K extends 'Replica' | 'Snapshot'>(
  store: Store,
  kind: K,
  object: Pick<Resource<K>, 'metadata'>,
  annotate: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { name, uid, deletionTimestamp } = object.metadata;
  const present = await change(store, kind, name, ({ metadata, spec }) =>
    metadata.uid !== uid || spec.purge === true
      ? undefined
      : { metadata: { annotations: { ...metadata.annotations, ...annotate } }, spec: { ...spec, purge: true } },
  );
  if (present?.metadata.uid === uid && !deletionTimestamp) await store.delete(kind, name, { uid });
}

/** Whether the deletion of an object was asked for in so many words, not only by the deletion of its kind or namespace. */
export function consents({ metadata }: Pick<Resource<Kind>, 'metadata'>): boolean {
  return metadata.annotations[annotations.purge] === 'true';
}

/** The annotations of an object with the consent to destroy its data. */
export function withConsent({ metadata }: Pick<Resource<Kind>, 'metadata'>): Record<string, string> {
  return { ...metadata.annotations, [annotations.purge]: 'true' };
}
