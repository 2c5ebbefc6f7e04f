import type { Operations } from '../control/operations.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { Store } from '../store/store.ts';
import type { Metrics } from './metrics.ts';

/** What the API needs of the world. */
export interface HttpDeps {
  readonly store: Store;
  readonly operations: Operations;
  readonly log: Logger;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly version: { readonly version: string; readonly build: string };
  /** What keeps the instance from being ready, as sentences; empty when it is. */
  readonly notReady: () => readonly string[];
  readonly supportBundle: () => Promise<Uint8Array>;
  /** Aborted when the process stops: watches end and changes are refused. */
  readonly stop: AbortSignal;
  /** Demanded of every request but the probes; absent on the unix socket, which only its owner can open. */
  readonly token?: string;
}
