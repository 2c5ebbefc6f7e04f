import type { KubeMeta, KubeObject, ResourceType } from './client.ts';

/** Kinds of Kubernetes that more than one part of Azekura uses. Field names are those of the published API. */

export const leaseType: ResourceType = {
  group: 'coordination.k8s.io',
  version: 'v1',
  plural: 'leases',
  kind: 'Lease',
  namespaced: true,
};

export interface Lease extends KubeObject {
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

const core = (plural: string, kind: string, namespaced: boolean): ResourceType => ({
  group: '',
  version: 'v1',
  plural,
  kind,
  namespaced,
});

/** core/v1 PersistentVolumeClaim, as far as it is of interest. */
export const claimType = core('persistentvolumeclaims', 'PersistentVolumeClaim', true);

export interface KubeClaim extends KubeObject {
  readonly metadata: KubeMeta & {
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly spec: {
    readonly storageClassName?: string;
    readonly volumeName?: string;
    readonly resources?: { readonly requests?: { readonly storage?: string } };
    /** What it is to be a copy of. */
    readonly dataSource?: { readonly apiGroup?: string; readonly kind?: string; readonly name?: string };
  };
  readonly status?: { readonly phase?: string };
}

/** core/v1 PersistentVolume. */
export const persistentVolumeType = core('persistentvolumes', 'PersistentVolume', false);

export interface KubePersistentVolume extends KubeObject {
  readonly metadata: KubeMeta & { readonly deletionTimestamp?: string };
  readonly spec: {
    readonly csi?: { readonly driver: string; readonly volumeHandle: string };
    readonly claimRef?: { readonly namespace?: string; readonly name?: string; readonly uid?: string };
  };
  readonly status?: { readonly phase?: string };
}

/** core/v1 Pod. */
export const podType = core('pods', 'Pod', true);

export interface KubePod extends KubeObject {
  readonly metadata: KubeMeta & { readonly deletionTimestamp?: string };
  readonly spec: {
    readonly nodeName?: string;
    readonly volumes?: readonly {
      readonly name: string;
      readonly persistentVolumeClaim?: { readonly claimName: string };
      /** A claim that is made for the pod, under the name `<pod>-<volume>`. */
      readonly ephemeral?: object;
    }[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[];
  };
}

/** core/v1 Node: of it only the labels are of interest. */
export const nodeType = core('nodes', 'Node', false);

export interface KubeNode extends KubeObject {
  readonly metadata: KubeMeta & { readonly labels?: Readonly<Record<string, string>> };
}

/** storage.k8s.io/v1 CSINode: which drivers a node has, written by its kubelet. */
export const csiNodeType: ResourceType = {
  group: 'storage.k8s.io',
  version: 'v1',
  plural: 'csinodes',
  kind: 'CSINode',
  namespaced: false,
};

export interface KubeCsiNode extends KubeObject {
  readonly spec?: { readonly drivers?: readonly { readonly name: string }[] | null };
}

export const eventType: ResourceType = {
  group: 'events.k8s.io',
  version: 'v1',
  plural: 'events',
  kind: 'Event',
  namespaced: true,
};

/** core/v1 ObjectReference. */
export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
}

export interface KubeEvent extends KubeObject {
  readonly metadata: KubeMeta;
  readonly eventTime: string;
  readonly reportingController: string;
  readonly reportingInstance: string;
  readonly action: string;
  readonly reason: string;
  readonly regarding: ObjectReference;
  readonly note: string;
  readonly type: 'Normal' | 'Warning';
  readonly series?: { readonly count: number; readonly lastObservedTime: string };
}

/** meta/v1 MicroTime: Go insists on six digits of fraction. */
export function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}
