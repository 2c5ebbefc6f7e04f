import type { KubeClient, KubeMeta, KubeObject, ResourceType } from '../../kube/client.ts';
import { watchObjects } from '../../kube/watch.ts';

/** core/v1 PersistentVolumeClaim, as far as it is of interest. */
export interface Claim extends KubeObject {
  readonly metadata: KubeMeta & { readonly labels?: Readonly<Record<string, string>> };
  readonly spec: { readonly volumeName?: string; readonly storageClassName?: string };
  readonly status?: { readonly phase?: string };
}

/** core/v1 PersistentVolume. */
export interface PersistentVolume extends KubeObject {
  readonly spec: {
    readonly csi?: { readonly driver: string; readonly volumeHandle: string };
    readonly claimRef?: { readonly namespace?: string; readonly name?: string; readonly uid?: string };
  };
  readonly status?: { readonly phase?: string };
}

/** core/v1 Pod. */
export interface Pod extends KubeObject {
  readonly spec: {
    readonly volumes?: readonly {
      readonly name: string;
      readonly persistentVolumeClaim?: { readonly claimName: string };
      readonly ephemeral?: object;
    }[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[];
  };
}

/** Looks at objects of Kubernetes, afresh each time; undefined for what is not there. */
export interface KubernetesLooks {
  claim(namespace: string, name: string): Promise<Claim | undefined>;
  volume(name: string): Promise<PersistentVolume | undefined>;
  pod(namespace: string, name: string): Promise<Pod | undefined>;
  /** All PersistentVolumes as they are, and from then on as they change. @throws AzekuraError as watchObjects does */
  volumes(signal: AbortSignal): AsyncIterable<PersistentVolume>;
  /** The sentence of the newest warning about a claim, of the last hour; undefined when nobody has warned. */
  lastWarning(namespace: string, claimName: string): Promise<string | undefined>;
}

const core = (plural: string, kind: string, namespaced: boolean): ResourceType => ({
  group: '',
  version: 'v1',
  plural,
  kind,
  namespaced,
});
const claims = core('persistentvolumeclaims', 'PersistentVolumeClaim', true);
const volumes = core('persistentvolumes', 'PersistentVolume', false);
const pods = core('pods', 'Pod', true);
const events = core('events', 'Event', true);

interface CoreEvent extends KubeObject {
  readonly type?: string;
  readonly message?: string;
  readonly lastTimestamp?: string | null;
  readonly eventTime?: string | null;
}

/** Looks through the API server. @throws AzekuraError as KubeClient does */
export function createKubernetesLooks(client: KubeClient): KubernetesLooks {
  return {
    claim: (namespace, name) => client.find<Claim>(claims, name, { namespace }),
    volume: (name) => client.find<PersistentVolume>(volumes, name),
    pod: (namespace, name) => client.find<Pod>(pods, name, { namespace }),
    volumes: async function* (signal) {
      for await (const event of watchObjects<PersistentVolume>(client, volumes, { signal }))
        if ('object' in event && event.type !== 'deleted') yield event.object;
    },
    lastWarning: async (namespace, claimName) => {
      const about = ['involvedObject.kind=PersistentVolumeClaim', `involvedObject.name=${claimName}`, 'type=Warning'];
      const { items } = await client.list<CoreEvent>(events, { namespace, fieldSelector: about.join(',') });
      const timeOf = (event: CoreEvent): string => event.lastTimestamp ?? event.eventTime ?? '';
      return [...items].sort((a, b) => timeOf(a).localeCompare(timeOf(b))).at(-1)?.message;
    },
  };
}
