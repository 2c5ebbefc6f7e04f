import type { View } from '../../control/view.ts';
import type { Clock } from '../../lib/clock.ts';
import { parseQuantity, roundUp } from '../../lib/quantity.ts';
import type { ClaimRef } from '../../model/claim.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { Volume } from '../../model/kinds.ts';
import { annotations } from '../../model/names.ts';
import {
  type ClaimRequest,
  fitNode,
  type NodeFit,
  type PlacementResult,
  place,
  type Reservation,
} from '../../placement/index.ts';
import { requestOfUnchecked } from '../common/class-request.ts';
import { type ClaimRoom, driverName } from '../deps.ts';
import type { ClusterClaims } from './cluster-claims.ts';
import { claimKeysOf, type KubeClaim, type KubePod, keyOf } from './kinds.ts';

export interface PodReservationsDeps {
  readonly claims: ClusterClaims;
  readonly view: Pick<View, 'classes' | 'volumes' | 'replicas' | 'replicasOf' | 'pools' | 'stock' | 'reservations'>;
  readonly clock: Clock;
  /** Off: every claim for itself, as without a ledger. */
  readonly enabled: boolean;
}

/** A claim of ours that has no volume yet. */
interface OpenClaim {
  readonly key: string;
  readonly claim: ClaimRequest;
}

/** What a scheduler is told of a pod. */
export interface Choice {
  /** Nodes that hold it, the best first; the score is the share of the best one's free bytes. */
  readonly passed: readonly { readonly nodeName: string; readonly score: number }[];
  /** Why not, by node: one clause for a person. */
  readonly refused: ReadonlyMap<string, string>;
}

interface Found {
  readonly places: PlacementResult['places'];
  /** Of the first node. */
  readonly why: string;
}

/** How long room is kept for a pod none of whose claims has a volume: a sidecar tries again within 30 s. */
const keptMs = 60_000;
const sectorBytes = 4_096;

/**
 * Keeps room for all claims of a pod from the moment in which the first of them gets a place. A pod's claims come as calls
 * of their own, in any order; without this, the first one could bind a pod to a node that has no room for the others.
 *
 * Nothing of it is stored. As long as no claim of a pod has a volume, it may still go anywhere, and forgetting what was
 * kept costs one more try; from its first volume on, what must be kept is seen from that volume, the pod and its claims,
 * by this process and by any other.
 */
export class PodReservations implements ClaimRoom {
  readonly #deps: PodReservationsDeps;
  readonly #stops: (() => void)[] = [];
  /** Pods whose room is kept only for a while: what ends it. */
  readonly #expiries = new Map<string, () => void>();
  refusals = 0;

  constructor(deps: PodReservationsDeps) {
    this.#deps = deps;
    if (!deps.enabled) return;
    const { claims, view } = deps;
    const reviewClaim = (key: string) => {
      if (claims.podsOf(key).length === 0) this.#drop(key);
      for (const pod of claims.podsOf(key)) this.#review(pod);
    };
    this.#stops.push(
      claims.pods.onChange(({ object }) => this.#review(keyOf(object))),
      claims.claims.onChange(({ object }) => reviewClaim(keyOf(object))),
      view.volumes.onChange(({ object }) => {
        if (object.spec.claim) reviewClaim(`${object.spec.claim.namespace}/${object.spec.claim.name}`);
      }),
    );
  }

  close(): void {
    for (const stop of this.#stops) stop();
    for (const cancel of this.#expiries.values()) cancel();
  }

  reserve(ref: ClaimRef, wanted: ClaimRequest, nodeNames: readonly string[] | undefined): string | undefined {
    const { claims, enabled } = this.#deps;
    const key = `${ref.namespace}/${ref.name}`;
    const [podKey] = claims.podsOf(key);
    const pod = podKey === undefined ? undefined : claims.pods.get(podKey);
    if (!enabled || podKey === undefined || !pod) return undefined;
    const others = this.#openClaims(pod).filter((one) => one.key !== key);
    const all = [{ key, claim: { ...wanted, name: ref.name } }, ...others];
    const found = this.#find(podKey, all, nodeNames);
    if (found.places) {
      this.#keep(podKey, all, found.places);
      this.#expireLater(podKey);
      return key;
    }
    this.#startAnew(podKey);
    if (others.length === 0) return undefined;
    this.refusals++;
    throw new AzekuraError(
      'ResourceExhausted',
      `the ${all.length} volumes of pod ${podKey} do not fit together on a node that is admitted: ${found.why}`,
      { next: 'the pod is scheduled anew; it runs as soon as a node has room for all of them' },
    );
  }

  /**
   * Which of some nodes hold all claims of a pod that have no volume yet, as if nothing were kept for it. Room is kept on
   * the best of them, since the scheduler says later where the pod goes; when another pod like it would find none on one
   * of the others, the best is the only one that is named, so that the next pod is told the truth.
   *
   * @returns undefined for a pod that needs nothing of ours
   */
  choose(pod: KubePod, nodeNames: readonly string[]): Choice | undefined {
    const { claims, view, enabled } = this.#deps;
    const all = this.#openClaims(pod);
    if (all.length === 0) return undefined;
    const podKey = keyOf(pod);
    const wanted = all.map(({ claim }) => claim);
    const choice = this.#aside(podKey, all, () => {
      const refused = new Map<string, string>();
      const fits: (NodeFit & { readonly fits: true })[] = [];
      for (const name of nodeNames) {
        const fit = fitNode(wanted, name, view.stock);
        if (fit.fits) fits.push(fit);
        else refused.set(name, fit.reason);
      }
      const free = ({ pools }: { readonly pools: readonly string[] }) =>
        Math.max(...pools.map((pool) => view.stock.room(pool).spareBytes));
      fits.sort((a, b) => free(b) - free(a) || (a.nodeName < b.nodeName ? -1 : 1));
      const [best] = fits;
      const most = best ? free(best) : 0;
      const scarce = fits.some(({ nodeName }) => !fitNode([...wanted, ...wanted], nodeName, view.stock).fits);
      const passed = (enabled && scarce ? fits.slice(0, 1) : fits).map((fit) => ({
        nodeName: fit.nodeName,
        score: most === 0 ? 1 : free(fit) / most,
      }));
      if (enabled && scarce)
        for (const { nodeName } of fits.slice(1)) refused.set(nodeName, `room is kept on node ${best?.nodeName}`);
      return { passed, refused, best };
    });
    const known = claims.pods.get(podKey);
    // What nobody can see waiting is given an answer, but no room.
    if (enabled && choice.best && known?.metadata.uid === pod.metadata.uid) {
      const { nodeName, pools } = choice.best;
      this.#keep(
        podKey,
        all,
        pools.map((poolName) => [{ nodeName, poolName }]),
      );
      this.#expireLater(podKey);
    }
    return choice;
  }

  /** The place of claims, as if nothing were kept for their pod. */
  #find(group: string, all: readonly OpenClaim[], nodeNames: readonly string[] | undefined): Found {
    const { view } = this.#deps;
    return this.#aside(group, all, () => {
      const { places, refusals } = place({ claims: all.map(({ claim }) => claim), nodeNames }, view.stock);
      const [refusal] = places ? [] : refusals;
      return { places, why: refusal ? `node ${refusal.nodeName}: ${refusal.reason}` : 'no node has pools' };
    });
  }

  #aside<T>(group: string, all: readonly OpenClaim[], work: () => T): T {
    const keys = new Set(all.map(({ key }) => key));
    return this.#deps.view.reservations.without((one) => one.group === group || keys.has(one.key), work);
  }

  #keep(group: string, all: readonly OpenClaim[], places: NonNullable<PlacementResult['places']>): void {
    const { reservations } = this.#deps.view;
    for (const [index, { key, claim }] of all.entries()) {
      const [first] = places[index] ?? [];
      if (first) reservations.set({ key, group, ...first, claim });
    }
  }

  /** Brings what is kept for a pod into line with what there is of it. */
  #review(podKey: string): void {
    const { claims, view } = this.#deps;
    const pod = claims.pods.get(podKey);
    if (!pod || pod.metadata.deletionTimestamp) {
      this.#dropGroup(podKey);
      return;
    }
    const open = this.#openClaims(pod);
    const openKeys = new Set(open.map(({ key }) => key));
    for (const one of this.#groupOf(podKey)) if (!openKeys.has(one.key)) this.#drop(one.key);
    if (open.length === 0) return;
    const nodeName = this.#nodeOf(pod);
    if (nodeName === undefined) return;
    // The pod is bound to that node by what it has there: the rest must stay possible, for as long as it takes.
    this.#expiries.get(podKey)?.();
    this.#expiries.delete(podKey);
    if (open.every(({ key }) => view.reservations.get(key)?.nodeName === nodeName)) return;
    const places = this.#findBefore(podKey, open, nodeName);
    if (places) this.#keep(podKey, open, places);
  }

  /**
   * Places on a node for a pod that can go nowhere else. What is kept there for pods that may still go anywhere gives way:
   * another controller may have promised this room before we knew of it, and they are asked for again.
   */
  #findBefore(podKey: string, open: readonly OpenClaim[], nodeName: string): Found['places'] {
    let { places } = this.#find(podKey, open, [nodeName]);
    for (const group of [...this.#expiries.keys()]) {
      if (places) break;
      if (!this.#groupOf(group).some((one) => one.nodeName === nodeName)) continue;
      this.#dropGroup(group);
      places = this.#find(podKey, open, [nodeName]).places;
    }
    return places;
  }

  /** The node to which a pod is bound by a volume that one of its claims has. */
  #nodeOf(pod: KubePod): string | undefined {
    const { claims, view } = this.#deps;
    for (const key of claimKeysOf(pod)) {
      const claim = claims.claims.get(key);
      const volume = claim && this.#volumeOf(claim);
      if (!volume) continue;
      const { volumeId } = volume.status;
      const [replica] = volumeId === undefined ? [] : view.replicasOf(volumeId);
      const promised = volume.metadata.annotations[annotations.promisedPool];
      const nodeName =
        replica?.spec.nodeName ?? (promised === undefined ? undefined : view.pools.get(promised)?.spec.nodeName);
      if (nodeName !== undefined) return nodeName;
    }
    return undefined;
  }

  /** The provisioner calls a claim's volume pvc-<uid>. */
  #volumeOf({ metadata, spec }: KubeClaim): Volume | undefined {
    const { volumes } = this.#deps.view;
    return volumes.get(`pvc-${metadata.uid}`) ?? (spec?.volumeName ? volumes.get(spec.volumeName) : undefined);
  }

  #openClaims(pod: KubePod): OpenClaim[] {
    const { claims, view } = this.#deps;
    return claimKeysOf(pod).flatMap((key) => {
      const claim = claims.claims.get(key);
      if (!claim || claim.spec?.volumeName || claim.metadata.deletionTimestamp || this.#volumeOf(claim)) return [];
      const { storageClassName = '', resources } = claim.spec ?? {};
      const storageClass = claims.classes.get(storageClassName);
      if (storageClass?.provisioner !== driverName) return [];
      const size = parseQuantity(resources?.requests?.storage ?? '');
      const request = requestOfUnchecked(view, storageClass.parameters);
      if (!size.ok || !request) return [];
      const sizeBytes = roundUp(size.bytes, sectorBytes);
      return [{ key, claim: { ...request, name: claim.metadata.name, sizeBytes } }];
    });
  }

  #groupOf(podKey: string): readonly Reservation[] {
    return this.#deps.view.reservations.list().filter(({ group }) => group === podKey);
  }

  #drop(key: string): void {
    this.#deps.view.reservations.delete(key);
  }

  #dropGroup(podKey: string): void {
    this.#expiries.get(podKey)?.();
    this.#expiries.delete(podKey);
    for (const { key } of this.#groupOf(podKey)) this.#drop(key);
  }

  /** Keeps nothing but what a volume that is there already demands. */
  #startAnew(podKey: string): void {
    this.#dropGroup(podKey);
    this.#review(podKey);
  }

  #expireLater(podKey: string): void {
    this.#expiries.get(podKey)?.();
    const cancel = this.#deps.clock.after(keptMs, () => this.#startAnew(podKey));
    this.#expiries.set(podKey, cancel);
  }
}
