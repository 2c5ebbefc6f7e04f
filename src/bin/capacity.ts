import { Counter, Gauge, type Registry } from 'prom-client';
import type { View } from '../control/index.ts';
import { CapacityWriter, type ClusterClaims, Copies, PodReservations, watchClaims } from '../csi/scheduling/index.ts';
import type { KubeClient, KubeMeta, KubeObject, ResourceType } from '../kube/client.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';

/** What a controller does so that Kubernetes knows where there is room. */
export interface CapacityParts {
  readonly claims: ClusterClaims;
  readonly reservations: PodReservations;
  /** Begins to write CSIStorageCapacity objects: the leader alone. @returns ends it */
  writeCapacities(): Promise<() => Promise<void>>;
  /** Begins to send pods of copies to the node of the source: the leader alone. */
  sendCopies(): Copies;
  close(): Promise<void>;
}

/** Begins to watch claims and waiting pods. Resolves when they are known. */
export async function startCapacity(deps: {
  readonly client: KubeClient;
  readonly view: View;
  readonly clock: Clock;
  readonly log: Logger;
  readonly registry: Registry;
  readonly namespace: string;
  /** The name of this pod, whose Deployment the objects belong to; unknown outside of a cluster. */
  readonly podName: string | undefined;
  readonly enabled: boolean;
}): Promise<CapacityParts> {
  const { client, view, clock, log, registry, namespace } = deps;
  const claims = watchClaims(client, { log, clock });
  await Promise.all([claims.synced, view.synced]);
  const reservations = new PodReservations({ claims, view, clock, enabled: deps.enabled });
  const registers = [registry];
  const writes = new Counter({
    name: 'azekura_capacity_writes_total',
    help: 'Writes of CSIStorageCapacity objects',
    labelNames: ['verb'],
    registers,
  });
  new Gauge({
    name: 'azekura_reserved_claims',
    help: 'Claims without a volume for which room is kept',
    registers,
    collect() {
      this.set(view.reservations.size);
    },
  });
  new Counter({
    name: 'azekura_pods_refused_total',
    help: 'Times that the first claim of a pod was sent elsewhere since its node could not hold all of them',
    registers,
    collect() {
      this.reset();
      this.inc(reservations.refusals);
    },
  });
  return {
    claims,
    reservations,
    writeCapacities: async () => {
      const owner = deps.podName === undefined ? undefined : await findDeployment(client, namespace, deps.podName);
      const onWrite = (verb: string) => writes.inc({ verb });
      const writer = new CapacityWriter({
        client,
        namespace,
        owner,
        classes: claims.classes,
        view,
        clock,
        log,
        onWrite,
      });
      return () => writer.close();
    },
    sendCopies: () => new Copies({ client, claims, view, clock, log }),
    close: async () => {
      reservations.close();
      await claims.close();
    },
  };
}

interface Owned extends KubeObject {
  readonly metadata: KubeMeta & {
    readonly ownerReferences?: readonly { apiVersion: string; kind: string; name: string; uid: string }[];
  };
}

const podType: ResourceType = { group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true };
const replicaSetType: ResourceType = {
  group: 'apps',
  version: 'v1',
  plural: 'replicasets',
  kind: 'ReplicaSet',
  namespaced: true,
};

/** The Deployment that a pod belongs to; undefined for a process that is no pod of one. */
async function findDeployment(client: KubeClient, namespace: string, podName: string) {
  const pod = await client.find<Owned>(podType, podName, { namespace });
  const replicaSet = pod?.metadata.ownerReferences?.find(({ kind }) => kind === 'ReplicaSet');
  const owner = replicaSet && (await client.find<Owned>(replicaSetType, replicaSet.name, { namespace }));
  const found = owner?.metadata.ownerReferences?.find(({ kind }) => kind === 'Deployment');
  return found && { apiVersion: found.apiVersion, kind: found.kind, name: found.name, uid: found.uid };
}
