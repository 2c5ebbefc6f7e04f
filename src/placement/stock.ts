import { wantedLayout } from '../model/disk-layout.ts';
import type { Node, Pool } from '../model/kinds.ts';
import { presentDisks } from '../model/pool.ts';
import { noRoom, type Room, roomOf } from './capacity.ts';
import type { Ledger } from './ledger.ts';
import type { Lot } from './lot.ts';
import { isAdmitted, type PlacementPolicy, roomFor, stateObstacle } from './obstacles.ts';
import { Ranking } from './ranking.ts';

/** What placement reads: all pools with their room, as of now. */
export interface Stock {
  node(name: string): Node | undefined;
  pool(name: string): Pool | undefined;
  /** In the order of names. */
  pools(): readonly Pool[];
  /** The pools of a node in the order of names; empty for a node without pools. */
  lotsOn(nodeName: string): readonly Lot[];
  /** Of nodes that have pools, in order. */
  nodeNames(): readonly string[];
  room(poolName: string): Room;
  /** Pools that the policy admits and that have so much room for it: the most free bytes first, by name among equals. */
  ranked(policy: PlacementPolicy, sizeBytes: number): Iterable<Pool>;
}

interface Shelf {
  readonly policy: PlacementPolicy;
  readonly ranking: Ranking;
}

/** Policies whose rankings are kept: those that were asked for last. */
const keptShelves = 64;

const byName = (a: Lot, b: Lot) => (a.name < b.name ? -1 : 1);
const none: readonly Lot[] = [];

/**
 * The pools with their room, kept up to date change by change. For each policy that is asked for there is a ranking of
 * the pools that it admits, so that a question does not look at every pool however many there are.
 */
export class PoolStock implements Stock {
  readonly ledger: Ledger;
  readonly #nodes = new Map<string, Node>();
  readonly #lots = new Map<string, Lot>();
  readonly #lotsOfNode = new Map<string, readonly Lot[]>();
  readonly #shelves = new Map<string, Shelf>();
  readonly #listeners = new Set<(nodeName: string) => void>();
  #sorted: readonly Pool[] | undefined;
  #nodeNames: readonly string[] | undefined;

  constructor(ledger: Ledger) {
    this.ledger = ledger;
    ledger.onChange((poolName, lasting) => this.#refresh(poolName, lasting));
  }

  node(name: string): Node | undefined {
    return this.#nodes.get(name);
  }

  pool(name: string): Pool | undefined {
    return this.#lots.get(name)?.pool;
  }

  pools(): readonly Pool[] {
    this.#sorted ??= [...this.#lots.values()].sort(byName).map(({ pool }) => pool);
    return this.#sorted;
  }

  lotsOn(nodeName: string): readonly Lot[] {
    return this.#lotsOfNode.get(nodeName) ?? none;
  }

  nodeNames(): readonly string[] {
    this.#nodeNames ??= [...this.#lotsOfNode.keys()].sort();
    return this.#nodeNames;
  }

  room(poolName: string): Room {
    return this.#lots.get(poolName)?.room ?? noRoom;
  }

  *ranked(policy: PlacementPolicy, sizeBytes: number): Iterable<Pool> {
    for (const name of this.#shelf(policy).ranking.best(sizeBytes)) {
      const pool = this.pool(name);
      if (pool) yield pool;
    }
  }

  /** Calls back with the name of a node whose pools, or what is left of them, may have changed. @returns ends the calls */
  onChange(listener: (nodeName: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  setNode(node: Node): void {
    this.#nodes.set(node.metadata.name, node);
    this.#nodeChanged(node.metadata.name);
  }

  deleteNode(name: string): void {
    this.#nodes.delete(name);
    this.#nodeChanged(name);
  }

  setPool(pool: Pool): void {
    const { name } = pool.metadata;
    const before = this.#lots.get(name);
    if (before && before.pool.spec.nodeName !== pool.spec.nodeName) this.deletePool(name);
    this.#sorted = undefined;
    this.ledger.setDisks(name, presentDisks(pool.status));
    this.#put(pool);
    this.#tell(pool.spec.nodeName);
  }

  deletePool(name: string): void {
    const lot = this.#lots.get(name);
    if (!lot) return;
    this.#lots.delete(name);
    this.ledger.setDisks(name, 0);
    this.#sorted = undefined;
    const { nodeName } = lot.pool.spec;
    const left = this.lotsOn(nodeName).filter((one) => one.name !== name);
    if (left.length === 0) {
      this.#lotsOfNode.delete(nodeName);
      this.#nodeNames = undefined;
    } else this.#lotsOfNode.set(nodeName, left);
    for (const { ranking } of this.#shelves.values()) ranking.delete(name);
    this.#tell(nodeName);
  }

  #nodeChanged(name: string): void {
    for (const { pool } of this.lotsOn(name)) this.#put(pool);
    this.#tell(name);
  }

  #refresh(poolName: string, lasting: boolean): void {
    const lot = this.#lots.get(poolName);
    if (!lot) return;
    this.#put(lot.pool);
    if (lasting) this.#tell(lot.pool.spec.nodeName);
  }

  /** Looks at a pool anew, with its node and its sums. */
  #put(pool: Pool): void {
    const { metadata, spec, status } = pool;
    const { name } = metadata;
    const node = this.#nodes.get(spec.nodeName);
    const lot: Lot = {
      pool,
      node,
      name,
      engine: spec.engine,
      deviceClass: spec.deviceClass ?? status.deviceClass,
      open: !stateObstacle(pool, node),
      room: roomOf(pool, this.ledger.sums(name)),
      disks: presentDisks(status),
    };
    this.#lots.set(name, lot);
    const others = this.lotsOn(spec.nodeName).filter((one) => one.name !== name);
    if (!this.#lotsOfNode.has(spec.nodeName)) this.#nodeNames = undefined;
    this.#lotsOfNode.set(spec.nodeName, others.length === 0 ? [lot] : [...others, lot].sort(byName));
    for (const shelf of this.#shelves.values()) rank(shelf, lot);
  }

  #shelf(policy: PlacementPolicy): Shelf {
    const key = keyOf(policy);
    const known = this.#shelves.get(key);
    const shelf = known ?? { policy, ranking: new Ranking() };
    if (!known) for (const lot of this.#lots.values()) rank(shelf, lot);
    // The last one asked for is the last one to go.
    this.#shelves.delete(key);
    this.#shelves.set(key, shelf);
    const [oldest] = this.#shelves.keys();
    if (this.#shelves.size > keptShelves && oldest !== undefined) this.#shelves.delete(oldest);
    return shelf;
  }

  #tell(nodeName: string): void {
    for (const listener of [...this.#listeners]) listener(nodeName);
  }
}

function rank({ policy, ranking }: Shelf, lot: Lot): void {
  const { name, room, disks } = lot;
  if (isAdmitted(policy, lot)) ranking.set(name, room.spareBytes, roomFor(policy, room, disks));
  else ranking.delete(name);
}

/** Equal for policies that admit the same pools and ask for the same kind of room. */
function keyOf(policy: PlacementPolicy): string {
  const { engine, provisioning, deviceClass, poolSelector } = policy;
  const { names, labels } = poolSelector;
  const sorted = labels && Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([engine, provisioning, deviceClass, names, sorted, wantedLayout(policy)]);
}
