import type { KubeClient, KubeObject, ResourceType } from '../../kube/client.ts';
import {
  claimType,
  type KubeClaim,
  type KubePersistentVolume,
  type KubePod,
  persistentVolumeType,
  podType,
} from '../../kube/types.ts';
import { watchObjects } from '../../kube/watch.ts';

/** Looks at objects of Kubernetes, afresh each time; undefined for what is not there. */
export interface KubernetesLooks {
  claim(namespace: string, name: string): Promise<KubeClaim | undefined>;
  volume(name: string): Promise<KubePersistentVolume | undefined>;
  pod(namespace: string, name: string): Promise<KubePod | undefined>;
  /** All PersistentVolumes as they are, and from then on as they change. @throws AzekuraError as watchObjects does */
  volumes(signal: AbortSignal): AsyncIterable<KubePersistentVolume>;
  /** The sentence of the newest warning about a claim, of the last hour; undefined when nobody has warned. */
  lastWarning(namespace: string, claimName: string): Promise<string | undefined>;
}

/** The older Events, which say what they are about in a field that can be selected. */
const eventType: ResourceType = { group: '', version: 'v1', plural: 'events', kind: 'Event', namespaced: true };

interface CoreEvent extends KubeObject {
  readonly type?: string;
  readonly message?: string;
  readonly lastTimestamp?: string | null;
  readonly eventTime?: string | null;
}

/** Looks through the API server. @throws AzekuraError as KubeClient does */
export function createKubernetesLooks(client: KubeClient): KubernetesLooks {
  return {
    claim: (namespace, name) => client.find<KubeClaim>(claimType, name, { namespace }),
    volume: (name) => client.find<KubePersistentVolume>(persistentVolumeType, name),
    pod: (namespace, name) => client.find<KubePod>(podType, name, { namespace }),
    volumes: async function* (signal) {
      for await (const event of watchObjects<KubePersistentVolume>(client, persistentVolumeType, { signal }))
        if ('object' in event && event.type !== 'deleted') yield event.object;
    },
    lastWarning: async (namespace, claimName) => {
      const about = ['involvedObject.kind=PersistentVolumeClaim', `involvedObject.name=${claimName}`, 'type=Warning'];
      const { items } = await client.list<CoreEvent>(eventType, { namespace, fieldSelector: about.join(',') });
      const timeOf = (event: CoreEvent): string => event.lastTimestamp ?? event.eventTime ?? '';
      return [...items].sort((a, b) => timeOf(a).localeCompare(timeOf(b))).at(-1)?.message;
    },
  };
}
