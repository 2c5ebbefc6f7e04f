import { createHash, randomBytes } from 'node:crypto';
import { type Clock, systemClock } from '../lib/clock.ts';
import { type Logger, silentLogger } from '../lib/log.ts';
import type { Cause } from '../model/cause.ts';
import { causeCatalogue } from '../model/causes.ts';
import { hasCode } from '../model/errors.ts';
import type { KubeClient } from './client.ts';
import { eventType, type KubeEvent, microTime, type ObjectReference } from './types.ts';

export interface EventOptions {
  readonly client: KubeClient;
  /** Such as azekura.dev/controller. */
  readonly controller: string;
  /** The pod or node. */
  readonly instance: string;
  readonly clock?: Clock;
  readonly log?: Logger;
}

/** What a person is told with an object. */
export interface Told {
  readonly regarding: ObjectReference;
  readonly type: 'Normal' | 'Warning';
  /** CamelCase: the code of a cause, or what was done. */
  readonly reason: string;
  /** What was tried, CamelCase. */
  readonly action: string;
  readonly note: string;
}

/** The same thing told again within this time adds to the series of the first event (as client-go does). */
const seriesMs = 6 * 60_000;
/** A series is written at most this often; between, only counted. */
const heartbeatMs = 60_000;
const mostSeries = 2_000;
const longestNote = 1_024;

interface Series {
  readonly event: KubeEvent;
  count: number;
  lastMs: number;
  writtenMs: number;
  writtenCount: number;
  cancel: (() => void) | undefined;
}

/**
 * Writes Events (events.k8s.io/v1). The same sentence about the same object is one Event with a series, however often it
 * is told. Telling never fails and never waits: an Event is a courtesy.
 */
export class EventRecorder {
  readonly #options: EventOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #series = new Map<string, Series>();
  readonly #writing = new Set<Promise<void>>();

  constructor(options: EventOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log ?? silentLogger;
  }

  /** Tells of a cause: its code is the reason, its sentence and next step the note. */
  tellCause(regarding: ObjectReference, action: string, cause: Cause): void {
    const type = causeCatalogue[cause.code].severity === 'notice' ? 'Normal' : 'Warning';
    this.tell({ regarding, type, reason: cause.code, action, note: `${cause.message}. ${cause.nextStep}` });
  }

  tell(told: Told): void {
    const nowMs = this.#clock.nowMs();
    const key = keyOf(told);
    const known = this.#series.get(key);
    if (known && nowMs - known.lastMs < seriesMs) {
      known.count++;
      known.lastMs = nowMs;
      // What was told last is forgotten last.
      this.#series.delete(key);
      this.#series.set(key, known);
      this.#writeSoon(key, known);
      return;
    }
    known?.cancel?.();
    const event = this.#event(told, key, nowMs);
    const series: Series = { event, count: 1, lastMs: nowMs, writtenMs: nowMs, writtenCount: 1, cancel: undefined };
    this.#series.set(key, series);
    this.#forgetOldest();
    this.#write(this.#options.client.create(eventType, event));
  }

  /** Waits for what is being written, and writes counts that are due. */
  async close(): Promise<void> {
    for (const [key, series] of this.#series) {
      series.cancel?.();
      if (series.count > series.writtenCount) this.#writeSeries(key, series);
    }
    await Promise.all(this.#writing);
    this.#series.clear();
  }

  #event({ regarding, type, reason, action, note }: Told, key: string, nowMs: number): KubeEvent {
    const digest = createHash('sha256').update(key).digest('hex').slice(0, 8);
    const name = `${regarding.name.slice(0, 200)}.${digest}${randomBytes(4).toString('hex')}`;
    return {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      // Events of objects without a namespace live in this one, by Kubernetes' convention.
      metadata: { name, namespace: regarding.namespace ?? 'default' },
      eventTime: microTime(nowMs),
      reportingController: this.#options.controller,
      reportingInstance: this.#options.instance.slice(0, 128),
      action: action.slice(0, 128),
      reason: reason.slice(0, 128),
      regarding,
      note: shortened(note),
      type,
    };
  }

  #writeSoon(key: string, series: Series): void {
    if (series.cancel) return;
    const dueMs = series.writtenCount === 1 ? 0 : series.writtenMs + heartbeatMs - this.#clock.nowMs();
    series.cancel = this.#clock.after(Math.max(0, dueMs), () => {
      series.cancel = undefined;
      this.#writeSeries(key, series);
    });
  }

  #writeSeries(key: string, series: Series): void {
    const { count, lastMs, event } = series;
    series.writtenMs = this.#clock.nowMs();
    series.writtenCount = count;
    const patch = { series: { count, lastObservedTime: microTime(lastMs) } };
    const { name, namespace } = event.metadata;
    const at = namespace === undefined ? { name } : { name, namespace };
    const write = this.#options.client.patch<KubeEvent>(eventType, at, patch).catch((error: unknown) => {
      // Events live for an hour only. The next telling begins anew.
      if (hasCode(error, 'NotFound')) this.#series.delete(key);
      else throw error;
    });
    this.#write(write);
  }

  #write(work: Promise<unknown>): void {
    const done = work.then(
      () => {},
      (error: unknown) => this.#log.warn({ err: error }, 'could not write an event'),
    );
    this.#writing.add(done);
    void done.finally(() => this.#writing.delete(done));
  }

  #forgetOldest(): void {
    for (const [key, series] of this.#series) {
      if (this.#series.size <= mostSeries) return;
      series.cancel?.();
      this.#series.delete(key);
    }
  }
}

function keyOf({ regarding, type, reason, action, note }: Told): string {
  const { kind, namespace, name, uid } = regarding;
  return JSON.stringify([kind, namespace, name, uid, type, reason, action, note]);
}

/** The API server takes no more than 1,024 bytes. */
function shortened(note: string): string {
  if (Buffer.byteLength(note) <= longestNote) return note;
  return `${Buffer.from(note)
    .subarray(0, longestNote - 8)
    .toString('utf8')
    .replace(/\uFFFD+$/, '')}…`;
}
