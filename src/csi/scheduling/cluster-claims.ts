import type { KubeClient } from '../../kube/client.ts';
import { createObjectCache } from '../../kube/object-cache.ts';
import { claimType, type KubeClaim, type KubePod, podType } from '../../kube/types.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import type { WatchCache } from '../../lib/watch-cache.ts';
import { claimKeysOf, keyOf, type StorageClass, selectedNode, storageClassType } from './kinds.ts';

/** Claims, the pods that wait for a node, and StorageClasses, in memory. */
export interface ClusterClaims {
  readonly claims: Pick<WatchCache<KubeClaim>, 'get' | 'onChange'>;
  readonly pods: Pick<WatchCache<KubePod>, 'get' | 'onChange'>;
  readonly classes: Pick<WatchCache<StorageClass>, 'get' | 'list' | 'onChange'>;
  /** Keys of the waiting pods that use the claim. */
  podsOf(claimKey: string): readonly string[];
  readonly synced: Promise<void>;
  close(): Promise<void>;
}

/** Begins to list and watch. Pods that have a node are of no interest: the API server leaves them out. */
export function watchClaims(client: KubeClient, deps: { readonly log: Logger; readonly clock: Clock }): ClusterClaims {
  const claims = createObjectCache<KubeClaim>(client, claimType, { ...deps, keep: keptClaim });
  const fieldSelector = 'spec.nodeName=,status.phase=Pending';
  const pods = createObjectCache<KubePod>(client, podType, { ...deps, fieldSelector, keep: keptPod });
  const classes = createObjectCache<StorageClass>(client, storageClassType, deps);
  const podsByClaim = new Map<string, Set<string>>();
  const claimsOfPod = new Map<string, readonly string[]>();
  pods.onChange(({ type, object }) => {
    const pod = keyOf(object);
    for (const claim of claimsOfPod.get(pod) ?? []) {
      const users = podsByClaim.get(claim);
      users?.delete(pod);
      if (users?.size === 0) podsByClaim.delete(claim);
    }
    const used = type === 'deleted' ? [] : claimKeysOf(object);
    if (used.length === 0) claimsOfPod.delete(pod);
    else claimsOfPod.set(pod, used);
    for (const claim of used) podsByClaim.set(claim, (podsByClaim.get(claim) ?? new Set()).add(pod));
  });
  const all = [claims, pods, classes];
  return {
    claims,
    pods,
    classes,
    podsOf: (claimKey) => [...(podsByClaim.get(claimKey) ?? [])].sort(),
    synced: Promise.all(all.map(({ synced }) => synced)).then(() => {}),
    close: async () => {
      await Promise.all(all.map((cache) => cache.close()));
    },
  };
}

/** Ten thousand claims are kept: only what is read. */
function keptClaim({ metadata, spec }: KubeClaim): KubeClaim {
  const { name, namespace, uid, resourceVersion, deletionTimestamp } = metadata;
  const node = metadata.annotations?.[selectedNode];
  const annotations = node && !spec.volumeName ? { [selectedNode]: node } : undefined;
  return {
    metadata: { name, ...defined({ namespace, uid, resourceVersion, deletionTimestamp, annotations }) },
    spec: defined({
      dataSource: spec.volumeName ? undefined : spec.dataSource,
      storageClassName: spec.storageClassName,
      volumeName: spec.volumeName,
      resources: spec.volumeName ? undefined : { requests: defined({ storage: spec.resources?.requests?.storage }) },
    }),
  };
}

function keptPod({ metadata, spec }: KubePod): KubePod {
  const { name, namespace, uid, resourceVersion, deletionTimestamp } = metadata;
  const volumes = spec.volumes?.filter(({ persistentVolumeClaim, ephemeral }) => persistentVolumeClaim ?? ephemeral);
  return {
    metadata: { name, ...defined({ namespace, uid, resourceVersion, deletionTimestamp }) },
    spec: { volumes: volumes?.map((volume) => ({ ...volume, ...(volume.ephemeral ? { ephemeral: {} } : {}) })) ?? [] },
  };
}

function defined<T extends object>(values: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}
