import { Counter, Histogram, type Registry } from 'prom-client';
import { KubeClient } from '../kube/client.ts';
import { findAccess } from '../kube/connect.ts';
import type { Logger } from '../lib/log.ts';
import { openKubernetesStore } from '../store/kubernetes/kubernetes-store.ts';
import type { Store } from '../store/store.ts';

/** The way to a Kubernetes cluster. */
export interface Cluster {
  readonly client: KubeClient;
  readonly store: Store;
}

/**
 * Finds the API server and opens the store there. Whether it answers shows with the first call.
 *
 * @param fieldManager who writes, as Kubernetes shows it
 * @throws AzekuraError FailedPrecondition when there is no configuration, InvalidArgument when it cannot be read
 */
export async function connectCluster(options: {
  readonly kubeconfig?: string | undefined;
  readonly fieldManager: string;
  readonly registry: Registry;
  readonly log: Logger;
}): Promise<Cluster> {
  const { kubeconfig, fieldManager, registry, log } = options;
  const access = await findAccess(kubeconfig === undefined ? {} : { kubeconfig });
  const registers = [registry];
  const calls = new Counter({
    name: 'azekura_kube_calls_total',
    help: 'Calls to the API server by verb, resource and HTTP status (0: no answer)',
    labelNames: ['verb', 'resource', 'status'],
    registers,
  });
  const latency = new Histogram({
    name: 'azekura_kube_call_seconds',
    help: 'Time to an answer of the API server',
    labelNames: ['verb'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
    registers,
  });
  const client = new KubeClient({
    access,
    fieldManager,
    onCall: ({ verb, resource, status, durationMs }) => {
      calls.inc({ verb, resource, status });
      if (verb !== 'watch') latency.observe({ verb }, durationMs / 1_000);
    },
  });
  const store = openKubernetesStore({
    client,
    onWatchIncident: (kind, incident, err) => log.debug({ kind, incident, err }, 'watch of the API server'),
  });
  return { client, store };
}
