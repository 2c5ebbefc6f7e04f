import { formatBytes } from '../lib/quantity.ts';
import type { Node, Pool } from '../model/kinds.ts';
import type { Policy } from '../model/policy.ts';
import { roomOf } from './capacity.ts';
import type { Ledger } from './ledger.ts';

/** What is looked for. */
export interface PlaceRequest {
  readonly sizeBytes: number;
  readonly policy: Pick<Policy, 'engine' | 'provisioning' | 'poolSelector' | 'deviceClass'> & {
    readonly replicas?: number;
  };
  /** Only this pool, by the user's wish or because the source lies there. */
  readonly poolName?: string | undefined;
  /** Never these: the pool that is drained, pools that hold a copy already. */
  readonly excludedPools?: readonly string[];
  /** Only on these nodes, the first ones preferred. */
  readonly nodeNames?: readonly string[] | undefined;
}

export interface Consideration {
  readonly nodeName: string;
  readonly poolName: string;
  readonly fits: boolean;
  /** One clause for a person. */
  readonly reason: string;
  /** Bytes that may still be given away; more is better. */
  readonly score?: number;
}

/** Where, or why not. `chosen` is empty when there are not enough pools that fit. */
export interface PlacementResult {
  readonly chosen: readonly { readonly nodeName: string; readonly poolName: string }[];
  readonly considered: readonly Consideration[];
  /** Whether some pool would do but for its space: answers "full" rather than "impossible". */
  readonly onlySpaceLacks: boolean;
}

/**
 * Chooses pools for a volume: the one with the most room first, one per node, by name among equals. Pure and linear in
 * the number of pools.
 *
 * @param ledger sums of what is promised; use a replica's own entry out of it before placing it again
 */
export function place(
  request: PlaceRequest,
  nodes: Pick<ReadonlyMap<string, Node>, 'get'>,
  pools: Iterable<Pool>,
  ledger: Ledger,
): PlacementResult {
  const thick = request.policy.provisioning === 'thick';
  const verdicts: Verdict[] = [];
  const fitting: Candidate[] = [];
  let onlySpaceLacks = false;
  for (const pool of pools) {
    const poolName = pool.metadata.name;
    const { nodeName } = pool.spec;
    const obstacle = obstacleOf(request, pool, nodes.get(nodeName));
    if (obstacle) {
      verdicts.push({ nodeName, poolName, obstacle });
      continue;
    }
    const room = roomOf(pool, ledger.sums(poolName));
    const score = thick ? room.thickBytes : room.thinBytes;
    const fits = request.sizeBytes <= score;
    verdicts.push({ nodeName, poolName, score, fits, short: room.short });
    if (fits) fitting.push({ nodeName, poolName, score: room.thickBytes });
    else onlySpaceLacks = true;
  }
  let considered: readonly Consideration[] | undefined;
  return {
    chosen: choose(fitting, request),
    onlySpaceLacks,
    // Sentences for ten thousand pools cost more than the choice: they are made for those who read them.
    get considered() {
      considered ??= verdicts.map((verdict) => explain(verdict, thick));
      return considered;
    },
  };
}

/** What was found of one pool: an obstacle, or how its room compares. */
type Verdict =
  | { readonly nodeName: string; readonly poolName: string; readonly obstacle: string }
  | {
      readonly nodeName: string;
      readonly poolName: string;
      readonly score: number;
      readonly fits: boolean;
      readonly short: boolean;
    };

function explain(verdict: Verdict, thick: boolean): Consideration {
  const { nodeName, poolName } = verdict;
  if ('obstacle' in verdict) return { nodeName, poolName, fits: false, reason: verdict.obstacle };
  const { fits, score, short } = verdict;
  return { nodeName, poolName, fits, reason: fits ? 'fits' : shortage(thick, short, score), score };
}

function obstacleOf(request: PlaceRequest, pool: Pool, node: Node | undefined): string | undefined {
  const { metadata, spec, status } = pool;
  if (request.poolName !== undefined && request.poolName !== metadata.name)
    return 'the volume is bound to another pool';
  if (request.excludedPools?.includes(metadata.name))
    return 'excluded: it is the pool that is left, or holds a copy already';
  if (request.nodeNames && !request.nodeNames.includes(spec.nodeName))
    return `its node ${spec.nodeName} is not one of those asked for`;
  if (spec.engine !== request.policy.engine) return `its engine is ${spec.engine}, not ${request.policy.engine}`;
  const wanted = request.policy.deviceClass;
  const known = spec.deviceClass ?? status.deviceClass;
  if (wanted !== undefined && known !== wanted)
    return known === undefined
      ? `its device class is not known, and ${wanted} is asked for`
      : `its device class is ${known}, not ${wanted}`;
  const { names, labels } = request.policy.poolSelector;
  if (names && !names.includes(metadata.name)) return 'the class does not name it';
  for (const [key, value] of labels ? Object.entries(labels) : []) {
    if (metadata.labels[key] !== value) return `it has not the label ${key}=${value} that the class asks for`;
  }
  if (metadata.deletionTimestamp) return 'it is being removed';
  if (spec.draining) return 'it is being drained';
  if (spec.cordoned) return 'it is cordoned';
  if (!node) return `its node ${spec.nodeName} is not known`;
  if (node.spec.cordoned) return `its node ${spec.nodeName} is cordoned`;
  if (node.status.phase !== 'Ready') return `its node ${spec.nodeName} is not ready`;
  if (status.phase !== 'Ready') return `it is not ready (${status.phase})`;
  const failing = status.causes.find(({ code }) => code === 'DiskFailing');
  if (failing) return `its disk ${failing.evidence.disk ?? ''} is failing`;
  return undefined;
}

function shortage(thick: boolean, short: boolean, roomBytes: number): string {
  if (short) return 'it is full up to its reserve';
  return thick
    ? `it has ${formatBytes(roomBytes)} left that may be allocated at once`
    : `it has ${formatBytes(roomBytes)} left up to its overcommit limit`;
}

interface Candidate {
  readonly nodeName: string;
  readonly poolName: string;
  readonly score: number;
}

function choose(fitting: readonly Candidate[], request: PlaceRequest): { nodeName: string; poolName: string }[] {
  const wanted = request.policy.replicas ?? 1;
  const rank = new Map((request.nodeNames ?? []).map((name, index) => [name, index]));
  const compare = (a: Candidate, b: Candidate) =>
    (rank.get(a.nodeName) ?? 0) - (rank.get(b.nodeName) ?? 0) ||
    b.score - a.score ||
    (a.poolName < b.poolName ? -1 : 1);
  if (wanted === 1) {
    const best = fitting.reduce<Candidate | undefined>((a, b) => (a && compare(a, b) < 0 ? a : b), undefined);
    return best ? [{ nodeName: best.nodeName, poolName: best.poolName }] : [];
  }
  const bestOfNode = new Map<string, Candidate>();
  for (const candidate of fitting) {
    const best = bestOfNode.get(candidate.nodeName);
    if (!best || compare(candidate, best) < 0) bestOfNode.set(candidate.nodeName, candidate);
  }
  const ranked = [...bestOfNode.values()].sort(compare).slice(0, wanted);
  return ranked.length < wanted ? [] : ranked.map(({ nodeName, poolName }) => ({ nodeName, poolName }));
}
