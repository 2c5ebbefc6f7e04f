import type { KubeMeta, KubeObject, ResourceType } from '../../kube/client.ts';
import type { KubePod } from '../../kube/types.ts';

/** Kinds of Kubernetes that only this folder reads. Field names are those of the published API. */

/** Where kube-scheduler writes the node of a claim that waits for its first pod (k8s.io/component-helpers, storage/volume). */
export const selectedNode = 'volume.kubernetes.io/selected-node';

const snapshotApi = { group: 'snapshot.storage.k8s.io', version: 'v1' } as const;

export const snapshotType: ResourceType = {
  ...snapshotApi,
  plural: 'volumesnapshots',
  kind: 'VolumeSnapshot',
  namespaced: true,
};

export interface VolumeSnapshot extends KubeObject {
  readonly status?: { readonly boundVolumeSnapshotContentName?: string };
}

export const snapshotContentType: ResourceType = {
  ...snapshotApi,
  plural: 'volumesnapshotcontents',
  kind: 'VolumeSnapshotContent',
  namespaced: false,
};

export interface SnapshotContent extends KubeObject {
  readonly spec: { readonly driver: string };
  readonly status?: { readonly snapshotHandle?: string };
}

export const storageClassType: ResourceType = {
  group: 'storage.k8s.io',
  version: 'v1',
  plural: 'storageclasses',
  kind: 'StorageClass',
  namespaced: false,
};

export interface StorageClass extends KubeObject {
  readonly provisioner: string;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly volumeBindingMode?: 'Immediate' | 'WaitForFirstConsumer';
}

export const capacityType: ResourceType = {
  group: 'storage.k8s.io',
  version: 'v1',
  plural: 'csistoragecapacities',
  kind: 'CSIStorageCapacity',
  namespaced: true,
};

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
}

export interface StorageCapacity extends KubeObject {
  readonly metadata: KubeMeta & {
    readonly labels?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly OwnerReference[];
  };
  readonly storageClassName: string;
  readonly nodeTopology?: { readonly matchLabels?: Readonly<Record<string, string>> };
  readonly capacity?: string;
  readonly maximumVolumeSize?: string;
}

/** namespace/name. */
export function keyOf({ metadata }: KubeObject): string {
  return `${metadata.namespace}/${metadata.name}`;
}

/** Keys of the claims that a pod uses. */
export function claimKeysOf({ metadata, spec }: KubePod): readonly string[] {
  return (spec.volumes ?? []).flatMap(({ name, persistentVolumeClaim, ephemeral }) => {
    if (persistentVolumeClaim) return [`${metadata.namespace}/${persistentVolumeClaim.claimName}`];
    return ephemeral ? [`${metadata.namespace}/${metadata.name}-${name}`] : [];
  });
}
