import type { Kind, Resource } from '../model/kinds.ts';
import { annotations, requestIdOf } from '../model/names.ts';

/** The annotation by which what a controller makes for an object can be traced to the request that asked for it. */
export function requestOf(object: Pick<Resource<Kind>, 'metadata'>): Record<string, string> {
  const { requestId } = requestIdOf(object);
  return requestId === undefined ? {} : { [annotations.requestId]: requestId };
}
