import { formatDurationMs } from '../lib/duration.ts';
import { formatBytes } from '../lib/quantity.ts';
import { type Cause, worstCause } from '../model/cause.ts';
import type { Kind, Resource } from '../model/kinds.ts';
import { placeOf } from '../model/pool.ts';

/** One column of a table of objects. `wide` ones are shown with -o wide only. */
export interface Column<K extends Kind> {
  readonly title: string;
  readonly wide?: boolean;
  readonly value: (object: Resource<K>, nowMs: number) => string;
}

/** Human sizes; an unknown size is shown as nothing. */
export function size(bytes: number | undefined): string {
  return bytes === undefined ? '' : formatBytes(bytes);
}

export function age(timestamp: string | undefined, nowMs: number): string {
  return timestamp === undefined ? '' : formatDurationMs(nowMs - Date.parse(timestamp));
}

function worst(causes: readonly Cause[]): string {
  return worstCause(causes)?.code ?? '';
}

function created<K extends Kind>(): Column<K> {
  return { title: 'age', value: ({ metadata }, nowMs) => age(metadata.creationTimestamp, nowMs) };
}

function name<K extends Kind>(): Column<K> {
  return { title: 'name', value: ({ metadata }) => metadata.name };
}

/** The phase, or that deletion is under way. */
function phase<K extends Kind>(): Column<K> {
  return {
    title: 'phase',
    value: ({ metadata, status }) => (metadata.deletionTimestamp ? 'Deleting' : 'phase' in status ? status.phase : ''),
  };
}

const labels = (object: Resource): string =>
  Object.entries(object.metadata.labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');

type Columns = { readonly [K in Kind]: readonly Column<K>[] };

/** What the tables of each kind show. */
export const columns: Columns = {
  Volume: [
    name(),
    phase(),
    { title: 'size', value: ({ spec }) => size(spec.sizeBytes) },
    {
      title: 'used',
      value: ({ status }) =>
        size(status.exclusiveBytes === undefined ? undefined : status.exclusiveBytes + (status.sharedBytes ?? 0)),
    },
    { title: 'class', value: ({ spec }) => spec.className },
    { title: 'pool', value: ({ status }) => status.replicas.map((replica) => replica.poolName).join(',') },
    { title: 'attached', value: ({ status }) => status.attachedTo.join(',') },
    { title: 'mode', wide: true, value: ({ spec }) => (spec.mode === 'block' ? 'block' : spec.policy.filesystem) },
    { title: 'provisioning', wide: true, value: ({ spec }) => spec.policy.provisioning },
    { title: 'exclusive', wide: true, value: ({ status }) => size(status.exclusiveBytes) },
    { title: 'shared', wide: true, value: ({ status }) => size(status.sharedBytes) },
    { title: 'id', wide: true, value: ({ status }) => status.volumeId ?? '' },
    { title: 'labels', wide: true, value: labels },
    { title: 'cause', value: ({ status }) => worst(status.causes) },
    created(),
  ],
  RecycledVolume: [
    name(),
    { title: 'volume', value: ({ spec }) => spec.volumeName },
    phase(),
    { title: 'size', value: ({ spec }) => size(spec.volume.sizeBytes) },
    { title: 'used', value: ({ status }) => size(status.usedBytes) },
    { title: 'deleted', value: ({ spec }, nowMs) => age(spec.deletedAt, nowMs) },
    { title: 'expires in', value: ({ spec }, nowMs) => formatDurationMs(Date.parse(spec.expiresAt) - nowMs) },
  ],
  Replica: [
    name(),
    phase(),
    { title: 'volume', value: ({ spec }) => spec.volumeName },
    { title: 'pool', value: ({ spec }) => spec.poolName },
    { title: 'node', value: ({ spec }) => spec.nodeName },
    { title: 'size', value: ({ spec }) => size(spec.sizeBytes) },
    { title: 'cause', value: ({ status }) => worst(status.causes) },
    created(),
  ],
  Attachment: [
    name(),
    phase(),
    { title: 'volume', value: ({ spec }) => spec.volumeName },
    { title: 'node', value: ({ spec }) => spec.nodeName },
    { title: 'device', value: ({ status }) => status.devicePath ?? '' },
    { title: 'paths', value: ({ status }) => status.published.join(',') },
    { title: 'cause', value: ({ status }) => worst(status.causes) },
    created(),
  ],
  Snapshot: [
    name(),
    phase(),
    { title: 'volume', value: ({ spec }) => spec.volumeName },
    { title: 'size', value: ({ status }) => size(status.sizeBytes) },
    { title: 'exclusive', value: ({ status }) => size(status.exclusiveBytes) },
    { title: 'consistency', value: ({ status }) => status.consistency ?? '' },
    { title: 'group', value: ({ spec }) => spec.groupName ?? '' },
    { title: 'id', wide: true, value: ({ spec }) => spec.snapshotId ?? '' },
    { title: 'cause', value: ({ status }) => worst(status.causes) },
    { title: 'taken', value: ({ status }, nowMs) => age(status.cutAt, nowMs) },
  ],
  SnapshotGroup: [
    name(),
    phase(),
    { title: 'volumes', value: ({ spec }) => spec.volumeNames.join(',') },
    { title: 'cause', value: ({ status }) => worst(status.causes) },
    { title: 'taken', value: ({ status }, nowMs) => age(status.cutAt, nowMs) },
  ],
  Pool: [
    name(),
    phase(),
    { title: 'capacity', value: ({ status }) => size(status.capacityBytes) },
    { title: 'free', value: ({ status }) => size(status.freeBytes) },
    { title: 'promised', value: ({ status }) => size(status.promisedBytes) },
    { title: 'volumes', value: ({ status }) => String(status.volumes) },
    { title: 'device class', wide: true, value: ({ status }) => status.deviceClass ?? '' },
    { title: 'source', value: ({ spec }) => `${spec.source.kind} ${placeOf(spec.source)}` },
    { title: 'node', wide: true, value: ({ spec }) => spec.nodeName },
    { title: 'filesystem', wide: true, value: ({ status }) => status.filesystem ?? '' },
    {
      title: 'free for thick',
      wide: true,
      value: ({ status }) => size(Math.min(status.freeBytes, status.thickFreeBytes ?? status.freeBytes)),
    },
    { title: 'reserve', wide: true, value: ({ status }) => size(status.reserveBytes) },
    { title: 'largest volume', wide: true, value: ({ status }) => size(status.maximumVolumeBytes) },
    { title: 'path', wide: true, value: ({ status }) => status.path ?? '' },
    { title: 'cause', value: ({ status }) => worst(status.causes) },
    created(),
  ],
  Node: [
    name(),
    phase(),
    { title: 'cordoned', value: ({ spec }) => (spec.cordoned ? 'yes' : 'no') },
    { title: 'volumes', value: ({ status }) => String(status.attachedVolumes) },
    { title: 'kernel', value: ({ status }) => status.kernel ?? '' },
    { title: 'version', value: ({ status }) => status.version ?? '' },
    { title: 'cause', value: ({ status }) => worst(status.causes) },
    created(),
  ],
  Class: [
    name(),
    { title: 'default', value: ({ spec }) => (spec.isDefault ? 'yes' : '') },
    { title: 'engine', value: ({ spec }) => spec.engine },
    { title: 'filesystem', value: ({ spec }) => spec.filesystem },
    { title: 'provisioning', value: ({ spec }) => spec.provisioning },
    { title: 'replicas', wide: true, value: ({ spec }) => String(spec.replicas) },
    { title: 'recycle', value: ({ spec }) => (spec.recycleMs === 0 ? 'off' : formatDurationMs(spec.recycleMs)) },
    { title: 'description', value: ({ spec }) => spec.description },
  ],
  Task: [
    name(),
    phase(),
    { title: 'verb', value: ({ spec }) => spec.verb },
    { title: 'subject', value: ({ spec }) => `${spec.subject.kind.toLowerCase()}/${spec.subject.name}` },
    { title: 'step', value: ({ status }) => status.steps.at(-1)?.name ?? '' },
    { title: 'attempts', wide: true, value: ({ status }) => String(status.attempts) },
    { title: 'took', value: ({ status }, nowMs) => took(status.startedAt, status.endedAt, nowMs) },
    { title: 'cause', value: ({ status }) => status.cause?.code ?? '' },
    created(),
  ],
  Repository: [name(), phase(), created()],
  Backup: [name(), phase(), created()],
  Schedule: [name(), created()],
};

function took(startedAt: string | undefined, endedAt: string | undefined, nowMs: number): string {
  if (startedAt === undefined) return '';
  const ms = (endedAt === undefined ? nowMs : Date.parse(endedAt)) - Date.parse(startedAt);
  return ms < 10_000 ? `${(ms / 1_000).toFixed(1)}s` : formatDurationMs(ms);
}
