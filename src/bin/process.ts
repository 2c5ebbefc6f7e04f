import { appendFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';
import { type CrashPoint, crashPointFromEnv } from '../lib/steps.ts';
import { AzekuraError, toAzekuraError } from '../model/errors.ts';
import { keepHeapSmall } from './heap.ts';
import { createLog, type Log } from './log.ts';
import { Shutdown } from './shutdown.ts';
import { readVersion } from './version.ts';

const logLevels = ['debug', 'info', 'warn', 'error'];
const stopDeadlineMs = 20_000;

/** What every role that stays has: a log, an orderly end, a version. */
export interface RoleProcess {
  readonly output: Log;
  readonly log: Log['log'];
  readonly shutdown: Shutdown;
  /** Aborted when the process stops. */
  readonly stopping: AbortSignal;
  readonly version: { readonly version: string; readonly build: string };
  readonly crashPoint: CrashPoint;
}

/**
 * Runs a role until SIGTERM or SIGINT, then takes down what it has made, the newest first.
 *
 * @param start resolves when the role is up
 * @returns the exit code
 * @throws AzekuraError when it cannot start
 */
export async function runRole(
  options: { readonly logLevel: string; readonly jsonLog: boolean },
  start: (role: RoleProcess) => Promise<void>,
): Promise<number> {
  if (!logLevels.includes(options.logLevel))
    throw new AzekuraError('InvalidArgument', `log level "${options.logLevel}" is not one of ${logLevels.join(', ')}`);
  keepHeapSmall();
  const output = createLog({
    level: options.logLevel,
    json: options.jsonLog,
    write: (text) => void process.stdout.write(text),
  });
  const { log } = output;
  const shutdown = new Shutdown({ log, deadlineMs: stopDeadlineMs });
  const stopping = shutdown.watchSignals(process);
  const crashPoint = crashPointFromEnv(process.env, {
    kill: () => process.kill(process.pid, 'SIGKILL'),
    append: (file, line) => appendFileSync(file, line),
  });
  try {
    await start({ output, log, shutdown, stopping, version: readVersion(), crashPoint });
    await shutdown.requested;
    log.info({}, 'stopping; mounted volumes stay mounted');
    return 0;
  } catch (error) {
    if (stopping.aborted) return 0;
    log.debug({ stack: toAzekuraError(error).stack }, 'start failed');
    throw error;
  } finally {
    await shutdown.run();
  }
}

/** Has a server listen, and taken down in its turn. @throws AzekuraError FailedPrecondition when it cannot */
export async function startServer(
  server: FastifyInstance,
  shutdown: Shutdown,
  listen: (server: FastifyInstance) => Promise<unknown>,
): Promise<void> {
  shutdown.add('http', () => server.close());
  try {
    await listen(server);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new AzekuraError('FailedPrecondition', `cannot listen: ${message}`, {
      next: code === 'EADDRINUSE' ? 'choose another port with --listen' : 'check the address',
      cause: error,
    });
  }
}
