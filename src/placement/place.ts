import { presentDisks } from '../model/pool.ts';
import { fitNode, type Refusal } from './fit-node.ts';
import { type ClaimRequest, type Obstacle, obstacleOf, roomFor, shortageOf, storedBytes } from './obstacles.ts';
import type { Stock } from './stock.ts';

/** What is looked for: volumes that one node shall hold together, such as those of a pod. */
export interface PlaceRequest {
  readonly claims: readonly ClaimRequest[];
  /** Only on these nodes, the first ones preferred. */
  readonly nodeNames?: readonly string[] | undefined;
}

export interface Place {
  readonly nodeName: string;
  readonly poolName: string;
}

/** What was found of one pool for one claim. */
export interface Consideration {
  readonly nodeName: string;
  readonly poolName: string;
  readonly fits: boolean;
  readonly code?: Obstacle['code'];
  /** One clause for a person. */
  readonly reason: string;
  /** Bytes that may still be given away; more is better. */
  readonly score?: number;
}

/** Where, or why not. */
export interface PlacementResult {
  /** For each claim, in their order, the places of its copies; undefined when there is no place for all of them. */
  readonly places: readonly (readonly Place[])[] | undefined;
  /** Every pool for the first claim, in the order of names. Made when it is read. */
  readonly considered: readonly Consideration[];
  /** Why each node that is asked for, or else each that has pools, cannot hold the claims. Made when it is read. */
  readonly refusals: readonly Refusal[];
  /** Whether some node would do but for its space: answers "full" rather than "impossible". */
  readonly onlySpaceLacks: boolean;
}

const spaceCodes: readonly Obstacle['code'][] = ['PoolFull', 'NoRoom', 'NoRoomTogether'];

/**
 * Chooses pools for claims: on the node that is named first, else on the one whose pool has the most room for the
 * largest claim, by name among equals. Further copies of a claim go to other nodes. Pure; what it reads must not change
 * meanwhile. A promise that is to be placed anew must be out of the ledger.
 */
export function place(request: PlaceRequest, stock: Stock): PlacementResult {
  const places = choose(request, stock);
  let considered: readonly Consideration[] | undefined;
  let refusals: PlacementResult['refusals'] | undefined;
  return {
    places,
    // Sentences for ten thousand pools cost more than the choice: they are made for those who read them.
    get considered() {
      considered ??= consider(request, stock);
      return considered;
    },
    get refusals() {
      refusals ??= refuse(request, stock);
      return refusals;
    },
    get onlySpaceLacks() {
      return this.refusals.some(({ code }) => spaceCodes.includes(code));
    },
  };
}

function choose({ claims, nodeNames }: PlaceRequest, stock: Stock): Place[][] | undefined {
  if (claims.length === 0) return [];
  for (const nodeName of nodeNames ?? nodesInOrder(claims, stock)) {
    const fit = fitNode(claims, nodeName, stock);
    if (!fit.fits) continue;
    const places = claims.map((claim, index) =>
      copies(claim, { nodeName, poolName: fit.pools[index] ?? '' }, stock, nodeNames),
    );
    const complete = places.filter((one) => one !== undefined);
    if (complete.length === places.length) return complete;
  }
  return undefined;
}

/** Nodes with room for the largest claim, the one whose pool has the most first. */
function* nodesInOrder(claims: readonly ClaimRequest[], stock: Stock): Generator<string> {
  const largest = claims.reduce((a, b) => (storedBytes(b) > storedBytes(a) ? b : a));
  const pinned = claims.find(({ poolName }) => poolName !== undefined)?.poolName;
  if (pinned !== undefined) {
    const pool = stock.pool(pinned);
    if (pool) yield pool.spec.nodeName;
    return;
  }
  const met = new Set<string>();
  for (const { metadata, spec } of stock.ranked(largest.policy, storedBytes(largest))) {
    if (met.has(spec.nodeName) || largest.excludedPools?.includes(metadata.name)) continue;
    met.add(spec.nodeName);
    yield spec.nodeName;
  }
}

/** The first copy's place and, for a class with more, those of the others, each on a node of its own. */
function copies(
  claim: ClaimRequest,
  first: Place,
  stock: Stock,
  nodeNames: readonly string[] | undefined,
): Place[] | undefined {
  const wanted = claim.policy.replicas ?? 1;
  const found = [first];
  if (wanted === 1) return found;
  const rank = new Map(nodeNames?.map((name, index) => [name, index]));
  const others = new Map<string, Place>();
  for (const { metadata, spec } of stock.ranked(claim.policy, storedBytes(claim))) {
    const { nodeName } = spec;
    if (nodeName === first.nodeName || others.has(nodeName) || claim.excludedPools?.includes(metadata.name)) continue;
    if (nodeNames && !rank.has(nodeName)) continue;
    others.set(nodeName, { nodeName, poolName: metadata.name });
    if (!nodeNames && others.size === wanted - 1) break;
  }
  const sorted = [...others.values()].sort((a, b) => (rank.get(a.nodeName) ?? 0) - (rank.get(b.nodeName) ?? 0));
  found.push(...sorted.slice(0, wanted - 1));
  return found.length === wanted ? found : undefined;
}

function consider({ claims: [claim], nodeNames }: PlaceRequest, stock: Stock): Consideration[] {
  if (!claim) return [];
  return stock.pools().map((pool) => {
    const { nodeName } = pool.spec;
    const poolName = pool.metadata.name;
    const obstacle = obstacleOf({ ...claim, nodeNames }, pool, stock.node(nodeName));
    if (obstacle) return { nodeName, poolName, fits: false, ...obstacle };
    const room = stock.room(poolName);
    const disks = presentDisks(pool.status);
    const score = roomFor(claim.policy, room, disks);
    const shortage = shortageOf(claim, room, disks);
    return { nodeName, poolName, fits: !shortage, reason: 'fits', ...shortage, score };
  });
}

function refuse({ claims, nodeNames }: PlaceRequest, stock: Stock): Refusal[] {
  const names = nodeNames ?? stock.nodeNames();
  const refusals: Refusal[] = [];
  for (const name of names) {
    const fit = fitNode(claims, name, stock);
    if (!fit.fits) refusals.push(fit);
  }
  return refusals;
}
