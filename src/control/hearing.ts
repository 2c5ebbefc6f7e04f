import { type Clock, monotonicClock } from '../lib/clock.ts';
import type { Node } from '../model/kinds.ts';

/**
 * When nodes were last heard of: when their reports were last seen to change, by a clock of our own that nobody sets. The
 * times in the reports are those of other machines, which may be hours off. A node that is seen for the first time counts
 * as heard at that moment.
 */
export class Hearing {
  readonly #clock: Clock;
  readonly #heard = new Map<string, { readonly heartbeat: string | undefined; readonly atMs: number }>();

  constructor(clock: Clock = monotonicClock) {
    this.#clock = clock;
  }

  note({ metadata, status }: Node): void {
    const { heartbeat } = status;
    const before = this.#heard.get(metadata.name);
    if (before && before.heartbeat === heartbeat) return;
    this.#heard.set(metadata.name, { heartbeat, atMs: this.#clock.nowMs() });
  }

  forget(nodeName: string): void {
    this.#heard.delete(nodeName);
  }

  /** Milliseconds since the node was last heard; 0 for one that was not seen yet. */
  silentMs(nodeName: string): number {
    const heard = this.#heard.get(nodeName);
    return heard ? this.#clock.nowMs() - heard.atMs : 0;
  }
}
