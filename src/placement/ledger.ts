import { bytesOnDisks, type LayoutPolicy, wantedLayout } from '../model/disk-layout.ts';
import type { Replica } from '../model/kinds.ts';
import type { LedgerEntry } from '../model/ledger.ts';
import { headerBytesOf, type Policy } from '../model/policy.ts';

/** What the replicas of a pool add up to. */
export interface PoolSums {
  /** Σ sizes of all replicas, thin and thick, as they lie on the disks. */
  readonly promisedBytes: number;
  /** Bytes that will be allocated at once but are not yet subtracted from the pool's observed free bytes. */
  readonly reservedBytes: number;
  readonly volumes: number;
}

/** Hears of a pool whose sums have changed; `lasting` is false for a question that will put them back. */
export type LedgerListener = (poolName: string, lasting: boolean) => void;

const nothing: PoolSums = { promisedBytes: 0, reservedBytes: 0, volumes: 0 };

/**
 * What is promised, per pool, with sums kept up to date, so that asking costs nothing however many volumes there are.
 * An entry under a name replaces the one before: a promise made before the object is stored is taken over by the object.
 */
export class Ledger {
  readonly #entries = new Map<string, LedgerEntry>();
  readonly #sums = new Map<string, { promisedBytes: number; reservedBytes: number; volumes: number }>();
  /** Of pools that are made of disks: what a volume with a layout takes may depend on it. */
  readonly #disks = new Map<string, number>();
  /** Names of the entries that have a layout. */
  readonly #laidOut = new Set<string>();
  readonly #listeners = new Set<LedgerListener>();

  set(entry: LedgerEntry): void {
    const before = this.#entries.get(entry.replicaName);
    if (before && isSame(before, entry)) return;
    if (before) this.#add(before, -1);
    this.#entries.set(entry.replicaName, entry);
    if (entry.layout) this.#laidOut.add(entry.replicaName);
    else this.#laidOut.delete(entry.replicaName);
    this.#add(entry, 1);
    if (before && before.poolName !== entry.poolName) this.#tell(before.poolName);
    this.#tell(entry.poolName);
  }

  delete(replicaName: string): void {
    const entry = this.#entries.get(replicaName);
    if (!entry) return;
    this.#entries.delete(replicaName);
    this.#laidOut.delete(replicaName);
    this.#add(entry, -1);
    this.#tell(entry.poolName);
  }

  /**
   * Asks as if some entries were not there. The work must change nothing, and end in this turn of the event loop.
   */
  without<T>(replicaNames: readonly string[], work: () => T): T {
    const lifted = replicaNames.flatMap((name) => this.#entries.get(name) ?? []);
    const turn = (sign: 1 | -1) => {
      for (const entry of lifted) this.#add(entry, sign);
      for (const poolName of new Set(lifted.map((entry) => entry.poolName))) this.#tell(poolName, false);
    };
    turn(-1);
    try {
      return work();
    } finally {
      turn(1);
    }
  }

  /** Says how many disks a pool has. */
  setDisks(poolName: string, count: number): void {
    if ((this.#disks.get(poolName) ?? 0) === count) return;
    const affected = [...this.#laidOut].flatMap((name) => {
      const entry = this.#entries.get(name);
      return entry?.poolName === poolName ? [entry] : [];
    });
    for (const entry of affected) this.#add(entry, -1);
    if (count === 0) this.#disks.delete(poolName);
    else this.#disks.set(poolName, count);
    for (const entry of affected) this.#add(entry, 1);
    if (affected.length > 0) this.#tell(poolName);
  }

  /** Calls back with every change. @returns ends the calls */
  onChange(listener: LedgerListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get(replicaName: string): LedgerEntry | undefined {
    return this.#entries.get(replicaName);
  }

  sums(poolName: string): PoolSums {
    return this.#sums.get(poolName) ?? nothing;
  }

  #tell(poolName: string, lasting = true): void {
    for (const listener of [...this.#listeners]) listener(poolName, lasting);
  }

  #add(entry: LedgerEntry, sign: 1 | -1): void {
    const sums = this.#sums.get(entry.poolName) ?? { promisedBytes: 0, reservedBytes: 0, volumes: 0 };
    const disks = this.#disks.get(entry.poolName) ?? 0;
    sums.promisedBytes += sign * bytesOnDisks(entry.promisedBytes, entry.layout, disks);
    sums.reservedBytes += sign * bytesOnDisks(entry.allocatedBytes, entry.layout, disks);
    sums.volumes += sign;
    if (sums.volumes === 0) this.#sums.delete(entry.poolName);
    else this.#sums.set(entry.poolName, sums);
  }
}

function isSame(a: LedgerEntry, b: LedgerEntry): boolean {
  return (
    a.poolName === b.poolName &&
    a.allocatedBytes === b.allocatedBytes &&
    a.promisedBytes === b.promisedBytes &&
    a.layout?.type === b.layout?.type &&
    a.layout?.stripes === b.layout?.stripes &&
    a.layout?.mirrors === b.layout?.mirrors
  );
}

/** The entry of something that was promised a place and is not there yet. */
export function promise(
  name: string,
  poolName: string,
  {
    sizeBytes,
    policy,
  }: {
    readonly sizeBytes: number;
    readonly policy: LayoutPolicy & Partial<Pick<Policy, 'encryption'>>;
  },
): LedgerEntry {
  const promisedBytes = sizeBytes + headerBytesOf(policy);
  const allocatedBytes = policy.provisioning === 'thick' ? promisedBytes : 0;
  return { replicaName: name, poolName, promisedBytes, allocatedBytes, ...layoutOf(policy) };
}

/**
 * The entry of a replica. A thick replica's bytes are reserved until its status shows them: the agent observes the pool
 * again before it reports a size, so whatever the status shows is already missing from the pool's free bytes.
 */
export function ledgerEntry(replica: Pick<Replica, 'metadata' | 'spec' | 'status'>): LedgerEntry {
  const { spec, status } = replica;
  const header = headerBytesOf(spec.policy);
  const shown = status.sizeBytes > 0 ? status.sizeBytes + header : 0;
  const allocatedBytes = spec.policy.provisioning === 'thick' ? Math.max(0, spec.sizeBytes + header - shown) : 0;
  return {
    poolName: spec.poolName,
    replicaName: replica.metadata.name,
    allocatedBytes,
    promisedBytes: Math.max(spec.sizeBytes, status.sizeBytes) + header,
    ...layoutOf(spec.policy),
  };
}

function layoutOf(policy: LayoutPolicy): Pick<LedgerEntry, 'layout'> {
  const layout = wantedLayout(policy);
  return layout ? { layout } : {};
}

/** The ledger of a set of replicas. */
export function ledger(replicas: Iterable<Pick<Replica, 'metadata' | 'spec' | 'status'>>): Ledger {
  const book = new Ledger();
  for (const replica of replicas) book.set(ledgerEntry(replica));
  return book;
}
