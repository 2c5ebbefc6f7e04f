import { createHash } from 'node:crypto';
import type { View } from '../../control/view.ts';
import { parseQuantity } from '../../lib/quantity.ts';
import { type ClaimRequest, type ClassCapacity, capacityFor } from '../../placement/index.ts';
import { requestOfUnchecked } from '../common/class-request.ts';
import { topologyKey } from '../common/topology.ts';
import { driverName } from '../deps.ts';
import type { OwnerReference, StorageCapacity, StorageClass } from './kinds.ts';

export const driverLabel = 'csi.storage.k8s.io/drivername';

/** As the provisioner has them on the objects that it makes. */
export const capacityLabels = { [driverLabel]: driverName, 'csi.storage.k8s.io/managed-by': 'azekura-controller' };

export type CapacityView = Pick<View, 'classes' | 'stock' | 'reservations'>;

/** What a CSIStorageCapacity object of ours says. */
export interface WantedCapacity {
  readonly name: string;
  readonly storageClassName: string;
  readonly nodeName: string;
  readonly capacity: ClassCapacity;
}

/**
 * The objects that a node should have: one for each StorageClass of ours whose volumes wait for their pod, also when
 * nothing is left, since a class without an object holds up every pod that needs it.
 */
export function capacitiesOf(nodeName: string, classes: readonly StorageClass[], view: CapacityView): WantedCapacity[] {
  return classes.flatMap(({ metadata, provisioner, parameters, volumeBindingMode }) => {
    if (provisioner !== driverName || volumeBindingMode !== 'WaitForFirstConsumer') return [];
    const request = requestOfUnchecked(view, parameters);
    if (!request) return [];
    const capacity = capacityOf(request, nodeName, view);
    const name = capacityName(metadata.name, nodeName);
    return [{ name, storageClassName: metadata.name, nodeName, capacity }];
  });
}

/**
 * What is free, and at least what is kept on that node for one claim: the scheduler does not know for whom, and a pod whose
 * other volumes are there would never be sent where its room waits. Another pod that is sent there is refused and thought
 * over again.
 */
function capacityOf(
  request: Omit<ClaimRequest, 'sizeBytes'>,
  nodeName: string,
  { stock, reservations }: CapacityView,
): ClassCapacity {
  const free = capacityFor(request, nodeName, stock);
  const kept = reservations.list().filter((one) => one.nodeName === nodeName);
  const maxima = kept.map(({ key, claim }) => {
    const asked = () => capacityFor(request, nodeName, stock).maximumBytes;
    return Math.min(
      claim.sizeBytes,
      reservations.without((one) => one.key === key, asked),
    );
  });
  return { ...free, maximumBytes: Math.max(free.maximumBytes, ...maxima) };
}

/** The same for the same class and node, so that a new leader finds what the one before has written. */
function capacityName(className: string, nodeName: string): string {
  return `azekura-${createHash('sha256').update(`${className}/${nodeName}`).digest('hex').slice(0, 24)}`;
}

/** The object itself, as it is made. */
export function capacityObject(
  { name, storageClassName, nodeName, capacity }: WantedCapacity,
  { namespace, owner }: { readonly namespace: string; readonly owner: OwnerReference | undefined },
): StorageCapacity {
  return {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'CSIStorageCapacity',
    metadata: {
      name,
      namespace,
      labels: capacityLabels,
      ...(owner ? { ownerReferences: [owner] } : {}),
    },
    storageClassName,
    nodeTopology: { matchLabels: { [topologyKey]: nodeName } },
    ...capacityFields(capacity),
  };
}

/** What of an object changes in its life. */
export function capacityFields({ availableBytes, maximumBytes }: ClassCapacity): {
  readonly capacity: string;
  readonly maximumVolumeSize: string;
} {
  return { capacity: String(availableBytes), maximumVolumeSize: String(maximumBytes) };
}

/** The node that an object is about. */
export function nodeOfCapacity({ nodeTopology }: StorageCapacity): string | undefined {
  return nodeTopology?.matchLabels?.[topologyKey];
}

/** Schedulers decide by the largest volume; what is free only ranks nodes, so a hundredth more or less is no news. */
export function isNews(stored: StorageCapacity, { availableBytes, maximumBytes }: ClassCapacity): boolean {
  const before = bytesOf(stored.capacity);
  if (bytesOf(stored.maximumVolumeSize) !== maximumBytes) return true;
  if ((before === 0) !== (availableBytes === 0)) return true;
  return Math.abs(before - availableBytes) > before / 100;
}

function bytesOf(text: string | undefined): number {
  const parsed = parseQuantity(text ?? '');
  return parsed.ok ? parsed.bytes : 0;
}
