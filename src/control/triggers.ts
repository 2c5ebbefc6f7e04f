import { filesystemGrownToBytes } from '../model/attachment.ts';
import type { Kind } from '../model/kinds.ts';
import type { Informer, InformerEvent } from '../store/informer.ts';
import { type ControlContext, keys } from './context.ts';
import { causesNow } from './volume/status.ts';

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

  on(view.volumes, ({ object, type }) => {
    trigger(keys.volume(object.metadata.name));
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
    // Most of what happens to an attachment is the node's own: the Volume tells whether it is attached, what ails it, and
    // whether its file system has grown with it.
    const { name, uid, deletionTimestamp } = object.metadata;
    const grownBytes = filesystemGrownToBytes(object.status);
    const tells = JSON.stringify([uid, deletionTimestamp, object.status.phase, causesNow(object), grownBytes]);
    if (type === 'deleted' || told.get(name) !== tells) volumeOf(object.spec.volumeId, object.spec.volumeName);
    if (type === 'deleted') told.delete(name);
    else told.set(name, tells);
    for (const replica of view.replicasOf(object.spec.volumeId))
      if (view.pools.get(replica.spec.poolName)?.spec.draining) trigger(keys.drain(replica.spec.poolName));
  });
  on(view.snapshots, ({ object, type }) => {
    trigger(keys.snapshot(object.metadata.name));
    if (object.spec.groupName) trigger(keys.group(object.spec.groupName));
    if (type === 'deleted' && object.spec.volumeId) recycledOf(object.spec.volumeId);
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

/** Volumes that wait for a place or for their source. */
function waiting({ view }: ControlContext): readonly string[] {
  return view.volumes
    .list()
    .flatMap(({ status, metadata }) => (status.phase === 'Pending' && status.causes.length > 0 ? [metadata.name] : []));
}
