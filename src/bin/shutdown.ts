import type { Logger } from '../lib/log.ts';

/**
 * Takes an instance down in the reverse order of its making, within a deadline: what does not end in time is left to
 * the end of the process, which is safe at any moment.
 */
export class Shutdown {
  readonly #parts: { readonly name: string; readonly stop: (deadlineMs: number) => Promise<unknown> }[] = [];
  readonly #log: Logger;
  readonly #deadlineMs: number;
  readonly #stopping = new AbortController();
  /** Resolves when a signal asked for the end. */
  readonly requested: Promise<void>;

  constructor({ log, deadlineMs }: { readonly log: Logger; readonly deadlineMs: number }) {
    this.#log = log;
    this.#deadlineMs = deadlineMs;
    this.requested = new Promise((resolve) =>
      this.#stopping.signal.addEventListener('abort', () => resolve(), { once: true }),
    );
  }

  /** What is to be ended, the newest first. */
  add(name: string, stop: (deadlineMs: number) => Promise<unknown>): void {
    this.#parts.push({ name, stop });
  }

  /** SIGTERM and SIGINT ask for the end; a second one ends at once. */
  watchSignals(target: NodeJS.EventEmitter & { exit(code: number): never }): AbortSignal {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      target.on(signal, () => {
        if (this.#stopping.signal.aborted) target.exit(1);
        this.#stopping.abort();
      });
    }
    return this.#stopping.signal;
  }

  /** Ends all parts. Never throws. */
  async run(): Promise<void> {
    this.#stopping.abort();
    const endMs = performance.now() + this.#deadlineMs;
    for (const { name, stop } of this.#parts.splice(0).reverse()) {
      const leftMs = Math.max(500, endMs - performance.now());
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<'late'>((resolve) => {
        timer = setTimeout(() => resolve('late'), leftMs);
      });
      try {
        if ((await Promise.race([stop(leftMs), late])) === 'late')
          this.#log.warn({ part: name }, 'did not end in time');
      } catch (error) {
        this.#log.warn(
          { part: name, error: error instanceof Error ? error.message : String(error) },
          'did not end well',
        );
      } finally {
        clearTimeout(timer);
      }
    }
  }
}
