import { annotations } from '../../model/names.ts';
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
    delete: (kind, name, preconditions) =>
      store.delete(kind, name, preconditions, { [annotations.requestId]: requestId }),
    watch: (kind, options) => store.watch(kind, options),
    close: () => store.close(),
  };
}
