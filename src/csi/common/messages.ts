import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type {
  SnapshotSchema,
  VolumeContentSourceSchema,
  VolumeGroupSnapshotSchema,
  VolumeSchema,
} from '../../gen/csi/csi_pb.js';
import type { Snapshot, SnapshotGroup, Volume } from '../../model/kinds.ts';
import { groupHandle, snapshotHandle, volumeHandle } from './context.ts';
import { csiAnnotations } from './names.ts';
import { topologyOf } from './topology.ts';

/** A volume in CSI's words. */
export function volumeMessage(volume: Volume): MessageInitShape<typeof VolumeSchema> {
  const source = sourceMessage(volume);
  return {
    volumeId: volumeHandle(volume),
    capacityBytes: BigInt(volume.status.sizeBytes || volume.spec.sizeBytes),
    accessibleTopology: nodesOf(volume).map(topologyOf),
    ...(source ? { contentSource: source } : {}),
  };
}

/** Nodes that hold a copy. */
export function nodesOf(volume: Volume): readonly string[] {
  return [...new Set(volume.status.replicas.map((replica) => replica.nodeName))];
}

/** A snapshot in CSI's words. */
export function snapshotMessage(snapshot: Snapshot): MessageInitShape<typeof SnapshotSchema> {
  const { spec, status } = snapshot;
  return {
    snapshotId: snapshotHandle(snapshot),
    sourceVolumeId: spec.volumeId ?? '',
    sizeBytes: BigInt(status.sizeBytes),
    creationTime: timestampFromMs(Date.parse(status.cutAt ?? snapshot.metadata.creationTimestamp)),
    readyToUse: status.readyToUse,
    groupSnapshotId: spec.groupName ?? '',
    accessibleTopology: spec.nodeName === undefined ? [] : [topologyOf(spec.nodeName)],
  };
}

/** A group with its members in CSI's words. */
export function groupMessage(
  group: SnapshotGroup,
  members: readonly Snapshot[],
): MessageInitShape<typeof VolumeGroupSnapshotSchema> {
  return {
    groupSnapshotId: groupHandle(group),
    snapshots: members.map(snapshotMessage),
    creationTime: timestampFromMs(Date.parse(group.status.cutAt ?? group.metadata.creationTimestamp)),
    readyToUse: group.status.phase === 'Ready',
  };
}

/** What the volume was made from, as the caller named it; the source itself may be gone by now. */
function sourceMessage(volume: Volume): MessageInitShape<typeof VolumeContentSourceSchema> | undefined {
  const [kind, handle] = (volume.metadata.annotations[csiAnnotations.source] ?? '').split(':');
  if (!handle) return undefined;
  if (kind === 'snapshot') return { type: { case: 'snapshot', value: { snapshotId: handle } } };
  return { type: { case: 'volume', value: { volumeId: handle } } };
}
