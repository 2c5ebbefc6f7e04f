import { createHash } from 'node:crypto';

/** Names that are made from other names. All are DNS labels of at most 63 characters. */

const longest = 63;

/** Cuts a label that is too long and ends it with a digest of the whole, so that different ones stay different. */
function label(text: string): string {
  if (text.length <= longest) return text;
  const digest = createHash('sha256').update(text).digest('hex').slice(0, 10);
  return `${text.slice(0, longest - 11).replace(/-+$/, '')}-${digest}`;
}

/** @param ordinal 0 for the first copy; a move takes the next */
export function replicaName(volumeId: string, ordinal: number): string {
  return `${volumeId}-${ordinal}`;
}

/** The ordinal in a replica's name. */
export function replicaOrdinal(name: string): number {
  return Number(name.slice(name.lastIndexOf('-') + 1));
}

/** A volume is attached to a node at most once. */
export function attachmentName(volumeId: string, nodeName: string): string {
  if (!nodeName.includes('.')) return label(`${volumeId}-${nodeName}`);
  // The digest keeps n.1 and n-1 apart.
  const digest = createHash('sha256').update(nodeName).digest('hex').slice(0, 10);
  return label(`${volumeId}-${nodeName.replaceAll('.', '-').slice(0, 20).replace(/-+$/, '')}-${digest}`);
}

/** The pool that a rule of the cluster makes on a node. */
export function poolNameOf(nodeName: string, ruleName: string): string {
  if (!nodeName.includes('.')) return label(`${nodeName}-${ruleName}`);
  const digest = createHash('sha256').update(nodeName).digest('hex').slice(0, 10);
  return label(`${nodeName.replaceAll('.', '-').slice(0, 20).replace(/-+$/, '')}-${digest}-${ruleName}`);
}

/** The snapshot of one volume in a group. */
export function memberSnapshotName(groupName: string, volumeName: string): string {
  return label(`${groupName}-${volumeName}`);
}

/** The entry of a deleted volume in the recycle bin; unlike the volume's name it stays unique. */
export function recycledVolumeName(volumeName: string, volumeId: string): string {
  return label(`${volumeName.slice(0, longest - volumeId.length - 1).replace(/-+$/, '')}-${volumeId}`);
}

/** The same for the same operation on the same object, so that a restarted process goes on with the same Task. */
export function taskName(verb: string, subjectUid: string, round: string | number): string {
  const word = verb.replace(/([a-z])([A-Z])/g, '$1-$2').toLowerCase();
  return label(`${word}-${createHash('sha256').update(`${verb}/${subjectUid}/${round}`).digest('hex').slice(0, 12)}`);
}

/** Finalizers of ours: who must let go before an object disappears. */
export const finalizers = {
  volume: 'azekura.dev/volume',
  agent: 'azekura.dev/agent',
  recycle: 'azekura.dev/recycle',
  group: 'azekura.dev/group',
  /** On a node's copy of an object: it goes when the cluster has heard that the agent let go. */
  mirror: 'azekura.dev/mirror',
} as const;

/** Annotations of ours. */
export const annotations = {
  /** On a Volume: the id that names its data; after an undelete that of the data which is there already. */
  volumeId: 'azekura.dev/volume-id',
  /** On a Volume that was made for data which lies on a pool already: that pool. No empty copy is ever made for it. */
  adoptedFrom: 'azekura.dev/adopted-from',
  /** On a Volume: the pool that was promised to it before its copy is there, for every process that counts room. */
  promisedPool: 'azekura.dev/promised-pool',
  /** On a Volume whose deletion was asked for: remove the data at once. */
  skipRecycleBin: 'azekura.dev/skip-recycle-bin',
  /** On a RecycledVolume: the name under which it came back; its data must not be purged. */
  undeletedAs: 'azekura.dev/undeleted-as',
  /** On a RecycledVolume or SnapshotGroup whose deletion was asked for in so many words: the data goes too. */
  purge: 'azekura.dev/purge',
  /** On whatever a request has made or changed: the id of the last one, as in the log; its Tasks carry it too. */
  requestId: 'azekura.dev/request-id',
  /** On a Pool whose removal was asked for: its own files go too. */
  destroy: 'azekura.dev/destroy',
  /** On a Node: the rules by which it was given pools, with commas between them. Who removes a pool does not want it back. */
  poolsMade: 'azekura.dev/pools-made',
  /** On a node's copy of an object: `<generation in the cluster>/<generation here>` that say the same. */
  mirrored: 'azekura.dev/mirrored',
  /** On an object of a node that its cluster does not know: it is kept, and may be adopted. */
  unknownToCluster: 'azekura.dev/unknown-to-cluster',
  /** On what a node makes for itself, such as a pod's inline volume: no cluster is told. */
  nodeOnly: 'azekura.dev/node-only',
} as const;

/** The request that an object was last changed by, as a Task names it. */
export function requestIdOf(object: {
  readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
}): { readonly requestId?: string } {
  const requestId = object.metadata.annotations[annotations.requestId];
  return requestId === undefined ? {} : { requestId };
}
