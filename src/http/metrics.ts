import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { HungCall } from '../host/host.ts';
import type { Store } from '../store/store.ts';

export interface MetricsDeps {
  /** Asked at every scrape; a memory of it does as well. */
  readonly store: Pick<Store, 'list'>;
  readonly hungCalls: () => readonly HungCall[];
  readonly version: string;
  readonly startedAtMs: number;
}

/** What Prometheus is told. Everything but the counters is read at the moment of the scrape: no scrape, no work. */
export interface Metrics {
  readonly contentType: string;
  /** For the metrics of other parts of the process. */
  readonly registry: Registry;
  observeRequest(method: string, route: string, status: number, seconds: number): void;
  render(): Promise<string>;
}

/** Makes the metrics of one instance, in a registry of its own. */
export function createMetrics(deps: MetricsDeps): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const requests = new Counter({
    name: 'azekura_http_requests_total',
    help: 'Answered HTTP requests',
    labelNames: ['method', 'route', 'code'],
    registers,
  });
  const latency = new Histogram({
    name: 'azekura_http_request_seconds',
    help: 'Time to answer, by route and code',
    labelNames: ['method', 'route', 'code'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
    registers,
  });
  registerObjectGauges(registers, deps);
  registerProcessGauges(registers, deps);
  return {
    contentType: registry.contentType,
    registry,
    observeRequest: (method, route, status, seconds) => {
      const labels = { method, route, code: String(status) };
      requests.inc(labels);
      latency.observe(labels, seconds);
    },
    render: () => registry.metrics(),
  };
}

function registerObjectGauges(registers: Registry[], { store, hungCalls }: MetricsDeps): void {
  const volumes = new Gauge({
    name: 'azekura_volumes',
    help: 'Volumes by phase',
    labelNames: ['phase'],
    registers,
    collect: async () => {
      volumes.reset();
      for (const volume of (await store.list('Volume')).items) volumes.inc({ phase: volume.status.phase });
    },
  });
  const pools = new Gauge({
    name: 'azekura_pool_bytes',
    help: 'Bytes of each pool by use: capacity, free, used, promised, reserved by the ledger, recycled',
    labelNames: ['pool', 'use'],
    registers,
    collect: async () => {
      pools.reset();
      for (const { metadata, status } of (await store.list('Pool')).items) {
        const uses = {
          capacity: status.capacityBytes,
          free: status.freeBytes,
          used: status.usedBytes,
          promised: status.promisedBytes,
          reserved: status.reservedBytes,
          recycled: status.recycledBytes,
        };
        for (const [use, bytes] of Object.entries(uses)) pools.set({ pool: metadata.name, use }, bytes);
      }
    },
  });
  const causes = new Gauge({
    name: 'azekura_causes',
    help: 'Causes that pools and volumes have at present, by code',
    labelNames: ['kind', 'code'],
    registers,
    collect: async () => {
      causes.reset();
      for (const kind of ['Node', 'Pool', 'Volume'] as const) {
        for (const { status } of (await store.list(kind)).items)
          for (const { code } of status.causes) causes.inc({ kind, code });
      }
    },
  });
  const tasks = new Gauge({
    name: 'azekura_tasks',
    help: 'Tasks in the history that is kept, by verb and outcome',
    labelNames: ['verb', 'phase'],
    registers,
    collect: async () => {
      tasks.reset();
      for (const { spec, status } of (await store.list('Task')).items)
        tasks.inc({ verb: spec.verb, phase: status.phase });
    },
  });
  const hung = new Gauge({
    name: 'azekura_hung_calls',
    help: 'Kernel calls and commands that were abandoned and have not come back',
    registers,
    collect: () => {
      hung.set(hungCalls().length);
    },
  });
}

/** prom-client's own process metrics keep a 10 ms timer running; an idle daemon shall not wake up a hundred times a second. */
function registerProcessGauges(registers: Registry[], { version, startedAtMs }: MetricsDeps): void {
  new Gauge({
    name: 'azekura_build_info',
    help: 'Always 1; the label tells the version',
    labelNames: ['version', 'node'],
    registers,
  }).set({ version, node: process.version }, 1);
  new Gauge({ name: 'process_start_time_seconds', help: 'Start of the process since the epoch', registers }).set(
    startedAtMs / 1_000,
  );
  const cpu = new Gauge({
    name: 'process_cpu_seconds_total',
    help: 'User and system CPU time',
    registers,
    collect: () => {
      const { user, system } = process.cpuUsage();
      cpu.set((user + system) / 1e6);
    },
  });
  const resident = new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Resident memory',
    registers,
    collect: () => {
      resident.set(process.memoryUsage.rss());
    },
  });
  const heap = new Gauge({
    name: 'nodejs_heap_size_used_bytes',
    help: 'Used heap',
    registers,
    collect: () => {
      heap.set(process.memoryUsage().heapUsed);
    },
  });
}
