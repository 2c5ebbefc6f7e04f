import { sameJson } from '../lib/same-json.ts';
import { hasCode } from '../model/errors.ts';
import type { Kind, Resource } from '../model/kinds.ts';
import type { Change, StatusChange, Store } from './store.ts';

const attempts = 20;

/**
 * Reads, changes and writes an object, again when somebody else was faster. The function is pure: it may run more than
 * once. Returning undefined, or what is there already, leaves the object as it is, and nothing is written.
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
    const metadata = { ...object.metadata, ...edited.metadata };
    const spec = edited.spec ?? object.spec;
    if (sameJson(metadata, object.metadata) && sameJson(spec, object.spec)) return object;
    return store.update({ ...object, metadata, spec });
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
    const status = { ...object.status, ...edited };
    if (sameJson(status, object.status)) return object;
    return store.updateStatus({ ...object, status });
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
