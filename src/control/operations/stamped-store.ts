import type { Kind, Resource } from '../../model/kinds.ts';
import { annotations } from '../../model/names.ts';
import { change } from '../../store/change.ts';
import type { Store } from '../../store/store.ts';

/**
 * A store that names the request on whatever it creates, changes or asks to go: from there the id reaches the objects
 * that controllers make for it, and the Tasks.
 */
export function stampedStore(store: Store, requestId: string): Store {
  const stamp = <O extends { readonly metadata: { readonly annotations?: Readonly<Record<string, string>> } }>(
    object: O,
  ): O => ({
    ...object,
    metadata: {
      ...object.metadata,
      annotations: { ...object.metadata.annotations, [annotations.requestId]: requestId },
    },
  });
  return {
    get: (kind, name) => store.get(kind, name),
    find: (kind, name) => store.find(kind, name),
    list: (kind, options) => store.list(kind, options),
    create: (object) => store.create(stamp(object)),
    update: (object) => store.update(stamp(object)),
    updateStatus: (object) => store.updateStatus(object),
    delete: async (kind, name, preconditions) => {
      const { uid, resourceVersion } = preconditions ?? {};
      let version = resourceVersion;
      if (resourceVersion === undefined)
        await change(store, kind, name, (object: Resource<Kind>) =>
          worthStamping(object, requestId) && (uid ?? object.metadata.uid) === object.metadata.uid
            ? { metadata: stamp(object).metadata }
            : undefined,
        );
      else {
        const object = await store.find(kind, name);
        // Another version is refused by the deletion itself.
        if (object?.metadata.resourceVersion === resourceVersion && worthStamping(object, requestId))
          version = (await store.update(stamp(object))).metadata.resourceVersion;
      }
      await store.delete(kind, name, {
        ...preconditions,
        ...(version === undefined ? {} : { resourceVersion: version }),
      });
    },
    watch: (kind, options) => store.watch(kind, options),
    close: () => store.close(),
  };
}

/** What goes at once tells nobody who asked for it. */
function worthStamping({ metadata }: Resource<Kind>, requestId: string): boolean {
  return (
    metadata.finalizers.length > 0 &&
    metadata.deletionTimestamp === undefined &&
    metadata.annotations[annotations.requestId] !== requestId
  );
}
