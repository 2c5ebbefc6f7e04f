import type { Kind, Resource } from '../../model/kinds.ts';
import { parseObject, type StoredObject } from './records.ts';

const mostKept = 256;

/**
 * Objects that were read or written last, parsed and frozen: the same JSON is parsed once, whoever reads it. Compared by
 * the text itself, so a transaction that failed leaves nothing wrong behind.
 */
export class Parsed {
  readonly #byKey = new Map<string, StoredObject>();
  readonly #texts = new WeakMap<StoredObject, string>();

  /** @param key of the table of objects */
  object<K extends Kind>(key: string, json: string): Resource<K> {
    const known = this.#byKey.get(key);
    if (known && this.#texts.get(known) === json) return known as Resource<K>;
    const object = parseObject<K>(json);
    this.#texts.set(object, json);
    this.#byKey.delete(key);
    this.#byKey.set(key, object);
    const [oldest] = this.#byKey.keys();
    if (this.#byKey.size > mostKept && oldest !== undefined) this.#byKey.delete(oldest);
    return object;
  }

  /** The JSON of an object, as it was read when it was. */
  json(object: StoredObject): string {
    return this.#texts.get(object) ?? JSON.stringify(object);
  }

  forget(key: string): void {
    this.#byKey.delete(key);
  }
}
