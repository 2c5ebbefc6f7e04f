/** kill -9 at random moments, with a supervisor that starts the daemon again at once. */
import { hasCode } from '../src/model/errors.ts';
import type { Daemon } from './daemon.ts';
import type { Random } from './random.ts';
import { sleep } from './workbench.ts';

/** So many deaths in a row without anything done are bad luck; then lives grow. */
const patientAfterKills = 8;

export class Killer {
  /** How often the daemon was killed. */
  kills = 0;
  #killsSinceProgress = 0;
  readonly #daemon: Daemon;
  readonly #random: Random;
  #stopped = false;
  #running: Promise<void> = Promise.resolve();

  constructor(daemon: Daemon, random: Random) {
    this.#daemon = daemon;
    this.#random = random;
  }

  /** Tells that something that was asked for has been done: lives may be short again. */
  progress(): void {
    this.#killsSinceProgress = 0;
  }

  /**
   * Lives last from an instant to some seconds, so that kills hit starts, recoveries and work alike. They grow while
   * nothing gets done: what begins anew in each life, as a snapshot must, needs one that is long enough for it.
   */
  start(): void {
    const run = async () => {
      while (!this.#stopped) {
        const longestMs = this.#random.chance(0.3) ? 4_000 : 1_500;
        const patience = 1 + Math.max(0, this.#killsSinceProgress - patientAfterKills) / 3;
        await sleep((100 + this.#random.below(longestMs)) * patience);
        if (this.#stopped) return;
        await this.#daemon.kill();
        this.kills++;
        this.#killsSinceProgress++;
        this.#daemon.launch();
      }
    };
    this.#running = run();
  }

  /** Kills and starts no more. Safe to repeat. */
  async end(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** Leaves the daemon running and ready. */
  async stop(): Promise<void> {
    await this.end();
    await this.#daemon.ready(60_000);
  }
}

/**
 * Asks until the daemon has answered, through its deaths. An acknowledgement that was lost with the connection comes back
 * as AlreadyExists (of a creation) or NotFound (of a deletion); which of them is fine says the caller.
 */
export async function persist(
  ask: () => Promise<unknown>,
  fine: 'AlreadyExists' | 'NotFound',
  deadlineMs = 90_000,
): Promise<void> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    try {
      await ask();
      return;
    } catch (error) {
      if (hasCode(error, fine)) return;
      if (performance.now() > end || !(hasCode(error, 'Unavailable', 'Aborted', 'Conflict') || isConnectionLoss(error)))
        throw error;
      await sleep(50);
    }
  }
}

function isConnectionLoss(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ECONNRESET' || code === 'EPIPE' || code === 'ECONNREFUSED' || code === 'ENOENT';
}
