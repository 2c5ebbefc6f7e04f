import type { DescMethod, Message } from '@bufbuild/protobuf';
import { status as grpcStatus, type ServerWritableStream } from '@grpc/grpc-js';
import type { Clock } from '../../lib/clock.ts';
import { shortId } from '../../lib/id.ts';
import type { Logger } from '../../lib/log.ts';
import { AzekuraError, hasCode, toAzekuraError } from '../../model/errors.ts';
import type { CallRunner, Surface, Worked } from './adapter.ts';
import type { Call } from './call.ts';
import type { CallMetrics } from './metrics.ts';
import { loggable } from './redact.ts';
import { type CallStatus, codeName, toStatus } from './status.ts';

/** An answer without a deadline of the caller is given within this time. */
const patienceMs = 60_000;
/** So long before the caller's deadline we answer, so that the answer, and the reason in it, still arrives. */
const marginMs = 400;
/** Calls that sidecars repeat all the time are logged for debugging only. */
const quiet = new Set([
  'Probe',
  'GetPluginInfo',
  'GetPluginCapabilities',
  'ControllerGetCapabilities',
  'GroupControllerGetCapabilities',
  'NodeGetCapabilities',
  'NodeGetInfo',
  'NodeGetVolumeStats',
  'GetCapacity',
]);

export interface RunnerDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Pick<CallMetrics, 'started' | 'ended'>;
}

/** Runs calls, and can end those that run. */
export interface StoppableRunner extends CallRunner {
  /** Calls that are being answered. */
  running(): number;
  /** Makes every waiting call answer UNAVAILABLE; what it asked for goes on, and the next call finds it. */
  abortAll(): void;
}

/** One line in the log, one count in the metrics, one status for each call. */
export function createRunner(deps: RunnerDeps): StoppableRunner {
  const aborts = new Set<AbortController>();

  async function run<T>(
    method: DescMethod,
    surface: Surface,
    work: (call: Call) => Promise<Worked<T>>,
    deliver: (value: T) => Promise<void> | void,
    fail: (status: CallStatus) => void,
  ): Promise<void> {
    const startedMs = deps.clock.nowMs();
    const abort = new AbortController();
    aborts.add(abort);
    surface.onCancelled(() => abort.abort(cancelled()));
    if (surface.cancelled) abort.abort(cancelled());
    const requestId = requestIdOf(surface);
    const call: Call = {
      method: method.name,
      requestId,
      signal: abort.signal,
      answerByMs: answerBy(surface.getDeadline(), startedMs),
      log: deps.log.child({ requestId }),
    };
    deps.metrics.started(method.name);
    let request: Message | undefined;
    let thrown: unknown;
    let status: CallStatus = { code: grpcStatus.OK, details: '' };
    try {
      const worked = await work(call);
      request = worked.request;
      await deliver(await worked.result());
    } catch (error) {
      thrown = error;
      status = surface.cancelled ? { code: grpcStatus.CANCELLED, details: 'cancelled by the caller' } : toStatus(error);
      fail(status);
    }
    aborts.delete(abort);
    const durationMs = deps.clock.nowMs() - startedMs;
    deps.metrics.ended(method.name, codeName(status.code), durationMs / 1_000);
    logCall(deps.log, method, request, { requestId, status, durationMs, thrown });
  }

  return {
    running: () => aborts.size,
    abortAll: () => {
      const reason = new AzekuraError('Unavailable', 'the driver is stopping; what was asked for goes on');
      for (const abort of aborts) abort.abort(reason);
    },
    unary: (method, surface, work, answer) =>
      run(
        method,
        surface,
        work,
        (value) => answer(null, value),
        (status) => answer(status),
      ),
    stream: (method, surface, work, sink) =>
      run(
        method,
        surface,
        work,
        async (values) => {
          for await (const value of values) {
            if (surface.cancelled) throw cancelled();
            if (!sink.write(value)) await drained(sink, surface);
          }
          sink.end();
        },
        (status) => sink.emit('error', status),
      ),
  };
}

function cancelled(): AzekuraError {
  return new AzekuraError('Aborted', 'the caller has cancelled the call');
}

function requestIdOf(surface: Surface): string {
  const sent = surface.getMetadata('x-request-id');
  return sent !== undefined && /^[A-Za-z0-9._-]{1,64}$/.test(sent) ? sent : shortId();
}

/** @param deadline of grpc-js: a Date, or milliseconds since the epoch, Infinity for none */
function answerBy(deadline: Date | number, nowMs: number): number {
  const deadlineMs = typeof deadline === 'number' ? deadline : deadline.getTime();
  if (!Number.isFinite(deadlineMs)) return nowMs + patienceMs;
  return deadlineMs - Math.min(marginMs, Math.max(0, deadlineMs - nowMs) / 10);
}

/** Waits until a slow reader has made room, or is gone. */
function drained(sink: ServerWritableStream<Buffer, Buffer>, surface: Surface): Promise<void> {
  return new Promise((resolve) => {
    sink.once('drain', resolve);
    sink.once('close', resolve);
    surface.onCancelled(resolve);
  });
}

function logCall(
  log: Logger,
  method: DescMethod,
  request: Message | undefined,
  outcome: { requestId: string; status: CallStatus; durationMs: number; thrown: unknown },
): void {
  const { requestId, status, durationMs, thrown } = outcome;
  const fields = {
    requestId,
    method: method.name,
    code: codeName(status.code),
    durationMs,
    ...(request ? { request: loggable(method.input, request) } : {}),
    ...(status.details ? { error: status.details } : {}),
  };
  if (thrown !== undefined && hasCode(toAzekuraError(thrown), 'Internal')) {
    const stack = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    log.error({ ...fields, stack }, 'csi call failed unexpectedly');
  } else if (status.code === grpcStatus.OK && quiet.has(method.name)) log.debug(fields, 'csi call');
  else log.info(fields, 'csi call');
}
