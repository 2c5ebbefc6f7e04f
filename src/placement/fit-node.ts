import { formatBytes } from '../lib/quantity.ts';
import { holdsTogether } from './capacity.ts';
import type { Lot } from './lot.ts';
import {
  type ClaimRequest,
  isOpenTo,
  type Obstacle,
  type ObstacleCode,
  obstacleOf,
  shortageOf,
  storedBytes,
  takenBytes,
} from './obstacles.ts';
import type { Stock } from './stock.ts';

/** The pools of a node for some claims, in the order of the claims; or why it cannot hold them all. */
export type NodeFit = { readonly fits: true; readonly nodeName: string; readonly pools: readonly string[] } | Refusal;

/** Why a node cannot hold the claims. Found out when it is read, which must be before anything changes. */
export class Refusal {
  readonly fits = false;
  readonly nodeName: string;
  readonly #claims: readonly ClaimRequest[];
  readonly #lots: readonly Lot[];

  constructor(nodeName: string, claims: readonly ClaimRequest[], lots: readonly Lot[]) {
    this.nodeName = nodeName;
    this.#claims = claims;
    this.#lots = lots;
  }

  get code(): ObstacleCode {
    return this.#why().code;
  }

  /** One clause for a person. */
  get reason(): string {
    return this.#why().reason;
  }

  #why(): Obstacle {
    const lacking = this.#claims.findIndex((claim) => !this.#lots.some((lot) => takesAlone(claim, lot)));
    return lacking < 0 ? tooMuchTogether(this.#claims) : whyNot(this.#claims, lacking, this.#lots);
  }
}

/** Ways that are tried before a node counts as too full: so many claims on so many pools are no ordinary pod. */
const mostTries = 5_000;

/**
 * Whether one node can hold all these claims together, and on which of its pools. Exact as long as claims and pools are
 * few; beyond that it may say no where a way exists, never yes where none does.
 */
export function fitNode(claims: readonly ClaimRequest[], nodeName: string, stock: Stock): NodeFit {
  const lots = stock.lotsOn(nodeName);
  const [first] = lots;
  // Most nodes have one pool, so that there is nothing to choose.
  if (first && lots.length === 1)
    return fitsLot(claims, first)
      ? { fits: true, nodeName, pools: claims.map(() => first.name) }
      : new Refusal(nodeName, claims, lots);
  const chosen = assign(claims, lots);
  return chosen ? { fits: true, nodeName, pools: chosen } : new Refusal(nodeName, claims, lots);
}

function fitsLot(claims: readonly ClaimRequest[], lot: Lot): boolean {
  let load: Load | undefined;
  for (const claim of claims) {
    if (!isOpenTo(claim, lot)) return false;
    load = add(load, claim, lot);
  }
  return load === undefined || isHeld(lot, load);
}

function takesAlone(claim: ClaimRequest, lot: Lot): boolean {
  return isOpenTo(claim, lot) && isHeld(lot, add(undefined, claim, lot));
}

/** What of a pool some claims take. */
interface Load {
  readonly thinBytes: number | undefined;
  readonly thickBytes: number;
}

/** Tries the pools, best first, for the largest claim first; a pool that is refused gives way to the next. */
function assign(claims: readonly ClaimRequest[], lots: readonly Lot[]): string[] | undefined {
  const order = claims.map((claim, index) => ({ claim, index }));
  order.sort((a, b) => storedBytes(b.claim) - storedBytes(a.claim) || a.index - b.index);
  const best = [...lots].sort((a, b) => b.room.spareBytes - a.room.spareBytes || (a.name < b.name ? -1 : 1));
  const loads = new Map<string, Load>();
  const chosen: string[] = [];
  let tries = 0;
  const next = (depth: number): boolean => {
    const turn = order[depth];
    if (!turn) return true;
    for (const lot of best) {
      if (++tries > mostTries) return false;
      const before = loads.get(lot.name);
      const after = add(before, turn.claim, lot);
      if (!isOpenTo(turn.claim, lot) || !isHeld(lot, after)) continue;
      loads.set(lot.name, after);
      chosen[turn.index] = lot.name;
      if (next(depth + 1)) return true;
      if (before) loads.set(lot.name, before);
      else loads.delete(lot.name);
    }
    return false;
  };
  return next(0) ? chosen : undefined;
}

function add(before: Load = { thinBytes: undefined, thickBytes: 0 }, claim: ClaimRequest, { disks }: Lot): Load {
  const sizeBytes = takenBytes(claim, disks);
  const { policy } = claim;
  return policy.provisioning === 'thick'
    ? { ...before, thickBytes: before.thickBytes + sizeBytes }
    : { ...before, thinBytes: (before.thinBytes ?? 0) + sizeBytes };
}

function isHeld({ room }: Lot, { thinBytes, thickBytes }: Load): boolean {
  return holdsTogether(room, thinBytes, thickBytes);
}

function tooMuchTogether(claims: readonly ClaimRequest[]): Obstacle {
  const wanted = formatBytes(claims.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
  const reason = `its pools have room for each of the ${claims.length} volumes, but not for all of them, ${wanted} together`;
  return { code: 'NoRoomTogether', reason };
}

/** Of several pools the one that lacks only space says it: it is the nearest to a yes. */
function whyNot(claims: readonly ClaimRequest[], lacking: number, lots: readonly Lot[]): Obstacle {
  const claim = claims[lacking];
  const all = lots.flatMap(({ name, pool, node, room, disks }) => {
    if (!claim) return [];
    const obstacle = obstacleOf(claim, pool, node);
    const found = obstacle ?? shortageOf(claim, room, disks);
    return found ? [{ name, lacksSpace: !obstacle, ...found }] : [];
  });
  const nearest = all.find(({ lacksSpace }) => lacksSpace) ?? all[0];
  if (!nearest) return { code: 'NoPool', reason: 'it has no pool' };
  const what = claims.length === 1 ? '' : ` for ${claim?.name ?? `volume ${lacking + 1}`}`;
  return { code: nearest.code, reason: `pool ${nearest.name}${what}: ${nearest.reason}` };
}
