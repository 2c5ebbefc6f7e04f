import type { Resource } from '../model/kinds.ts';
import { annotations } from '../model/names.ts';
import { type AgentContext, keys } from './context.ts';

/**
 * Has each change of what is wanted of this node looked at. Only what is wanted triggers: an agent that woke up at its
 * own status would never rest. What is there already triggers too.
 */
export function listen(context: AgentContext): void {
  const { state, deps, trigger } = context;
  const own = (nodeName: string | undefined) => nodeName === deps.nodeName;
  const changed = changeFilter();
  const phases = new Map<string, string>();
  /** What the cluster has lost is listed at the pool, where it is found and adopted. */
  const lookThrough = (poolName: string | undefined) => {
    if (poolName === undefined) return;
    context.scannedPools.delete(poolName);
    trigger(keys.pool(poolName));
  };
  state.pools.onChange(({ object, type }) => {
    if (own(object.spec.nodeName) && changed(object, type)) trigger(keys.pool(object.metadata.name));
    // What waited for its pool goes on.
    if (phases.get(object.metadata.name) !== object.status.phase)
      for (const { spec } of state.replicasOn(object.metadata.name)) trigger(keys.volume(spec.volumeId));
    phases.set(object.metadata.name, object.status.phase);
  });
  state.replicas.onChange(({ object, type }) => {
    if (!own(object.spec.nodeName) || !changed(object, type)) return;
    trigger(keys.volume(object.spec.volumeId));
    if (object.metadata.annotations[annotations.unknownToCluster] !== undefined) lookThrough(object.spec.poolName);
  });
  state.attachments.onChange(({ object, type }) => {
    const { nodeName } = object.spec;
    if (!own(nodeName) || !changed(object, type)) return;
    const { uid } = object.metadata;
    const wanted = type === 'deleted' ? gone : wantedOf(object);
    const inUse = context.expected.get(object.spec.volumeId);
    if (inUse) {
      inUse.missed.set(uid, wanted);
      return;
    }
    const done = context.seenTo.get(uid);
    if (type === 'deleted') context.seenTo.delete(uid);
    if (done === gone || done === wanted) return;
    trigger(keys.volume(object.spec.volumeId));
  });
  state.snapshots.onChange(({ object, type }) => {
    if (!own(object.spec.nodeName) || !object.spec.volumeId || !changed(object, type)) return;
    if (object.spec.groupName) trigger(keys.group(object.spec.groupName));
    trigger(keys.volume(object.spec.volumeId));
    if (object.metadata.annotations[annotations.unknownToCluster] !== undefined) lookThrough(object.spec.poolName);
  });
  state.groups.onChange(({ object, type }) => {
    if (changed(object, type)) trigger(keys.group(object.metadata.name));
  });
}

/** Stands for an object that is gone. */
export const gone = 'gone';

/** What is wanted of an object, to be compared: its spec, its annotations and whether it is to go. */
export function wantedOf({ metadata }: Pick<Resource, 'metadata'>): string {
  const { generation, deletionTimestamp, annotations: notes } = metadata;
  return `${generation} ${deletionTimestamp ?? ''} ${JSON.stringify(notes)}`;
}

/** Tells changes of the spec, the annotations and the wish to delete from those of the status. */
function changeFilter(): (object: Resource, type: string) => boolean {
  const seen = new Map<string, string>();
  return ({ metadata }, type) => {
    const { uid } = metadata;
    if (type === 'deleted') return seen.delete(uid);
    const wanted = wantedOf({ metadata });
    if (seen.get(uid) === wanted) return false;
    seen.set(uid, wanted);
    return true;
  };
}
