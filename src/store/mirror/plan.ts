import { isDeepStrictEqual } from 'node:util';
import { someOf } from '../../lib/some-of.ts';
import { makeCause } from '../../model/cause.ts';
import type { Resource, SpecOf, StatusOf } from '../../model/kinds.ts';
import { annotations, finalizers } from '../../model/names.ts';
import {
  hasFinalizer,
  isCopy,
  isDispensable,
  isHeld,
  isSameThing,
  isWithheld,
  isWorthKnowing,
  type MirrorKind,
  type Surroundings,
  specOfCopy,
} from './flows.ts';

/** What is to be done next with one object. One at a time: both sides are looked at anew afterwards. */
export type MirrorAction<K extends MirrorKind = MirrorKind> =
  /** Nothing: both sides say the same, or it is the agent's turn. */
  | { readonly do: 'none' }
  /** Here: put this in the place of what is there. */
  | { readonly do: 'put'; readonly object: Resource<K> }
  /** Here: ask for its deletion; nothing is lost with it. */
  | { readonly do: 'drop' }
  /** Here: let the copy go, all has been said to the cluster. */
  | { readonly do: 'forget' }
  /** In the cluster: the agent's finalizer on, before anything is made. */
  | { readonly do: 'hold' }
  /** In the cluster: the agent's finalizer off, since the agent is done. */
  | { readonly do: 'release' }
  /** In the cluster: write the status. */
  | { readonly do: 'report'; readonly status: StatusOf<K> }
  /** In the cluster: make the object (a Node only). */
  | { readonly do: 'register' }
  /** Here: note that the cluster does not know it although nobody let it go. */
  | { readonly do: 'mark' }
  /** It was noted: it stays as it is, and is shown. */
  | { readonly do: 'keep' }
  /** The cluster has something else under this name: both stay as they are, and it is shown. */
  | { readonly do: 'conflict' };

const nothing = { do: 'none' } as const;

/**
 * The next action for an object, from what both sides have now. Pure, and it remembers nothing, so it may be asked again
 * at any moment.
 *
 * @param local the object as the node's store has it
 * @param remote the object as the cluster has it
 * @param around what else the node has
 */
export function planMirror<K extends MirrorKind>(
  kind: K,
  local: Resource<K> | undefined,
  remote: Resource<K> | undefined,
  around: Surroundings,
): MirrorAction<K> {
  if (!remote) return local ? planMissing(kind, local, around) : nothing;
  if (!local) {
    const leftToOthers = remote.metadata.deletionTimestamp !== undefined && !hasFinalizer(remote, finalizers.agent);
    return leftToOthers ? nothing : holdOr(remote, { do: 'put', object: copyOf(remote, undefined, around) });
  }
  const done = local.metadata.deletionTimestamp !== undefined && !hasFinalizer(local, finalizers.agent);
  if (local.metadata.uid !== remote.metadata.uid) {
    if (local.metadata.deletionTimestamp !== undefined) return done && isCopy(local) ? { do: 'forget' } : nothing;
    if (!isSameThing(local, remote)) return { do: 'conflict' };
    return holdOr(remote, { do: 'put', object: copyOf(remote, local, around) });
  }
  if (done) {
    const waits = remote.metadata.deletionTimestamp !== undefined && hasFinalizer(remote, finalizers.agent);
    return waits ? { do: 'release' } : { do: 'forget' };
  }
  const copy = copyOf(remote, local, around);
  if (!sameJson(copy, local)) return holdOr(remote, { do: 'put', object: copy });
  const status = statusToReport(local, remote, around);
  // Somebody may have taken our finalizer off, and delete it next.
  return holdOr(remote, status === undefined || sameJson(status, remote.status) ? nothing : { do: 'report', status });
}

/** What exists on a node is held in the cluster first, else it could vanish there without the agent. */
function holdOr<K extends MirrorKind>(remote: Resource<K>, action: MirrorAction<K>): MirrorAction<K> {
  const { deletionTimestamp } = remote.metadata;
  const missing = isHeld(remote.kind) && deletionTimestamp === undefined && !hasFinalizer(remote, finalizers.agent);
  return missing ? { do: 'hold' } : action;
}

function planMissing<K extends MirrorKind>(kind: K, local: Resource<K>, around: Surroundings): MirrorAction<K> {
  if (kind === 'Node' && local.metadata.deletionTimestamp === undefined) return { do: 'register' };
  if (local.metadata.deletionTimestamp !== undefined) {
    const free = isCopy(local) && !hasFinalizer(local, finalizers.agent);
    return free ? { do: 'forget' } : nothing;
  }
  if (!isCopy(local) && !isWorthKnowing(local)) return nothing;
  if (isCopy(local) && isDispensable(local, around)) return { do: 'drop' };
  return { do: local.metadata.annotations[annotations.unknownToCluster] === undefined ? 'mark' : 'keep' };
}

/** The node's copy of a cluster's object, made from both. */
function copyOf<K extends MirrorKind>(
  remote: Resource<K>,
  local: Resource<K> | undefined,
  around: Surroundings,
): Resource<K> {
  const { name, uid, creationTimestamp, deletionTimestamp, labels } = remote.metadata;
  const same = local?.metadata.uid === uid;
  const spec = specOfCopy(remote, local);
  const known = local && same ? pairOf(local) : undefined;
  // Each new generation of the cluster is a new one here, so that the agent looks at it again and says so.
  const generation =
    known?.remote === remote.metadata.generation && local
      ? local.metadata.generation
      : Math.max(remote.metadata.generation, (local?.metadata.generation ?? 0) + 1);
  const pair =
    known?.remote === remote.metadata.generation ? known : { remote: remote.metadata.generation, local: generation };
  const asked = local && isWithheld(local, remote, around) ? undefined : deletionTimestamp;
  const leaving = asked ?? (same ? local.metadata.deletionTimestamp : undefined);
  return {
    apiVersion: remote.apiVersion,
    kind: remote.kind,
    metadata: {
      name,
      uid,
      resourceVersion: local?.metadata.resourceVersion ?? '',
      generation,
      creationTimestamp,
      ...(leaving === undefined ? {} : { deletionTimestamp: leaving }),
      finalizers: finalizersOfCopy(remote, local && same ? local : undefined),
      ownerReferences: [],
      labels,
      annotations: { ...ours(remote.metadata.annotations), [annotations.mirrored]: `${pair.remote}/${pair.local}` },
    },
    spec,
    status: statusOfCopy(remote, local, same),
  };
}

/**
 * Other programs write annotations of any length, and none of them concerns the node. That the cluster does not know an
 * object is said here, and never by the cluster.
 */
function ours(all: Readonly<Record<string, string>>): Record<string, string> {
  const kept = ([key]: readonly [string, string]) =>
    /^([\w-]+\.)*azekura\.dev\//.test(key) && key !== annotations.unknownToCluster;
  return Object.fromEntries(Object.entries(all).filter(kept));
}

function finalizersOfCopy(remote: Resource<MirrorKind>, local: Resource<MirrorKind> | undefined): string[] {
  const agent = local ? hasFinalizer(local, finalizers.agent) : isHeld(remote.kind);
  return [...(agent ? [finalizers.agent] : []), finalizers.mirror];
}

/**
 * What the node itself has written stays. A node without a store of its own takes over what it said before: the status
 * is what tells data that is lost from data that never was.
 */
function statusOfCopy<K extends MirrorKind>(
  remote: Resource<K>,
  local: Resource<K> | undefined,
  same: boolean,
): StatusOf<K> {
  if (local && same) return local.status;
  const status = local?.status ?? remote.status;
  // A group's outcome is written by whoever came so far: only a finished one is worth taking over.
  if (remote.kind === 'SnapshotGroup' && (status as StatusOf<'SnapshotGroup'>).phase !== 'Ready')
    return { observedGeneration: 0, phase: 'Pending', snapshotNames: [], causes: [] } as unknown as StatusOf<K>;
  return 'observedGeneration' in status ? { ...status, observedGeneration: 0 } : status;
}

/**
 * The node's status in the cluster's words: which generation was observed is translated. Undefined when the node has
 * nothing to say.
 */
function statusToReport<K extends MirrorKind>(
  local: Resource<K>,
  remote: Resource<K>,
  around: Surroundings,
): StatusOf<K> | undefined {
  const status = isWithheld(local, remote, around) ? withCauseOfStay(local, remote, around) : local.status;
  if (local.kind === 'SnapshotGroup') {
    const untold = (status as StatusOf<'SnapshotGroup'>).phase === 'Pending';
    if (untold || remote.metadata.deletionTimestamp !== undefined) return undefined;
  }
  if (!('observedGeneration' in status)) return status;
  const pair = pairOf(local);
  const before = (remote.status as { observedGeneration: number }).observedGeneration;
  const seen = pair !== undefined && status.observedGeneration >= pair.local ? pair.remote : before;
  return { ...status, observedGeneration: seen };
}

/** The agent knows nothing of a deletion that is withheld from it, so the mirror tells why the object stays. */
function withCauseOfStay<K extends MirrorKind>(
  local: Resource<K>,
  remote: Resource<K>,
  around: Surroundings,
): StatusOf<K> {
  if (local.kind === 'Pool') {
    const { name } = local.metadata;
    const cause = makeCause(
      'InUse',
      { what: `pool ${name}`, holder: someOf(around.volumesOn(name)) },
      remote.metadata.deletionTimestamp,
    );
    const status = local.status as StatusOf<'Pool'>;
    return { ...status, phase: 'Removing', causes: [...status.causes, cause] } as StatusOf<K>;
  }
  const { volumeName, nodeName } = local.spec as SpecOf<'Attachment' | 'Replica'>;
  const cause = makeCause(
    'DeletedInUse',
    { volume: volumeName, node: nodeName, object: `${local.kind} ${local.metadata.name}` },
    remote.metadata.deletionTimestamp,
  );
  const status = local.status as StatusOf<'Attachment' | 'Replica'>;
  return { ...status, causes: [...status.causes, cause] } as StatusOf<K>;
}

/** The generations that say the same on both sides. */
export function pairOf(local: Resource<MirrorKind>): { readonly remote: number; readonly local: number } | undefined {
  const match = /^(\d+)\/(\d+)$/.exec(local.metadata.annotations[annotations.mirrored] ?? '');
  return match ? { remote: Number(match[1]), local: Number(match[2]) } : undefined;
}

/** Equal as JSON, whatever the order of keys; `undefined` is the same as absent. */
export function sameJson(one: unknown, other: unknown): boolean {
  return isDeepStrictEqual(JSON.parse(JSON.stringify(one)), JSON.parse(JSON.stringify(other)));
}
