import type { Kind, Resource } from '../../model/kinds.ts';
import { change } from '../change.ts';
import type { Preconditions, Store } from '../store.ts';

/**
 * The API server notes nothing at a deletion, so it is written before: on what stays for its finalizers, and only when
 * the preconditions hold; what they refuse is refused by the deletion itself.
 *
 * @returns the preconditions for the deletion, with the version that this has made
 */
export async function noteBeforeDeletion(
  store: Store,
  kind: Kind,
  name: string,
  preconditions: Preconditions,
  annotations: Readonly<Record<string, string>>,
): Promise<{ uid?: string; resourceVersion?: string }> {
  const { uid, resourceVersion } = preconditions;
  const noted = (object: Resource) => ({ ...object.metadata.annotations, ...annotations });
  if (Object.keys(annotations).length === 0) return { ...preconditions };
  if (resourceVersion === undefined) {
    await change(store, kind, name, (object) =>
      stays(object) && (uid ?? object.metadata.uid) === object.metadata.uid
        ? { metadata: { annotations: noted(object) } }
        : undefined,
    );
    return { ...preconditions };
  }
  const object = await store.find(kind, name);
  if (object?.metadata.resourceVersion !== resourceVersion || !stays(object)) return { ...preconditions };
  const written = await store.update({ ...object, metadata: { ...object.metadata, annotations: noted(object) } });
  return { ...preconditions, resourceVersion: written.metadata.resourceVersion };
}

/** What goes at once tells nobody anything. */
function stays({ metadata }: Resource): boolean {
  return metadata.finalizers.length > 0 && metadata.deletionTimestamp === undefined;
}
