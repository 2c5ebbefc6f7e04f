import type { ResourceType } from '../../kube/client.ts';
import { type Kind, kinds } from '../../model/kinds.ts';
import { apiVersion } from '../../model/meta.ts';

const [group = '', version = ''] = apiVersion.split('/');

/** How the API server files one of our kinds. All are cluster-scoped: a volume outlives every namespace. */
export function resourceType(kind: Kind): ResourceType {
  return { group, version, plural: kinds[kind].plural, kind, namespaced: false };
}
