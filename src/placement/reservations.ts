import type { Ledger } from './ledger.ts';
import { promise } from './ledger.ts';
import type { ClaimRequest } from './obstacles.ts';

/** A claim that has a place kept for it and no volume yet. */
export interface Reservation {
  /** The claim: namespace/name. */
  readonly key: string;
  /** The pod whose claims belong together: namespace/name. */
  readonly group: string;
  readonly nodeName: string;
  readonly poolName: string;
  readonly claim: ClaimRequest;
}

/**
 * Places that are kept for the claims of pods, from the moment in which a node was found that holds all of them until each
 * has a volume, whose own promise then counts. They are entries of the ledger like any other; what is promised to a
 * volume that exists goes before them.
 */
export class Reservations {
  readonly #ledger: Ledger;
  readonly #byKey = new Map<string, Reservation>();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string): Reservation | undefined {
    return this.#byKey.get(key);
  }

  list(): readonly Reservation[] {
    return [...this.#byKey.values()];
  }

  set(reservation: Reservation): void {
    const { key, poolName, claim } = reservation;
    this.#byKey.set(key, reservation);
    this.#ledger.set(promise(entryOf(key), poolName, claim));
  }

  delete(key: string): void {
    if (this.#byKey.delete(key)) this.#ledger.delete(entryOf(key));
  }

  /** Asks as if some reservations were not there: see Ledger.without. */
  without<T>(which: (reservation: Reservation) => boolean, work: () => T): T {
    const names = this.list().filter(which);
    return this.#ledger.without(
      names.map(({ key }) => entryOf(key)),
      work,
    );
  }
}

/** Replicas are called by labels, which have no slash. */
function entryOf(key: string): string {
  return `claim/${key}`;
}
