import { hasCode } from '../model/errors.ts';
import type { Kind, Resource } from '../model/kinds.ts';
import type { Change, StatusChange, Store } from './store.ts';

const attempts = 20;

/**
 * Reads, changes and writes an object, again when somebody else was faster. The function is pure: it may run more than
 * once. Returning undefined leaves the object as it is.
 *
 * @returns the stored object; undefined when it does not exist (any more)
 * @throws AzekuraError Conflict after twenty lost races, InvalidArgument
 */
export async function change<K extends Kind>(
  store: Store,
  kind: K,
  name: string,
  edit: (object: Resource<K>) => Change<K> | undefined,
): Promise<Resource<K> | undefined> {
  return retry(async () => {
    const object = await store.find(kind, name);
    if (!object) return undefined;
    const edited = edit(object);
    if (!edited) return object;
    return store.update({
      ...object,
      metadata: { ...object.metadata, ...edited.metadata },
      spec: edited.spec ?? object.spec,
    });
  });
}

/** Like change(), for fields of status. Fields that are not named stay; `undefined` removes a field. */
export async function changeStatus<K extends Kind>(
  store: Store,
  kind: K,
  name: string,
  edit: (object: Resource<K>) => StatusChange<K> | undefined,
): Promise<Resource<K> | undefined> {
  return retry(async () => {
    const object = await store.find(kind, name);
    if (!object) return undefined;
    const edited = edit(object);
    if (!edited) return object;
    return store.updateStatus({ ...object, status: { ...object.status, ...edited } });
  });
}

async function retry<T>(work: () => Promise<T | undefined>): Promise<T | undefined> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (hasCode(error, 'NotFound')) return undefined;
      if (!hasCode(error, 'Conflict') || attempt === attempts) throw error;
    }
  }
}
