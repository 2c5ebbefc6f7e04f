import { createHost } from '../host/linux.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLogger } from '../lib/log.ts';

/** A host for commands that work without a daemon. */
export async function openRescueHost() {
  const host = createHost({ clock: systemClock, log: silentLogger });
  return { host, close: () => host.close() };
}
