import type { Clock } from '../../lib/clock.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { Kind, Resource } from '../../model/kinds.ts';
import type { Informer, InformerEvent } from '../../store/informer.ts';
import type { Call } from '../grpc/call.ts';

/** Looks at the object's present state; undefined means: not yet. What it throws ends the wait. */
export type Look<K extends Kind, T> = (object: Resource<K> | undefined) => T | undefined;

/**
 * Waits on the objects of one kind. One listener serves all waits, so that a wait costs the same whatever the number of
 * objects.
 */
export class Watched<K extends Kind> {
  readonly informer: Informer<K>;
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #stop: () => void;

  constructor(informer: Informer<K>, clock: Clock) {
    this.informer = informer;
    this.#clock = clock;
    this.#stop = informer.onChange((event: InformerEvent<K>) => {
      for (const wake of [...(this.#waiting.get(event.object.metadata.name) ?? [])]) wake();
    });
  }

  close(): void {
    this.#stop();
  }

  /**
   * Waits until the look at the object gives something. The work that is waited for goes on when the wait ends early.
   *
   * @param since the object as it was written last: states before it are not looked at, and another object of the same
   *   name counts as none. Undefined takes any state.
   * @param describe what is missing, for the answer when time is up
   * @param ahead tells the object's state sooner than the watch; undefined when it does not know
   * @throws AzekuraError DeadlineExceeded when the caller's time is up; the reason of call.signal; what the look throws
   */
  async until<T>(
    name: string,
    call: Call,
    options: {
      readonly since?: Resource<K> | undefined;
      readonly look: Look<K, T>;
      readonly describe: (object: Resource<K> | undefined) => string;
      readonly ahead?: Promise<{ readonly object: Resource<K> | undefined } | undefined> | undefined;
    },
  ): Promise<T> {
    const { since, look, describe, ahead } = options;
    // What was written a moment ago may not be in memory yet: until it was seen there, its absence means nothing.
    let arrived = since === undefined;
    const seen = () => {
      const object = this.informer.get(name);
      if (!since) return { ready: true as const, object };
      const same = object?.metadata.uid === since.metadata.uid;
      if (same) arrived = true;
      if (!arrived) return { ready: false as const };
      if (!same || !object) return { ready: true as const, object: undefined };
      return { ready: object.metadata.generation >= since.metadata.generation, object };
    };
    return new Promise<T>((resolve, reject) => {
      const end = () => {
        cancelTimer();
        call.signal.removeEventListener('abort', onAbort);
        const waiters = this.#waiting.get(name);
        waiters?.delete(wake);
        if (waiters?.size === 0) this.#waiting.delete(name);
      };
      const wake = () => consider(seen);
      const consider = (see: typeof seen) => {
        try {
          const state = see();
          const result = state.ready ? look(state.object) : undefined;
          if (result === undefined) return;
          end();
          resolve(result);
        } catch (error) {
          end();
          reject(error);
        }
      };
      const onAbort = () => {
        end();
        reject(call.signal.reason);
      };
      const cancelTimer = this.#clock.after(Math.max(0, call.answerByMs - this.#clock.nowMs()), () => {
        end();
        reject(
          new AzekuraError(
            'DeadlineExceeded',
            `it takes longer than the call's time: ${describe(this.informer.get(name))}`,
            {
              next: 'it goes on; call again',
            },
          ),
        );
      });
      const waiters = this.#waiting.get(name) ?? new Set();
      this.#waiting.set(name, waiters.add(wake));
      call.signal.addEventListener('abort', onAbort, { once: true });
      if (call.signal.aborted) onAbort();
      else wake();
      void ahead?.then(
        (state) => {
          if (state && waiters.has(wake)) consider(() => ({ ready: true, object: state.object }));
        },
        // Then the watch tells.
        () => {},
      );
    });
  }
}
