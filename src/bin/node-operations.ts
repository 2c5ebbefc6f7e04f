import type { Operations } from '../control/operations.ts';
import { AzekuraError } from '../model/errors.ts';
import { annotations } from '../model/names.ts';

/** The operations of a node's CSI service: the volumes that it makes are the node's own, since only a pod knows them. */
export function forNodeOnly(operations: Operations, refreshClasses: () => Promise<void>): Operations {
  return {
    ...operations,
    as: (caller) => forNodeOnly(operations.as(caller), refreshClasses),
    createVolume: async (request) => {
      await refreshClasses();
      return operations.createVolume({
        ...request,
        annotations: { ...request.annotations, [annotations.nodeOnly]: 'true' },
      });
    },
  };
}

/** What may be asked of the agent of a cluster's node by hand: to look. */
const looks: readonly (keyof Operations)[] = ['why', 'status'];

/** The operations of a node that belongs to a cluster, for people: all that changes something is the cluster's to decide. */
export function lookingOnly(operations: Operations): Operations {
  const refused = async () => {
    throw new AzekuraError(
      'FailedPrecondition',
      'this node belongs to a Kubernetes cluster, which decides on changes',
      {
        next: 'ask a controller of the cluster, or use kubectl',
      },
    );
  };
  const names = Object.keys(operations) as (keyof Operations)[];
  const allowed = names.map((name) => [name, looks.includes(name) ? operations[name] : refused]);
  return {
    ...(Object.fromEntries(allowed) as unknown as Operations),
    as: (caller) => lookingOnly(operations.as(caller)),
  };
}
