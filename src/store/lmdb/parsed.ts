import type { Kind, Resource } from '../../model/kinds.ts';
import { parseObject, type StoredObject } from './records.ts';

const mostKept = 128;

interface Entry {
  readonly object: StoredObject;
  readonly json: string;
}

/**
 * Objects that were read or written last, parsed and frozen: the same JSON is parsed once, whoever reads it. Compared by
 * the text itself, so a transaction that failed leaves nothing wrong behind. The texts go with their entries: objects
 * live on in the memory of whoever watches them, and would keep them.
 */
export class Parsed {
  readonly #byKey = new Map<string, Entry>();

  /** @param key of the table of objects */
  object<K extends Kind>(key: string, json: string): Resource<K> {
    const known = this.#byKey.get(key);
    if (known?.json === json) return known.object as Resource<K>;
    const object = parseObject<K>(json);
    this.#byKey.delete(key);
    this.#byKey.set(key, { object, json });
    const [oldest] = this.#byKey.keys();
    if (this.#byKey.size > mostKept && oldest !== undefined) this.#byKey.delete(oldest);
    return object;
  }

  /** The JSON of an object, as it was read when it was. */
  json(object: StoredObject): string {
    const known = this.#byKey.get(`${object.kind}/${object.metadata.name}`);
    return known?.object === object ? known.json : JSON.stringify(object);
  }

  forget(key: string): void {
    this.#byKey.delete(key);
  }
}
