import type { KubeMeta, KubeObject, ResourceType } from '../../kube/client.ts';

/** Kinds of Kubernetes, as far as they are read here. Field names are those of the published API. */

export const claimType: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'persistentvolumeclaims',
  kind: 'PersistentVolumeClaim',
  namespaced: true,
};

/** Where kube-scheduler writes the node of a claim that waits for its first pod (k8s.io/component-helpers, storage/volume). */
export const selectedNode = 'volume.kubernetes.io/selected-node';

export interface KubeClaim extends KubeObject {
  readonly metadata: KubeMeta & {
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly spec?: {
    readonly storageClassName?: string;
    readonly volumeName?: string;
    readonly resources?: { readonly requests?: { readonly storage?: string } };
    /** What it is to be a copy of. */
    readonly dataSource?: { readonly apiGroup?: string; readonly kind?: string; readonly name?: string };
  };
}

export const volumeType: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'persistentvolumes',
  kind: 'PersistentVolume',
  namespaced: false,
};

export interface PersistentVolume extends KubeObject {
  readonly spec: { readonly csi?: { readonly driver: string; readonly volumeHandle: string } };
}

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

export const podType: ResourceType = { group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true };

export interface KubePod extends KubeObject {
  readonly metadata: KubeMeta & { readonly deletionTimestamp?: string };
  readonly spec?: {
    readonly nodeName?: string;
    readonly volumes?: readonly {
      readonly name: string;
      readonly persistentVolumeClaim?: { readonly claimName: string };
      /** A claim that is made for the pod, under the name `<pod>-<volume>`. */
      readonly ephemeral?: object;
    }[];
  };
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
  return (spec?.volumes ?? []).flatMap(({ name, persistentVolumeClaim, ephemeral }) => {
    if (persistentVolumeClaim) return [`${metadata.namespace}/${persistentVolumeClaim.claimName}`];
    return ephemeral ? [`${metadata.namespace}/${metadata.name}-${name}`] : [];
  });
}
