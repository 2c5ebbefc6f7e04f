import { chmod, lstat, mkdir, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { adapt } from './adapter.ts';
import type { StoppableRunner } from './runner.ts';

/** A request has a few maps of at most 4 KiB; four MiB is also grpc's own limit for what a client takes. */
const requestBytes = 4 << 20;
/** sun_path of sockaddr_un, less the final zero (unix(7)). */
const longestSocketPath = 107;

export interface GrpcServer {
  readonly socketPath: string;
  /**
   * Takes no new calls, lets the running ones finish, and after the deadline makes the rest answer UNAVAILABLE.
   *
   * @param deadlineMs how long running calls may take
   */
  close(deadlineMs: number): Promise<void>;
}

/**
 * Serves the services on a unix socket that only root can reach: its folder is 0700, the socket 0600.
 *
 * @throws AzekuraError FailedPrecondition when another server answers on the socket or something else lies there;
 *   InvalidArgument for a path that is too long for a socket
 */
export async function serve(options: {
  readonly socketPath: string;
  readonly services: readonly ReturnType<typeof adapt>[];
  readonly runner: StoppableRunner;
  readonly clock: Clock;
  readonly log: Logger;
}): Promise<GrpcServer> {
  const { socketPath, services, runner, clock, log } = options;
  if (Buffer.byteLength(socketPath) > longestSocketPath)
    throw new AzekuraError(
      'InvalidArgument',
      `${socketPath} is too long for a socket (at most ${longestSocketPath} bytes)`,
      {
        next: 'choose a data folder with a shorter path',
      },
    );
  await mkdir(path.dirname(socketPath), { recursive: true, mode: 0o700 });
  await removeDeadSocket(socketPath);
  const server = new Server({
    'grpc.max_receive_message_length': requestBytes,
    'grpc.max_send_message_length': -1,
    // A client that opens streams without end must not take the memory of the whole process.
    'grpc.max_concurrent_streams': 256,
    // Calls can be counted and traced, but that costs memory for each channel: nobody reads it.
    'grpc.enable_channelz': 0,
  });
  for (const { definition, implementation } of services) server.addService(definition, implementation);
  await bind(server, socketPath);
  await chmod(socketPath, 0o600);
  log.info({ socket: socketPath }, 'csi server listens');
  return {
    socketPath,
    close: async (deadlineMs) => {
      const finished = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      const cancel = clock.after(deadlineMs, () => runner.abortAll());
      // Whoever keeps its connection open without a call must not keep us from stopping.
      const force = clock.after(deadlineMs + 1_000, () => server.forceShutdown());
      await finished;
      cancel();
      force();
      log.info({ socket: socketPath }, 'csi server stopped');
    },
  };
}

function bind(server: Server, socketPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) => {
      if (error)
        reject(
          new AzekuraError('FailedPrecondition', `cannot listen on ${socketPath}: ${error.message}`, { cause: error }),
        );
      else resolve();
    });
  });
}

/** Removes a socket that a killed process left behind; never one that somebody answers on. */
async function removeDeadSocket(socketPath: string): Promise<void> {
  const found = await lstat(socketPath).catch(() => undefined);
  if (!found) return;
  if (!found.isSocket())
    throw new AzekuraError('FailedPrecondition', `${socketPath} is there and is not a socket`, {
      next: 'move it away',
    });
  if (await answers(socketPath))
    throw new AzekuraError('FailedPrecondition', `another process serves CSI on ${socketPath}`, {
      next: 'stop it, or choose another data folder',
    });
  await unlink(socketPath);
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.setTimeout(1_000);
    const end = (alive: boolean) => {
      socket.destroy();
      resolve(alive);
    };
    socket.once('connect', () => end(true));
    socket.once('timeout', () => end(true));
    socket.once('error', () => end(false));
  });
}
