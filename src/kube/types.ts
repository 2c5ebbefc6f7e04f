import type { KubeMeta, KubeObject, ResourceType } from './client.ts';

/** Kinds of Kubernetes that this folder itself uses. Field names are those of the published API. */
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

/** core/v1 Node: of it only the labels are of interest. */
export const nodeType: ResourceType = { group: '', version: 'v1', plural: 'nodes', kind: 'Node', namespaced: false };

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
