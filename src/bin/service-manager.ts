import type { Host } from '../host/host.ts';
import type { Logger } from '../lib/log.ts';

const deadlineMs = 5_000;

/**
 * Tells systemd that the service serves (sd_notify(3), READY=1), so that `systemctl start` returns then and not before;
 * does nothing where nobody asked for it. By systemd's own program: Node.js has no datagram sockets of this family.
 */
export async function tellServing(host: Host, log: Logger, env: NodeJS.ProcessEnv): Promise<void> {
  const { NOTIFY_SOCKET: socket } = env;
  if (!socket) return;
  try {
    await host.exec(['systemd-notify', '--ready'], { deadlineMs, env: { NOTIFY_SOCKET: socket } });
  } catch (err) {
    log.warn({ err }, 'systemd could not be told that Azekura is up');
  }
}
