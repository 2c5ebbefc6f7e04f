import type { Kind } from '../../src/model/kinds.ts';

/** apiextensions.k8s.io/v1 CustomResourceColumnDefinition. */
export interface PrinterColumn {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'boolean' | 'date';
  readonly jsonPath: string;
  /** Above zero: only with -o wide. */
  readonly priority?: number;
}

const text = (name: string, jsonPath: string): PrinterColumn => ({ name, type: 'string', jsonPath });
const bytes = (name: string, jsonPath: string): PrinterColumn => ({ name, type: 'integer', jsonPath });
const wide = (column: PrinterColumn): PrinterColumn => ({ ...column, priority: 1 });
const flag = (name: string, jsonPath: string): PrinterColumn => ({ name, type: 'boolean', jsonPath });
const phase = text('Phase', '.status.phase');
const cause = text('Cause', '.status.causes[0].code');
const age: PrinterColumn = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };
const volume = text('Volume', '.spec.volumeName');
const node = text('Node', '.spec.nodeName');

/**
 * What `kubectl get` shows: the columns of our own tables (src/cli/columns.ts) that a path into the object can give.
 * Sizes are bytes, since kubectl cannot round them.
 */
export const printerColumns: { readonly [K in Kind]: readonly PrinterColumn[] } = {
  Volume: [
    phase,
    bytes('Size', '.spec.sizeBytes'),
    text('Class', '.spec.className'),
    text('Attached', '.status.attachedTo'),
    text('Pool', '.status.replicas[*].poolName'),
    wide(text('Mode', '.spec.mode')),
    wide(text('Provisioning', '.spec.policy.provisioning')),
    wide(bytes('Exclusive', '.status.exclusiveBytes')),
    wide(text('Id', '.status.volumeId')),
    cause,
    age,
  ],
  RecycledVolume: [
    volume,
    phase,
    bytes('Size', '.spec.volume.sizeBytes'),
    bytes('Used', '.status.usedBytes'),
    { name: 'Deleted', type: 'date', jsonPath: '.spec.deletedAt' },
    text('Expires', '.spec.expiresAt'),
  ],
  Replica: [phase, volume, text('Pool', '.spec.poolName'), node, bytes('Size', '.spec.sizeBytes'), cause, age],
  Attachment: [
    phase,
    volume,
    node,
    text('Device', '.status.devicePath'),
    wide(text('Paths', '.status.published')),
    cause,
    age,
  ],
  Snapshot: [
    phase,
    volume,
    bytes('Size', '.status.sizeBytes'),
    bytes('Exclusive', '.status.exclusiveBytes'),
    text('Consistency', '.status.consistency'),
    text('Group', '.spec.groupName'),
    wide(text('Id', '.spec.snapshotId')),
    cause,
    { name: 'Taken', type: 'date', jsonPath: '.status.cutAt' },
  ],
  SnapshotGroup: [
    phase,
    text('Volumes', '.spec.volumeNames'),
    cause,
    { name: 'Taken', type: 'date', jsonPath: '.status.cutAt' },
  ],
  Pool: [
    phase,
    bytes('Capacity', '.status.capacityBytes'),
    bytes('Free', '.status.freeBytes'),
    bytes('Promised', '.status.promisedBytes'),
    bytes('Volumes', '.status.volumes'),
    text('Source', '.spec.source.path'),
    node,
    wide(bytes('Reserve', '.status.reserveBytes')),
    wide(bytes('Largest volume', '.status.maximumVolumeBytes')),
    cause,
    age,
  ],
  Node: [
    phase,
    flag('Cordoned', '.spec.cordoned'),
    bytes('Volumes', '.status.attachedVolumes'),
    wide(text('Kernel', '.status.kernel')),
    text('Version', '.status.version'),
    cause,
    age,
  ],
  Class: [
    flag('Default', '.spec.isDefault'),
    text('Engine', '.spec.engine'),
    text('Filesystem', '.spec.filesystem'),
    text('Provisioning', '.spec.provisioning'),
    wide(bytes('Replicas', '.spec.replicas')),
    text('Description', '.spec.description'),
  ],
  Task: [
    phase,
    text('Verb', '.spec.verb'),
    text('Subject', '.spec.subject.name'),
    text('Step', '.status.steps[-1:].name'),
    wide(bytes('Attempts', '.status.attempts')),
    text('Cause', '.status.cause.code'),
    age,
  ],
  Repository: [phase, age],
  Backup: [phase, age],
  Schedule: [age],
};
