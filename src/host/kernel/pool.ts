import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { AzekuraError } from '../../model/errors.ts';
import { type Containment, contains, familyOf, hungError } from '../containment.ts';
import type { BatchCall } from '../kernel.ts';
import { kernelError } from './failure.ts';
import { Helper } from './helper.ts';
import type { KernelReply } from './protocol.ts';
import { FairQueue } from './queue.ts';
import type { KernelCall } from './sync.ts';

/** Bounds of the pool; see WorkerPool. */
export interface PoolLimits {
  /** Helpers at work on calls that answer as they should. */
  readonly busy: number;
  /** Calls of one domain at the same time. */
  readonly perDomain: number;
  /** Slow calls of one family of domains ("pool/main" and all below it) at the same time. */
  readonly slowPerFamily: number;
  /** A call that has taken longer makes room for another helper. */
  readonly slowMs: number;
  /** Processes altogether that have not been abandoned. */
  readonly processes: number;
  /** After which an idle helper ends. Starting one costs as much as a hundred calls. */
  readonly idleMs: number;
}

const defaultLimits: PoolLimits = {
  busy: 8,
  perDomain: 4,
  slowPerFamily: 8,
  slowMs: 100,
  processes: 40,
  idleMs: 5_000,
};
const lookAgainMs = 50;
/** Time after a deadline in which a reply that is there already is read. */
const graceMs = 20;
/** Shortest time that a call waits for a free helper before it is given up. */
const patienceMs = 10_000;

interface Call {
  readonly domain: string;
  readonly call: KernelCall;
  readonly args: readonly unknown[];
  readonly deadlineMs: number;
  resolve(result: unknown): void;
  reject(error: unknown): void;
  /** When a helper took it. */
  startedMs: number;
  cancelTimer(): void;
}

/**
 * The helper processes. They start when they are needed, one at a time, and end when they are idle, so that an idle
 * daemon is alone. A call that does not answer in time is abandoned with its helper: the domain is refused until that
 * process has gone, all others go on with other helpers. What a hung device can cost is bounded: `perDomain` processes,
 * and `slowPerFamily` for all volumes of one pool together.
 */
export class WorkerPool {
  readonly #argv: readonly [string, ...string[]];
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #containment: Containment;
  readonly #limits: PoolLimits;
  readonly #queue = new FairQueue<Call>();
  readonly #running = new Map<Helper, Call>();
  readonly #idle: Helper[] = [];
  readonly #starting = new Set<Helper>();
  #sweeping = false;
  #looking = false;
  #closed = false;
  #whenQuiet: (() => void) | undefined;

  constructor(options: {
    readonly argv: readonly [string, ...string[]];
    readonly clock: Clock;
    readonly log: Logger;
    readonly containment: Containment;
    readonly limits?: Partial<PoolLimits>;
  }) {
    this.#argv = options.argv;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#containment = options.containment;
    this.#limits = { ...defaultLimits, ...options.limits };
  }

  /** Processes that are there and have not been abandoned. */
  get size(): number {
    return this.#running.size + this.#idle.length + this.#starting.size;
  }

  /** Makes one call. @throws AzekuraError, see Kernel */
  run(domain: string, call: KernelCall, args: readonly unknown[], deadlineMs: number): Promise<unknown> {
    const refusal = this.#containment.refusal(domain) ?? (this.#closed ? stopping() : undefined);
    if (refusal) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      const entry: Call = { domain, call, args, deadlineMs, resolve, reject, startedMs: 0, cancelTimer: () => {} };
      entry.cancelTimer = this.#clock.after(Math.max(deadlineMs, patienceMs), () => this.#gaveUpWaiting(entry));
      this.#queue.push(entry);
      this.#dispatch();
    });
  }

  /** Refuses new calls, lets running ones end for a short time, and ends all helpers. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const call of this.#queue.drain(() => true)) this.#settle(call, () => call.reject(stopping()));
    for (const helper of [...this.#idle.splice(0), ...this.#starting]) helper.end();
    if (this.#running.size > 0) {
      await new Promise<void>((resolve) => {
        this.#whenQuiet = resolve;
        this.#clock.after(2_000, resolve);
      });
    }
    for (const [helper, call] of [...this.#running]) {
      this.#running.delete(helper);
      helper.abandon();
      this.#settle(call, () => call.reject(stopping()));
    }
  }

  #dispatch(): void {
    while (this.#queue.length > 0 && this.#responsive() < this.#limits.busy) {
      const helper = this.#idle.at(-1);
      if (!helper) {
        this.#startOne();
        break;
      }
      const call = this.#queue.take((domain, busy) => busy < this.#limits.perDomain && !this.#familyIsSlow(domain));
      if (!call) break;
      this.#idle.pop();
      this.#begin(helper, call);
    }
    if (this.#queue.length > 0) this.#lookAgain();
  }

  #begin(helper: Helper, call: Call): void {
    call.cancelTimer();
    call.startedMs = this.#clock.nowMs();
    const slowMs = Math.min(this.#limits.slowMs, call.deadlineMs);
    call.cancelTimer = this.#clock.after(slowMs, () => {
      // Perhaps it hangs: a spare helper keeps the neighbours from having to wait for the start of one.
      if (this.#idle.length === 0) this.#startOne();
      call.cancelTimer = this.#clock.after(call.deadlineMs - slowMs, () => {
        // When this process itself stood still (a busy event loop, a suspended machine), timers come before the replies
        // that wait in the pipes: those are read first.
        call.cancelTimer = this.#clock.after(graceMs, () => this.#hangs(helper, call));
      });
    });
    this.#running.set(helper, call);
    helper.send({ call: call.call, args: call.args });
  }

  /** Calls at work that do not look as if they hang. */
  #responsive(): number {
    if (this.#running.size < this.#limits.busy) return this.#running.size;
    return this.#running.size - this.#slow().length;
  }

  #slow(): readonly Call[] {
    const since = this.#clock.nowMs() - this.#limits.slowMs;
    return [...this.#running.values()].filter((call) => call.startedMs <= since);
  }

  #familyIsSlow(domain: string): boolean {
    if (this.#running.size < this.#limits.slowPerFamily) return false;
    const family = familyOf(domain);
    const slow = this.#slow().filter((call) => contains(family, call.domain)).length;
    return slow >= this.#limits.slowPerFamily;
  }

  /** Starts a helper, unless one is on its way: under a lasting load there are soon enough of them. */
  #startOne(): void {
    if (this.#starting.size > 0 || this.size >= this.#limits.processes || this.#closed) return;
    const helper = new Helper(this.#argv, {
      ready: () => {
        this.#starting.delete(helper);
        if (this.#closed) helper.end();
        else this.#rest(helper);
      },
      replied: (_, reply) => this.#replied(helper, reply),
      gone: (_, problem) => this.#gone(helper, problem),
    });
    this.#starting.add(helper);
  }

  #replied(helper: Helper, { result, failure }: KernelReply): void {
    const call = this.#running.get(helper);
    if (!call) return;
    this.#running.delete(helper);
    this.#queue.done(call);
    // The next call first: the caller's work and the helper's then overlap.
    if (this.#closed) helper.end();
    else this.#rest(helper);
    this.#settle(call, () => (failure ? call.reject(kernelError(failure)) : call.resolve(result)));
  }

  #rest(helper: Helper): void {
    helper.idleSinceMs = this.#clock.nowMs();
    this.#idle.push(helper);
    this.#dispatch();
    if (this.#idle.includes(helper)) helper.rest();
    this.#sweep();
  }

  #gone(helper: Helper, problem: string): void {
    const wasStarting = this.#starting.delete(helper);
    const index = this.#idle.indexOf(helper);
    if (index >= 0) this.#idle.splice(index, 1);
    const call = this.#running.get(helper);
    if (call) {
      this.#running.delete(helper);
      this.#queue.done(call);
      const error = new AzekuraError('Unavailable', `the helper process of ${call.call} is gone: ${problem}`, {
        next: 'it is tried again by itself',
      });
      this.#settle(call, () => call.reject(error));
    }
    if (wasStarting && this.size === 0) {
      const error = new AzekuraError('HostFailure', `no helper process can be started: ${problem}`, {
        details: { argv: this.#argv },
      });
      for (const waiting of this.#queue.drain(() => true)) this.#settle(waiting, () => waiting.reject(error));
    }
    this.#dispatch();
  }

  /** The deadline of a call has come: its helper is given up, its domain refused until the process has gone. */
  #hangs(helper: Helper, call: Call): void {
    if (this.#running.get(helper) !== call) return;
    this.#running.delete(helper);
    this.#queue.done(call);
    const hung = { domain: call.domain, call: nameOf(call), sinceMs: call.startedMs, pid: helper.pid };
    this.#log.warn({ ...hung, subject: call.args[0] }, 'a kernel call hangs and is abandoned');
    const release = this.#containment.add(hung);
    helper.abandon(() => {
      release();
      this.#log.info(hung, 'the process of a hung kernel call is gone');
    });
    const error = hungError(hung, this.#clock.nowMs());
    this.#settle(call, () => call.reject(error));
    for (const waiting of this.#queue.drain((domain) => this.#containment.refusal(domain) !== undefined))
      this.#settle(waiting, () => waiting.reject(error));
    this.#dispatch();
  }

  #gaveUpWaiting(call: Call): void {
    if (!this.#queue.remove(call)) return;
    const running = [...this.#running.values()].find(({ domain }) => contains(familyOf(call.domain), domain));
    const seconds = Math.round(Math.max(call.deadlineMs, patienceMs) / 1_000);
    call.reject(
      running
        ? hungError({ domain: running.domain, call: nameOf(running), sinceMs: running.startedMs }, this.#clock.nowMs())
        : new AzekuraError('Unavailable', `no helper process was free for ${call.call} within ${seconds} s`),
    );
  }

  #settle(call: Call, how: () => void): void {
    call.cancelTimer();
    how();
    if (this.#running.size === 0) this.#whenQuiet?.();
  }

  /** Slow calls make room by the passing of time alone: looks again while something waits. */
  #lookAgain(): void {
    if (this.#looking) return;
    this.#looking = true;
    this.#clock.after(lookAgainMs, () => {
      this.#looking = false;
      this.#dispatch();
    });
  }

  /** Ends idle helpers, the longest idle first; runs only while there are any. */
  #sweep(): void {
    if (this.#sweeping || this.#idle.length === 0) return;
    this.#sweeping = true;
    this.#clock.after(this.#limits.idleMs / 5, () => {
      this.#sweeping = false;
      const nowMs = this.#clock.nowMs();
      while (this.#idle[0] && nowMs - this.#idle[0].idleSinceMs >= this.#limits.idleMs) this.#idle.shift()?.end();
      this.#sweep();
    });
  }
}

/** A batch is called by what is in it: nobody outside knows which of its calls hangs. */
function nameOf({ call, args }: Pick<Call, 'call' | 'args'>): string {
  if (call !== 'batch') return call;
  const names = new Set((args[0] as readonly BatchCall[]).map((one) => one.call));
  return [...names].join(' or ');
}

function stopping(): AzekuraError {
  return new AzekuraError('Unavailable', 'Azekura is stopping');
}
