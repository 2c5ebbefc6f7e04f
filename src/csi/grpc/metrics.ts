import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What is counted of each call. */
export interface CallMetrics {
  started(method: string): void;
  ended(method: string, code: string, seconds: number): void;
  readonly registry: Registry;
}

/** Makes the driver's metrics in a registry of their own, or in the one of the process. */
export function createCallMetrics(registry = new Registry()): CallMetrics {
  const registers = [registry];
  const calls = new Counter({
    name: 'azekura_csi_calls_total',
    help: 'Answered CSI calls by method and gRPC code',
    labelNames: ['method', 'code'],
    registers,
  });
  const latency = new Histogram({
    name: 'azekura_csi_call_seconds',
    help: 'Time to answer a CSI call',
    labelNames: ['method'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60],
    registers,
  });
  const running = new Gauge({
    name: 'azekura_csi_calls_running',
    help: 'CSI calls that are being answered',
    labelNames: ['method'],
    registers,
  });
  return {
    registry,
    started: (method) => running.inc({ method }),
    ended: (method, code, seconds) => {
      running.dec({ method });
      calls.inc({ method, code });
      latency.observe({ method }, seconds);
    },
  };
}
