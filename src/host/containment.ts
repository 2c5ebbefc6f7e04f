import type { Clock } from '../lib/clock.ts';
import { makeCause } from '../model/cause.ts';
import { type AzekuraError, blamed } from '../model/errors.ts';
import type { HungCall } from './host.ts';

/**
 * Most processes that may hang at the same time. Beyond it whole kinds of domains ("volume", "pool") are refused while
 * one of them hangs: with so many hung calls it is better to refuse too much than to fill the machine with processes.
 */
const mostHung = 64;

/**
 * Most processes that may hang for one pool with all its volumes. A dead disk takes every volume on it along: beyond
 * this its other volumes are not tried one by one.
 */
const mostHungInFamily = 4;

/**
 * Remembers which calls were abandoned, until their processes are gone, and keeps everybody else from following them
 * into the same trap.
 */
export class Containment {
  readonly #clock: Clock;
  readonly #hung = new Set<HungCall>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Marks a call as hung; the returned function tells that its process is gone. */
  add(hung: HungCall): () => void {
    this.#hung.add(hung);
    return () => this.#hung.delete(hung);
  }

  list(): readonly HungCall[] {
    return [...this.#hung];
  }

  /** The error that a call in this domain is answered with at once; undefined when the domain is well. */
  refusal(domain: string): AzekuraError | undefined {
    const tooMany = this.#hung.size >= mostHung;
    const family = familyOf(domain);
    const relatives: HungCall[] = [];
    for (const hung of this.#hung) {
      if (contains(hung.domain, domain) || (tooMany && contains(kindOf(hung.domain), domain)))
        return hungError(hung, this.#clock.nowMs());
      if (contains(family, hung.domain)) relatives.push(hung);
    }
    const [first] = relatives;
    return first && relatives.length >= mostHungInFamily ? hungError(first, this.#clock.nowMs()) : undefined;
  }
}

/** Whether `outer` is `inner` or a path prefix of it. */
export function contains(outer: string, inner: string): boolean {
  return inner === outer || (inner.startsWith(outer) && inner[outer.length] === '/');
}

/** "pool/main" of "pool/main/volume/x": what lies on one device or server, as far as names tell. */
export function familyOf(domain: string): string {
  return domain.split('/', 2).join('/');
}

/** "volume" of "volume/x". */
function kindOf(domain: string): string {
  return domain.split('/', 1)[0] ?? domain;
}

/** Unavailable, to blame on a hung call. */
export function hungError(hung: Omit<HungCall, 'pid'>, nowMs: number): AzekuraError {
  const seconds = Math.max(0, Math.round((nowMs - hung.sinceMs) / 1_000));
  return blamed('Unavailable', makeCause('HungCall', { call: hung.call, what: hung.domain, seconds }), {
    details: { call: hung.call, domain: hung.domain },
  });
}
