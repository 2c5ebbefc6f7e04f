/**
 * A real cluster of three nodes: from claim to bound and from pod to running, beside a driver that only makes directories;
 * a burst of claims; calls and memory. About twenty minutes, most of them until volumes are gone again; four with --quick.
 */
import { startLab } from '../lab/kubernetes/index.ts';
import { installAzekura, systemNamespace } from '../lab/kubernetes/install.ts';
import { plainClass, startPlainDriver } from '../lab/kubernetes/plain-driver.ts';
import { eventually } from '../lab/workbench.ts';
import { KubeClient, type KubeObject, type ResourceType } from '../src/kube/client.ts';
import { findAccess } from '../src/kube/connect.ts';
import { createObjectCache } from '../src/kube/object-cache.ts';
import { claimType, persistentVolumeType, podType } from '../src/kube/types.ts';
import type { Bench, BenchContext, Measurement } from './bench.ts';

const namespace = 'bench';
const ours = 'bench';

interface Phased extends KubeObject {
  readonly status?: { readonly phase?: string };
}

export const kubernetes: Bench = {
  name: 'kubernetes',
  title: 'claim → Bound and pod → Running on a real cluster, beside a driver that only makes directories',
  async run(context) {
    const { cleanup, note, quick } = context;
    const lab = await startLab({ nodes: 3, say: note });
    cleanup.add(() => lab.stop());
    await installAzekura(lab, note);
    await startPlainDriver(lab);
    await lab.kubectl(['create', 'namespace', namespace]);
    for (const volumeBindingMode of ['WaitForFirstConsumer', 'Immediate'])
      await lab.kubectl(['apply', '-f', '-'], {
        input: JSON.stringify({
          apiVersion: 'storage.k8s.io/v1',
          kind: 'StorageClass',
          metadata: { name: volumeBindingMode === 'Immediate' ? `${ours}-now` : ours },
          provisioner: 'csi.azekura.dev',
          volumeBindingMode,
          parameters: { recycle: '0' },
        }),
      });
    const client = new KubeClient({
      access: await findAccess({ kubeconfig: lab.kubeconfig }),
      fieldManager: 'azekura-bench',
    });
    cleanup.add(() => client.close());
    const watch = await watchPhases(client, context);

    const rounds = quick ? 6 : 30;
    const times = { [ours]: emptyTimes(), [plainClass]: emptyTimes() };
    // The first of each makes templates and fills caches.
    for (const className of [ours, plainClass]) await cycle(client, watch, className, `warm-${className}`);
    const before = await callsOf(lab);
    const beganMs = performance.now();
    // In turns, so that both see the same machine.
    for (let round = 0; round < rounds; round++)
      for (const className of [ours, plainClass] as const) {
        const { boundMs, runningMs } = await cycle(client, watch, className, `${className}-${round}`);
        times[className]?.bound.push(boundMs);
        times[className]?.running.push(runningMs);
      }
    const workedMs = performance.now() - beganMs;
    const after = await callsOf(lab);
    const restMs = Math.min(workedMs, quick ? 15_000 : 60_000);
    await new Promise((resolve) => setTimeout(resolve, restMs));
    const idle = ((await callsOf(lab)) - after) / restMs;
    const calls = (after - before - idle * workedMs) / rounds;

    const count = quick ? 50 : 500;
    const oursNow = await burst(client, watch, `${ours}-now`, count, note);
    const plainNow = await burst(client, watch, `${plainClass}-now`, count, note);
    const agent = Math.max(...(await metricOf(lab, 'agent', 7844, 'process_resident_memory_bytes')));
    const controller = Math.max(...(await metricOf(lab, 'controller', 7845, 'process_resident_memory_bytes')));
    const latency = (name: 'bound' | 'running', share: number): Measurement => ({
      name: `kubernetes/${name === 'bound' ? 'claim→Bound' : 'pod→Running'} p${share * 100}`,
      value: percentile(times[ours]?.[name] ?? [], share),
      baseline: percentile(times[plainClass]?.[name] ?? [], share),
      unit: 'ms',
      goal: { of: 'ratio', is: 'at most', than: 1.15 },
    });
    return [
      latency('bound', 0.5),
      latency('bound', 0.99),
      latency('running', 0.5),
      latency('running', 0.99),
      {
        name: `kubernetes/burst of ${count} claims, failures`,
        value: oursNow.failures,
        unit: 'claims',
        goal: { of: 'value', is: 'at most', than: 0 },
      },
      {
        name: `kubernetes/burst of ${count} claims`,
        value: oursNow.ms / 1_000,
        baseline: plainNow.ms / 1_000,
        unit: 's',
      },
      { name: 'kubernetes/calls per volume, our own', value: calls, unit: 'calls' },
      {
        name: `kubernetes/agent's memory after ${count} volumes`,
        value: agent / 2 ** 20,
        unit: 'MiB',
        goal: { of: 'value', is: 'at most', than: 64 },
      },
      { name: `kubernetes/controller's memory after ${count} volumes`, value: controller / 2 ** 20, unit: 'MiB' },
    ];
  },
};

interface Times {
  readonly bound: number[];
  readonly running: number[];
}
const emptyTimes = (): Times => ({ bound: [], running: [] });

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

interface PhaseWatch {
  /** When the object was first seen in the phase, by the clock of performance.now(). */
  until(plural: string, name: string, phase: string, timeoutMs: number): Promise<number>;
  /** When nothing is left. */
  empty(): Promise<void>;
}

async function watchPhases(client: KubeClient, { cleanup }: BenchContext): Promise<PhaseWatch> {
  const seen = new Map<string, number>();
  const waiting = new Map<string, (ms: number) => void>();
  const follow = (type: ResourceType, selection: { readonly namespace?: string }) => {
    const cache = createObjectCache<Phased>(client, type, selection);
    cache.onChange(({ object }) => {
      const key = `${type.plural}/${object.metadata.name}/${object.status?.phase}`;
      if (seen.has(key)) return;
      const nowMs = performance.now();
      seen.set(key, nowMs);
      waiting.get(key)?.(nowMs);
    });
    cleanup.add(() => cache.close());
    return cache;
  };
  const caches = [follow(claimType, { namespace }), follow(podType, { namespace }), follow(persistentVolumeType, {})];
  await Promise.all(caches.map(({ synced }) => synced));
  return {
    until: async (plural, name, phase, timeoutMs) => {
      const key = `${plural}/${name}/${phase}`;
      const then = seen.get(key);
      if (then !== undefined) return then;
      return new Promise<number>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no ${key} after ${timeoutMs} ms`)), timeoutMs);
        waiting.set(key, (ms) => {
          clearTimeout(timer);
          resolve(ms);
        });
      });
    },
    empty: () =>
      eventually(() => {
        const left = caches.flatMap((cache) => cache.list().map(({ metadata }) => metadata.name));
        if (left.length > 0) throw new Error(`still there: ${left.slice(0, 5).join(', ')}`);
      }, 600_000),
  };
}

const claimOf = (name: string, storageClassName: string): KubeObject & object => ({
  metadata: { name, namespace },
  ...{ spec: { accessModes: ['ReadWriteOnce'], storageClassName, resources: { requests: { storage: '320Mi' } } } },
});

function podOf(name: string): KubeObject & object {
  const container = {
    name: 'c',
    image: 'localhost/busybox:1',
    imagePullPolicy: 'Never',
    command: ['sleep', '100000'],
    volumeMounts: [{ name: 'v', mountPath: '/v' }],
  };
  const volumes = [{ name: 'v', persistentVolumeClaim: { claimName: name } }];
  return {
    metadata: { name, namespace },
    ...{ spec: { terminationGracePeriodSeconds: 0, containers: [container], volumes } },
  };
}

/** A claim and a pod at the same moment; both are gone, and the volume, when it returns. */
async function cycle(client: KubeClient, watch: PhaseWatch, className: string, name: string) {
  const sinceMs = performance.now();
  await Promise.all([client.create(claimType, claimOf(name, className)), client.create(podType, podOf(name))]);
  const [bound, running] = await Promise.all([
    watch.until('persistentvolumeclaims', name, 'Bound', 300_000),
    watch.until('pods', name, 'Running', 300_000),
  ]);
  await client.delete(podType, { name, namespace });
  await client.delete(claimType, { name, namespace });
  await watch.empty();
  return { boundMs: bound - sinceMs, runningMs: running - sinceMs };
}

/** Claims of a class that does not wait for pods, all at once. */
async function burst(
  client: KubeClient,
  watch: PhaseWatch,
  className: string,
  count: number,
  note: (text: string) => void,
) {
  const names = Array.from({ length: count }, (_, i) => `${className}-${i}`);
  const sinceMs = performance.now();
  const results = await Promise.allSettled(
    names.map(async (name) => {
      await client.create(claimType, claimOf(name, className), { deadlineMs: 300_000 });
      return watch.until('persistentvolumeclaims', name, 'Bound', 600_000);
    }),
  );
  const ends = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) note(String(failed.reason));
  const ms = Math.max(...ends) - sinceMs;
  note(`${className}: ${ends.length} of ${count} bound after ${(ms / 1_000).toFixed(1)} s`);
  await client.deleteAll(claimType, { namespace, deadlineMs: 120_000 });
  await watch.empty();
  return { ms, failures: count - ends.length };
}

/** Values of a metric of all pods of a role. */
async function metricOf(
  lab: Awaited<ReturnType<typeof startLab>>,
  role: string,
  port: number,
  name: string,
  counts: (labels: string) => boolean = () => true,
): Promise<number[]> {
  const selector = ['-l', `app.kubernetes.io/component=${role}`, '-o', 'jsonpath={.items[*].status.podIP}'];
  const addresses = (await lab.kubectl(['-n', systemNamespace, 'get', 'pods', ...selector])).trim().split(' ');
  return Promise.all(
    addresses.map(async (address) => {
      const text = await lab.controlPlane.exec(['curl', '-s', `http://${address}:${port}/metrics`]);
      const lines = text.split('\n').filter((line) => line.startsWith(name) && counts(line));
      if (lines.length === 0) throw new Error(`${role} at ${address} has no metric ${name}`);
      return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
    }),
  );
}

/** Calls of our processes to the API server until now; Leases have nothing to do with volumes. */
async function callsOf(lab: Awaited<ReturnType<typeof startLab>>): Promise<number> {
  const counts = (line: string): boolean => !line.includes('resource="leases"');
  const all = await Promise.all(
    (['agent', 'controller'] as const).map((role) =>
      metricOf(lab, role, role === 'agent' ? 7844 : 7845, 'azekura_kube_calls_total', counts),
    ),
  );
  return all.flat().reduce((sum, value) => sum + value, 0);
}
