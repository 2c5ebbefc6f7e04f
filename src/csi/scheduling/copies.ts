import type { View } from '../../control/view.ts';
import type { KubeClient } from '../../kube/client.ts';
import { claimType, type KubeClaim, type KubePersistentVolume, persistentVolumeType } from '../../kube/types.ts';
import { type Clock, timestamp } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { WorkQueue } from '../../lib/work-queue.ts';
import { hasCode } from '../../model/errors.ts';
import { driverName } from '../deps.ts';
import type { ClusterClaims } from './cluster-claims.ts';
import {
  claimKeysOf,
  keyOf,
  type SnapshotContent,
  selectedNode,
  snapshotContentType,
  snapshotType,
  type VolumeSnapshot,
} from './kinds.ts';

export interface CopiesDeps {
  readonly client: KubeClient;
  readonly claims: ClusterClaims;
  readonly view: Pick<View, 'volumeOf' | 'replicasOf' | 'snapshots' | 'pools'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** So long a volume may take before the provisioner is woken up; 15 s unless told. */
  readonly wakeAfterMs?: number;
}

const parallelism = 4;
/** A source that is not ready yet, or that nobody knows yet, is looked for again. */
const againAfterMs = 5_000;
const defaultWakeAfterMs = 15_000;
/** Says when that was done last; what counts is that the claim changes. */
const wokenAt = 'azekura.dev/provisioner-woken-at';

const snapshotKind = 'snapshot.storage.k8s.io/VolumeSnapshot';
/** Any other kind is filled by a populator, which needs no place. */
const copied: ReadonlySet<string> = new Set(['/PersistentVolumeClaim', snapshotKind]);
const sourceKind = ({ spec }: KubeClaim): string => `${spec.dataSource?.apiGroup ?? ''}/${spec.dataSource?.kind ?? ''}`;

/**
 * Sends pods with copies (clones, restored snapshots) where the copy can be made: beside its source. Kubernetes knows of
 * room only, and prefers the nodes that have less on them, so that it would choose a node without the source again and
 * again. The node is written where kube-scheduler writes its own choice; it then admits no other, and the provisioner
 * makes the volume there. Done for claims only for which a pod waits, and of classes that wait for one.
 */
export class Copies {
  readonly #deps: CopiesDeps;
  readonly #queue: WorkQueue;
  /** Claims that got their node here, and have no volume yet as far as is known. */
  readonly #sent = new Set<string>();
  readonly #wakeAfterMs: number;
  readonly #stops: (() => void)[];

  constructor(deps: CopiesDeps) {
    this.#deps = deps;
    this.#wakeAfterMs = deps.wakeAfterMs ?? defaultWakeAfterMs;
    const { claims, clock, log } = deps;
    this.#queue = new WorkQueue({
      clock,
      parallelism,
      run: (key) => this.#review(key),
      onError: (claim, err) => log.debug({ err, claim }, 'a pod could not be sent to the source of its copy'),
    });
    const consider = (key: string): void => {
      if (this.#open(key)) this.#queue.add(key);
    };
    this.#stops = [
      claims.claims.onChange(({ object }) => consider(keyOf(object))),
      claims.pods.onChange(({ object }) => claimKeysOf(object).forEach(consider)),
    ];
  }

  async close(): Promise<void> {
    for (const stop of this.#stops) stop();
    await this.#queue.stop(5_000);
  }

  /** A claim of ours for a copy that has no node yet, for which a pod waits. */
  #open(key: string): KubeClaim | undefined {
    const { claims } = this.#deps;
    const claim = claims.claims.get(key);
    if (!claim || claim.spec.volumeName || claim.metadata.deletionTimestamp) return undefined;
    if (!copied.has(sourceKind(claim))) return undefined;
    if (claim.metadata.annotations?.[selectedNode] || claims.podsOf(key).length === 0) return undefined;
    const storageClass = claims.classes.get(claim.spec.storageClassName ?? '');
    const waits = storageClass?.provisioner === driverName && storageClass.volumeBindingMode === 'WaitForFirstConsumer';
    return waits ? claim : undefined;
  }

  async #review(key: string): Promise<{ againAfterMs: number } | undefined> {
    const claim = this.#open(key);
    if (!claim) return this.#wake(key);
    const nodeName = await this.#sourceNode(claim);
    if (nodeName === undefined) return { againAfterMs };
    const { name, namespace = '', resourceVersion } = claim.metadata;
    const metadata = { annotations: { [selectedNode]: nodeName }, resourceVersion };
    try {
      await this.#deps.client.patch(claimType, { name, namespace }, { metadata });
    } catch (error) {
      // Somebody was faster, maybe the scheduler: the change is on its way here.
      if (!hasCode(error, 'Conflict') && !hasCode(error, 'NotFound')) throw error;
      return { againAfterMs };
    }
    this.#deps.log.info({ claim: key, node: nodeName }, 'the pod of a copy is sent to its source');
    this.#sent.add(key);
    return { againAfterMs: this.#wakeAfterMs };
  }

  /**
   * Changes a claim that has its node and no volume, so that the provisioner looks at it. It ignores a change of a claim that
   * it is about to try again, and forgets the claim when that try still reads the claim without its node: then it would look
   * again a quarter of an hour later, and the scheduler waits for it.
   */
  async #wake(key: string): Promise<{ againAfterMs: number } | undefined> {
    const claim = this.#deps.claims.claims.get(key);
    const waits = claim?.metadata.annotations?.[selectedNode] && !claim.spec.volumeName;
    if (!this.#sent.has(key) || !claim || !waits || claim.metadata.deletionTimestamp) {
      this.#sent.delete(key);
      return undefined;
    }
    const { name, namespace = '' } = claim.metadata;
    const annotations = { [wokenAt]: timestamp(this.#deps.clock) };
    await this.#deps.client.patch(claimType, { name, namespace }, { metadata: { annotations } });
    this.#deps.log.info({ claim: key }, 'the provisioner is asked again for a copy');
    return { againAfterMs: this.#wakeAfterMs };
  }

  /** The node that has the source; undefined when it is not known (yet), or not on one node. */
  async #sourceNode(claim: KubeClaim): Promise<string | undefined> {
    const { client, claims, view } = this.#deps;
    const { namespace = '' } = claim.metadata;
    const name = claim.spec.dataSource?.name ?? '';
    if (sourceKind(claim) === snapshotKind) {
      const snapshot = await client.find<VolumeSnapshot>(snapshotType, name, { namespace });
      const contentName = snapshot?.status?.boundVolumeSnapshotContentName;
      const content = contentName ? await client.find<SnapshotContent>(snapshotContentType, contentName) : undefined;
      const handle = content?.spec.driver === driverName ? content.status?.snapshotHandle : undefined;
      if (!handle) return undefined;
      const ours = view.snapshots.list().find((one) => one.spec.snapshotId === handle);
      return view.pools.get(ours?.spec.poolName ?? '')?.spec.nodeName;
    }
    const volumeName = claims.claims.get(`${namespace}/${name}`)?.spec.volumeName;
    const volume = volumeName ? await client.find<KubePersistentVolume>(persistentVolumeType, volumeName) : undefined;
    const { driver, volumeHandle = '' } = volume?.spec.csi ?? {};
    const volumeId = driver === driverName ? view.volumeOf(volumeHandle)?.status.volumeId : undefined;
    const nodes = new Set((volumeId ? view.replicasOf(volumeId) : []).map((replica) => replica.spec.nodeName));
    const [nodeName] = nodes;
    return nodes.size === 1 ? nodeName : undefined;
  }
}
