import { sameJson } from '../lib/same-json.ts';
import type { Kind, Snapshot, Volume } from '../model/kinds.ts';
import type { Informer, InformerEvent } from '../store/informer.ts';
import { type ControlContext, keys } from './context.ts';
import { useOf } from './volume/status.ts';

/** How long changes of figures are gathered before they are written or acted on. */
const gatherMs = 2_000;

/** Has each change of an object looked at by the controllers that it concerns. @returns ends it */
export function listen(context: ControlContext): () => void {
  const { view, trigger } = context;
  const stops: (() => void)[] = [];
  const on = <K extends Kind>(informer: Informer<K>, listener: (event: InformerEvent<K>) => void) => {
    stops.push(informer.onChange(listener));
  };
  const volumeOf = (volumeId: string, volumeName: string) =>
    trigger(keys.volume(view.volumeOf(volumeId)?.metadata.name ?? volumeName));
  const recycledOf = (volumeId: string) => {
    for (const entry of view.recycledOf(volumeId)) trigger(keys.recycled(entry.metadata.name));
  };

  const wanted = new Map<string, string>();
  on(view.volumes, ({ object, type }) => {
    const { name } = object.metadata;
    const wants = wantsOf(object);
    // A status that was written here was looked at then: who woke up at it would look at each volume twice. Whoever waits
    // for a place does: what came between its look and this is told to those alone that are known to wait.
    const known = wanted.get(name) === wants && sameJson(context.writtenStatuses.get(name), object.status);
    if (known || type === 'deleted') context.writtenStatuses.delete(name);
    if (!known || type === 'deleted' || isWaiting(object)) trigger(keys.volume(name));
    if (type === 'deleted') wanted.delete(name);
    else wanted.set(name, wants);
    if (type !== 'modified') trigger(keys.classes, gatherMs);
  });
  on(view.recycled, ({ object }) => trigger(keys.recycled(object.metadata.name)));
  on(view.replicas, ({ object }) => {
    volumeOf(object.spec.volumeId, object.spec.volumeName);
    for (const snapshot of view.snapshotsOf(object.spec.volumeId))
      if (snapshot.spec.poolName !== object.spec.poolName || snapshot.metadata.deletionTimestamp)
        trigger(keys.snapshot(snapshot.metadata.name));
    if (object.spec.recycled || object.status.phase === 'Recycled') recycledOf(object.spec.volumeId);
    if (view.pools.get(object.spec.poolName)?.spec.draining || object.spec.source?.kind === 'move') {
      trigger(keys.drain(object.spec.poolName));
      if (object.spec.source) trigger(keys.drain(object.spec.source.poolName));
    }
  });
  const told = new Map<string, string>();
  on(view.attachments, ({ object, type }) => {
    // Most of what happens to an attachment is the node's own.
    const { name } = object.metadata;
    const tells = JSON.stringify(useOf(object));
    // What is to go waits for its attachments.
    const leaving = view.volumeOf(object.spec.volumeId)?.metadata.deletionTimestamp !== undefined;
    if (leaving || type === 'deleted' || (told.get(name) ?? tellsNothing) !== tells)
      volumeOf(object.spec.volumeId, object.spec.volumeName);
    if (type === 'deleted') told.delete(name);
    else told.set(name, tells);
    for (const replica of view.replicasOf(object.spec.volumeId))
      if (view.pools.get(replica.spec.poolName)?.spec.draining) trigger(keys.drain(replica.spec.poolName));
  });
  on(view.snapshots, ({ object, type }) => {
    trigger(keys.snapshot(object.metadata.name));
    if (object.spec.groupName) trigger(keys.group(object.spec.groupName));
    if (type === 'deleted' && object.spec.volumeId) recycledOf(object.spec.volumeId);
    const source = object.spec.volumeId === undefined ? undefined : view.volumeOf(object.spec.volumeId);
    if (source && restoresFrom(source, object)) trigger(keys.volume(source.metadata.name));
    for (const volume of waiting(context)) trigger(keys.volume(volume));
  });
  on(view.groups, ({ object }) => trigger(keys.group(object.metadata.name)));
  on(view.pools, ({ object }) => {
    trigger(keys.drain(object.metadata.name));
    trigger(keys.pressure(object.metadata.name), gatherMs);
    for (const volume of waiting(context)) trigger(keys.volume(volume));
  });
  on(view.nodes, ({ type, object }) => {
    if (type === 'added' || object.status.phase === 'Ready')
      for (const volume of waiting(context)) trigger(keys.volume(volume));
  });
  on(view.classes, () => trigger(keys.classes, gatherMs));
  on(view.tasks, ({ type }) => {
    if (type === 'added') trigger(keys.tasks, gatherMs);
  });
  return () => {
    for (const stop of stops) stop();
  };
}

/** All of a Volume but its status. */
function wantsOf({ metadata }: Volume): string {
  const { resourceVersion: _, ...rest } = metadata;
  return JSON.stringify(rest);
}

const tellsNothing = JSON.stringify({ causes: [] });

/** The request may have come here before its snapshot did. */
function restoresFrom({ spec, status }: Volume, snapshot: Snapshot): boolean {
  return spec.restore?.snapshotName === snapshot.metadata.name && status.restore?.requestId !== spec.restore.requestId;
}

/** Whether a volume waits for a place or for its source. */
function isWaiting({ status }: Volume): boolean {
  return status.phase === 'Pending' && status.causes.length > 0;
}

function waiting({ view }: ControlContext): readonly string[] {
  return view.volumes.list().flatMap((volume) => (isWaiting(volume) ? [volume.metadata.name] : []));
}
