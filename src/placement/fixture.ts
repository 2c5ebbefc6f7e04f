/** Pools and nodes for tests and the benchmark, and placement done the plain way, to compare with. */
import type { Node, Pool } from '../model/kinds.ts';
import { apiVersion } from '../model/meta.ts';
import { NodeSpec, NodeStatus } from '../model/node.ts';
import { PoolSpec, PoolStatus, presentDisks } from '../model/pool.ts';
import { roomOf } from './capacity.ts';
import { Ledger, promise } from './ledger.ts';
import { type ClaimRequest, obstacleOf, shortageOf } from './obstacles.ts';
import type { PlaceRequest } from './place.ts';
import { PoolStock } from './stock.ts';

export const gibibyte = 2 ** 30;

/** The metadata of any object. */
export const meta = (name: string, labels: Record<string, string> = {}) => ({
  name,
  uid: name,
  resourceVersion: '1',
  generation: 1,
  creationTimestamp: '2026-01-01T00:00:00.000Z',
  finalizers: [],
  ownerReferences: [],
  labels,
  annotations: {},
});

export function makeNode(name: string, spec: Partial<NodeSpec> = {}, status: Partial<NodeStatus> = {}): Node {
  return {
    apiVersion,
    kind: 'Node',
    metadata: meta(name),
    spec: NodeSpec.parse(spec),
    status: NodeStatus.parse({ phase: 'Ready', ...status }),
  };
}

/** A pool of 100 GiB, all of it free, without a reserve, on node n1. */
export function makePool(
  name: string,
  part: { spec?: Partial<PoolSpec>; status?: Partial<PoolStatus>; labels?: Record<string, string> } = {},
): Pool {
  const spec = { nodeName: 'n1', source: { kind: 'directory', path: `/p/${name}` }, reservePercent: 0, ...part.spec };
  const status = { phase: 'Ready', capacityBytes: 100 * gibibyte, freeBytes: 100 * gibibyte, ...part.status };
  return {
    apiVersion,
    kind: 'Pool',
    metadata: meta(name, part.labels),
    spec: PoolSpec.parse(spec),
    status: PoolStatus.parse(status),
  };
}

export function makeStock(nodes: Iterable<Node>, pools: Iterable<Pool>, ledger = new Ledger()): PoolStock {
  const stock = new PoolStock(ledger);
  for (const one of nodes) stock.setNode(one);
  for (const one of pools) stock.setPool(one);
  return stock;
}

/** What placement is given, without an index. */
export interface PlainState {
  readonly nodes: ReadonlyMap<string, Node>;
  readonly pools: readonly Pool[];
  readonly ledger: Ledger;
}

/** Placement of one claim by looking at every pool: what an index is measured against. */
export function placeByScan(
  { claims: [claim], nodeNames }: PlaceRequest,
  { nodes, pools, ledger }: PlainState,
): string | undefined {
  let best: { readonly name: string; readonly rank: number; readonly score: number } | undefined;
  for (const pool of claim ? pools : []) {
    if (!claim || obstacleOf({ ...claim, nodeNames }, pool, nodes.get(pool.spec.nodeName))) continue;
    const room = roomOf(pool, ledger.sums(pool.metadata.name));
    if (shortageOf(claim, room, presentDisks(pool.status))) continue;
    const { name } = pool.metadata;
    const rank = nodeNames?.indexOf(pool.spec.nodeName) ?? 0;
    const order = best ? rank - best.rank || best.score - room.spareBytes || (name < best.name ? -1 : 1) : -1;
    if (order < 0) best = { name, rank, score: room.spareBytes };
  }
  return best?.name;
}

/** Whether a node can hold all claims: every way to spread them over its pools is tried, each in every order. */
export function holdsByTrial(claims: readonly ClaimRequest[], nodeName: string, state: PlainState): boolean {
  const pools = state.pools.filter(({ spec }) => spec.nodeName === nodeName);
  const ways = claims.reduce<Pool[][]>((some, _) => some.flatMap((way) => pools.map((pool) => [...way, pool])), [[]]);
  return ways.some((way) =>
    permutations(claims.map((_, index) => index)).every((order) => {
      const book = new Ledger();
      return order.every((index) => {
        const claim = claims[index];
        const pool = way[index];
        if (!claim || !pool || obstacleOf(claim, pool, state.nodes.get(nodeName))) return false;
        const { name } = pool.metadata;
        const before = state.ledger.sums(name);
        const own = book.sums(name);
        const room = roomOf(pool, {
          promisedBytes: before.promisedBytes + own.promisedBytes,
          reservedBytes: before.reservedBytes + own.reservedBytes,
          volumes: 0,
        });
        book.set(promise(String(index), name, claim));
        return !shortageOf(claim, room, presentDisks(pool.status));
      });
    }),
  );
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item, index) => permutations(items.toSpliced(index, 1)).map((rest) => [item, ...rest]));
}
