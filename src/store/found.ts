import { AzekuraError } from '../model/errors.ts';
import type { Kind, Resource } from '../model/kinds.ts';

/** What Store.get answers with what Store.find has found. @throws AzekuraError NotFound */
export function found<K extends Kind>(object: Resource<K> | undefined, kind: K, name: string): Resource<K> {
  if (object) return object;
  throw new AzekuraError('NotFound', `there is no ${kind} ${JSON.stringify(name)}`);
}
