import { type Clock, monotonicClock, pause } from '../lib/clock.ts';
import { type Logger, silentLogger } from '../lib/log.ts';
import { hasCode } from '../model/errors.ts';
import type { KubeClient } from './client.ts';
import { type Lease, leaseType, microTime } from './types.ts';

export interface LeaderOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Of the Lease. */
  readonly name: string;
  /** Different for every candidate, also for the next life of the same pod. */
  readonly identity: string;
  /** How long the others wait for a leader that falls silent; 15 s. */
  readonly leaseMs?: number;
  /** A leader that could not renew for so long gives up; less than leaseMs; 10 s. */
  readonly renewDeadlineMs?: number;
  /** Between two tries; 2 s. */
  readonly retryMs?: number;
  /** Must not jump when the machine's time is set. */
  readonly clock?: Clock;
  readonly log?: Logger;
  /** Called with a signal that is aborted the moment leadership is lost. */
  readonly onElected: (lost: AbortSignal) => void;
  /** Called once leadership is over, whether lost or to be given back; the Lease is given back when it has ended. */
  readonly onLost?: () => Promise<void> | void;
}

/**
 * One candidate for the leadership that a Lease stands for (coordination.k8s.io/v1, as client-go's leaderelection).
 *
 * There are never two leaders: a leader stops by its own clock when renewDeadlineMs have passed since it began the last
 * renewal that succeeded, and others take over only when leaseMs have passed, by their own clock, since they saw the
 * Lease change. No candidate compares a time in the Lease with its own clock, so clocks may differ at will; only a
 * clock that runs a third slower than another could break it. What a leader had already sent to the server when it lost
 * is caught by the server: its writes carry resource versions.
 */
export class LeaderElection {
  readonly #options: LeaderOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #leaseMs: number;
  readonly #renewDeadlineMs: number;
  readonly #retryMs: number;
  readonly #closing = new AbortController();
  readonly #ended: Promise<void>;
  /** The Lease as it was last seen to change, and when that was by our clock. */
  #observed: { readonly version: string; readonly atMs: number } | undefined;
  /** The end of the work of our last leadership. */
  #stopped: Promise<void> = Promise.resolve();
  #leading: { readonly abort: AbortController; untilMs: number; cancelExpiry: () => void } | undefined;

  constructor(options: LeaderOptions) {
    this.#options = options;
    this.#clock = options.clock ?? monotonicClock;
    this.#log = (options.log ?? silentLogger).child({ lease: options.name, identity: options.identity });
    this.#leaseMs = options.leaseMs ?? 15_000;
    this.#renewDeadlineMs = options.renewDeadlineMs ?? (this.#leaseMs * 2) / 3;
    this.#retryMs = options.retryMs ?? this.#leaseMs / 7.5;
    this.#ended = this.#run();
  }

  /** Whether this process leads at this very moment; also true to the point after it was stopped and went on. */
  get leading(): boolean {
    if (this.#leading && this.#clock.nowMs() >= this.#leading.untilMs) this.#lose('was not renewed in time');
    return this.#leading !== undefined;
  }

  /** Stops being a candidate; a leader first stops leading, then gives the Lease back, so that the next need not wait. */
  async close(): Promise<void> {
    const led = this.leading;
    this.#closing.abort();
    await this.#ended;
    if (!led) return;
    this.#lose('shutdown');
    await this.#stopped;
    await this.#release().catch((error: unknown) => this.#log.warn({ err: error }, 'could not give the lease back'));
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const startedMs = this.#clock.nowMs();
      try {
        if (await this.#tryOnce(startedMs)) this.#renewed(startedMs);
      } catch (error) {
        if (!signal.aborted) this.#log.warn({ err: error, leading: this.leading }, 'could not read or renew the lease');
      }
      if (!signal.aborted) await pause(this.#clock, this.#retryMs * (0.9 + Math.random() * 0.2), signal);
    }
  }

  /** @returns whether the Lease is ours now */
  async #tryOnce(startedMs: number): Promise<boolean> {
    const { client, namespace, name, identity } = this.#options;
    const call = { deadlineMs: this.#renewDeadlineMs, signal: this.#closing.signal };
    const lease = await client.find<Lease>(leaseType, name, { namespace, ...call });
    try {
      if (!lease) {
        const made = { ...this.#lease(undefined), metadata: { name, namespace } };
        this.#see(await client.create<Lease>(leaseType, made, call));
        return true;
      }
      this.#see(lease);
      const holder = lease.spec?.holderIdentity ?? '';
      if (holder !== identity && holder !== '' && !this.#isExpired(lease, startedMs)) {
        if (this.leading) this.#lose(`the lease is held by ${holder}`);
        return false;
      }
      // After our time as leader ran out, others may have begun to lead and ended again: begin anew.
      this.#see(await client.replace<Lease>(leaseType, { ...lease, ...this.#lease(lease) }, call));
      return true;
    } catch (error) {
      if (!hasCode(error, 'Conflict', 'AlreadyExists')) throw error;
      return false;
    }
  }

  #lease(present: Lease | undefined): Pick<Lease, 'spec'> {
    const { identity } = this.#options;
    const now = microTime(Date.now());
    const same = present?.spec?.holderIdentity === identity && this.#leading !== undefined;
    return {
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: Math.ceil(this.#leaseMs / 1_000),
        acquireTime: same ? (present?.spec?.acquireTime ?? now) : now,
        renewTime: now,
        leaseTransitions: (present?.spec?.leaseTransitions ?? -1) + (same ? 0 : 1),
      },
    };
  }

  #see({ metadata }: Lease): void {
    const version = `${metadata.uid}/${metadata.resourceVersion}`;
    if (this.#observed?.version !== version) this.#observed = { version, atMs: this.#clock.nowMs() };
  }

  /** Since we saw the last change, not since the time that its holder wrote into it. */
  #isExpired({ spec }: Lease, nowMs: number): boolean {
    const leaseMs = Math.max((spec?.leaseDurationSeconds ?? 0) * 1_000, this.#leaseMs);
    return this.#observed !== undefined && nowMs >= this.#observed.atMs + leaseMs;
  }

  #renewed(startedMs: number): void {
    const untilMs = startedMs + this.#renewDeadlineMs;
    if (this.#clock.nowMs() >= untilMs || this.#closing.signal.aborted) return;
    this.#leading?.cancelExpiry();
    const cancelExpiry = this.#clock.after(untilMs - this.#clock.nowMs(), () => this.#lose('was not renewed in time'));
    if (this.#leading) {
      Object.assign(this.#leading, { untilMs, cancelExpiry });
      return;
    }
    const abort = new AbortController();
    this.#leading = { abort, untilMs, cancelExpiry };
    this.#log.info({}, 'elected as leader');
    this.#options.onElected(abort.signal);
  }

  #lose(reason: string): void {
    const leading = this.#leading;
    if (!leading) return;
    this.#leading = undefined;
    leading.cancelExpiry();
    this.#log.warn({ reason }, 'no longer the leader');
    leading.abort.abort();
    this.#stopped = (async () => this.#options.onLost?.())().catch((error: unknown) =>
      this.#log.error({ err: error }, 'could not stop what the leader did'),
    );
  }

  async #release(): Promise<void> {
    const { client, namespace, name, identity } = this.#options;
    const call = { deadlineMs: this.#retryMs * 2 };
    const lease = await client.find<Lease>(leaseType, name, { namespace, ...call });
    if (lease?.spec?.holderIdentity !== identity) return;
    await client.replace<Lease>(leaseType, { ...lease, spec: { ...lease.spec, holderIdentity: '' } }, call);
  }
}
