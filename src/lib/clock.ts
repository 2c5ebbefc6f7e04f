/** Time as a dependency, so that tests of deadlines and retention need not wait. */
export interface Clock {
  /** Milliseconds since the epoch. */
  nowMs(): number;
  /** Calls back once after the delay; the returned function cancels it. Never keeps the process alive by itself. */
  after(delayMs: number, callback: () => void): () => void;
}

/** The machine's clock. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** A clock that nobody sets: milliseconds since the process started. For leases, deadlines and the age of what is cached. */
export const monotonicClock: Clock = { nowMs: () => performance.now(), after: systemClock.after };

/** An RFC 3339 time stamp of the clock's present, the form of all times in objects. */
export function timestamp(clock: Clock): string {
  return new Date(clock.nowMs()).toISOString();
}

/** Waits, but no longer than until the signal is aborted; it never rejects: the caller looks at the signal. */
export function pause(clock: Clock, delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const wake = () => {
      cancel();
      signal?.removeEventListener('abort', wake);
      resolve();
    };
    const cancel = clock.after(delayMs, wake);
    signal?.addEventListener('abort', wake, { once: true });
  });
}
