import type { View } from '../../control/view.ts';
import type { KubePod } from '../../kube/types.ts';
import type { Clock } from '../../lib/clock.ts';
import type { ClaimRef } from '../../model/claim.ts';
import { AzekuraError } from '../../model/errors.ts';
import {
  type ClaimRequest,
  fitNode,
  type NodeFit,
  type PlacementResult,
  place,
  type Reservation,
} from '../../placement/index.ts';
import type { ClaimRoom, KeptRoom } from '../deps.ts';
import type { ClusterClaims } from './cluster-claims.ts';
import { claimKeysOf, keyOf } from './kinds.ts';
import { type OpenClaim, PodClaims } from './pod-claims.ts';

export interface PodReservationsDeps {
  readonly claims: ClusterClaims;
  readonly view: Pick<View, 'classes' | 'volumes' | 'replicas' | 'replicasOf' | 'pools' | 'stock' | 'reservations'>;
  readonly clock: Clock;
  /** Off: every claim for itself, as without a ledger. */
  readonly enabled: boolean;
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
  readonly #claims: PodClaims;
  readonly #stops: (() => void)[] = [];
  /**
   * Claims whose volume is being made by a call that is under way, and on which node. They bind their pod as a volume does:
   * seen from the next call they are neither open (their room is promised already) nor anywhere else.
   */
  readonly #making = new Map<string, string>();
  /** Pods whose room is kept only for a while, since they may still go anywhere: what ends it. */
  readonly #expiries = new Map<string, () => void>();
  refusals = 0;

  constructor(deps: PodReservationsDeps) {
    this.#deps = deps;
    this.#claims = new PodClaims(deps.claims, deps.view);
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

  reserve(ref: ClaimRef, wanted: ClaimRequest, nodeNames: readonly string[] | undefined): KeptRoom | undefined {
    const { claims, enabled } = this.#deps;
    const key = `${ref.namespace}/${ref.name}`;
    const [podKey] = claims.podsOf(key);
    const pod = podKey === undefined ? undefined : claims.pods.get(podKey);
    if (!enabled || podKey === undefined || !pod) return undefined;
    const all = [{ key, claim: { ...wanted, name: ref.name } }, ...this.#open(pod).filter((one) => one.key !== key)];
    const bound = this.#nodeOf(pod);
    if (bound !== undefined && nodeNames && !nodeNames.includes(bound))
      throw this.#refusal(`pod ${podKey} has a volume on node ${bound}, which is not admitted for this one`);
    const found = this.#find(podKey, all, bound === undefined ? nodeNames : [bound]);
    const nodeName = found.places?.[0]?.[0]?.nodeName;
    if (found.places && nodeName !== undefined) {
      this.#keep(podKey, all, found.places);
      this.#making.set(key, nodeName);
      this.#cancelExpiry(podKey);
      return { key, release: () => this.#release(key, podKey) };
    }
    this.#startAnew(podKey);
    if (all.length === 1 && bound === undefined) return undefined;
    const together = `the ${all.length} volumes of pod ${podKey} do not fit together on a node that is admitted`;
    const rest = `pod ${podKey} has a volume on node ${bound}, where there is no room for the rest of it`;
    throw this.#refusal(`${bound === undefined ? together : rest}: ${found.why}`);
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
    const all = this.#open(pod);
    if (all.length === 0) return undefined;
    const podKey = keyOf(pod);
    const bound = this.#nodeOf(pod);
    const wanted = all.map(({ claim }) => claim);
    const choice = this.#aside(podKey, all, () => {
      const refused = new Map<string, string>();
      const fits: (NodeFit & { readonly fits: true })[] = [];
      for (const name of nodeNames) {
        if (bound !== undefined && name !== bound) {
          refused.set(name, `a volume of the pod is on node ${bound}`);
          continue;
        }
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
    const lifted = ({ key, group: owner }: Reservation) => keys.has(key) || (owner === group && !this.#making.has(key));
    return this.#deps.view.reservations.without(lifted, work);
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
    const open = this.#open(pod);
    const openKeys = new Set(open.map(({ key }) => key));
    for (const { key } of this.#groupOf(podKey)) if (!openKeys.has(key)) this.#drop(key);
    if (open.length === 0) return;
    const nodeName = this.#nodeOf(pod);
    if (nodeName === undefined) return;
    // The pod is bound to that node by what it has there: the rest must stay possible, for as long as it takes.
    this.#cancelExpiry(podKey);
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

  /** The node to which a pod is bound by a volume that one of its claims has, or is being made for it. */
  #nodeOf(pod: KubePod): string | undefined {
    const making = claimKeysOf(pod).find((key) => this.#making.has(key));
    return making === undefined ? this.#claims.nodeOf(pod) : this.#making.get(making);
  }

  #open(pod: KubePod): OpenClaim[] {
    return this.#claims.withoutVolume(pod).filter(({ key }) => !this.#making.has(key));
  }

  #groupOf(podKey: string): readonly Reservation[] {
    return this.#deps.view.reservations.list().filter(({ group }) => group === podKey);
  }

  /** What is being made keeps its room until its call ends. */
  #drop(key: string): void {
    if (!this.#making.has(key)) this.#deps.view.reservations.delete(key);
  }

  #dropGroup(podKey: string): void {
    this.#cancelExpiry(podKey);
    for (const { key } of this.#groupOf(podKey)) this.#drop(key);
  }

  /** Keeps nothing but what a volume that is there already, or is being made, demands. */
  #startAnew(podKey: string): void {
    this.#dropGroup(podKey);
    this.#review(podKey);
  }

  /** The call for a claim has ended: the volume is there and seen, or there is none. */
  #release(key: string, podKey: string): void {
    this.#making.delete(key);
    this.#drop(key);
    this.#startAnew(podKey);
  }

  #refusal(message: string): AzekuraError {
    this.refusals++;
    return new AzekuraError('ResourceExhausted', message, {
      next: 'the pod is scheduled anew; it runs as soon as a node has room for all of its volumes',
    });
  }

  #expireLater(podKey: string): void {
    this.#cancelExpiry(podKey);
    const cancel = this.#deps.clock.after(keptMs, () => this.#startAnew(podKey));
    this.#expiries.set(podKey, cancel);
  }

  #cancelExpiry(podKey: string): void {
    this.#expiries.get(podKey)?.();
    this.#expiries.delete(podKey);
  }
}
