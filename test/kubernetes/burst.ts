/** Many pods with several claims at once, on nodes that hold only some of them; and what becomes of them. */
import type { Cluster } from '../../lab/kubernetes/cluster.ts';
import { until } from '../../lab/kubernetes/exec.ts';
import { diagnosis, Space } from './kit.ts';

const minute = 60_000;
const podCount = 50;
export const className = 'burst';
/** Of one claim: a node's pool may promise about nine of them. */
export const claimGibibytes = 8;

interface List<T> {
  readonly items: readonly T[];
}
export interface Pod {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly nodeName?: string;
    readonly volumes: readonly { readonly persistentVolumeClaim?: { readonly claimName: string } }[];
  };
}
interface Claim {
  readonly metadata: { readonly name: string };
  readonly status: { readonly phase: string };
}

export const storageClass = {
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: { name: className },
  provisioner: 'csi.azekura.dev',
  volumeBindingMode: 'WaitForFirstConsumer',
  parameters: { recycle: '0', engine: 'file', provisioning: 'thin' },
};

/** A pod and its claims. @param options.node the only one that it may go to */
export function podWithClaims(
  number: number,
  count: number,
  {
    node,
    storageClassName = className,
    storage = `${claimGibibytes}Gi`,
  }: { readonly node?: string; readonly storageClassName?: string; readonly storage?: string } = {},
): object[] {
  const names = Array.from({ length: count }, (_, i) => `claim-${number}-${i}`);
  const claims = names.map((name) => ({
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name },
    spec: {
      accessModes: ['ReadWriteOnce'],
      storageClassName,
      resources: { requests: { storage } },
    },
  }));
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `pod-${number}` },
    spec: {
      terminationGracePeriodSeconds: 0,
      ...(node === undefined ? {} : { nodeSelector: { 'kubernetes.io/hostname': node } }),
      containers: [
        {
          name: 'main',
          image: 'localhost/busybox:1',
          imagePullPolicy: 'Never',
          command: ['/bin/sh', '-c', 'sleep 100000'],
          volumeMounts: names.map((name) => ({ name, mountPath: `/${name}` })),
        },
      ],
      volumes: names.map((name) => ({ name, persistentVolumeClaim: { claimName: name } })),
    },
  };
  return [...claims, pod];
}

/**
 * Fifty pods with one to three claims each, at once; what has become of them when nothing changes any more.
 *
 * @param options.stuckForMs how long pods that look stuck are given: who seems stuck may only be slow, on a busy machine
 * @param options.look is called before they are deleted
 */
export async function burst(
  cluster: Cluster,
  name: string,
  {
    stuckForMs = minute,
    look: lookFirst = async () => {},
  }: { readonly stuckForMs?: number; readonly look?: (space: Space) => Promise<void> } = {},
): Promise<Outcome> {
  const space = await Space.create(cluster, name);
  const objects = Array.from({ length: podCount }, (_, i) => podWithClaims(i, 1 + (i % 3))).flat();
  const list = { apiVersion: 'v1', kind: 'List', items: objects };
  await cluster.kubectl(['-n', name, 'create', '-f', '-'], { input: JSON.stringify(list), timeoutMs: 3 * minute });
  let last = '';
  let sinceMs = performance.now();
  let state = await outcome(space);
  await until(
    'the burst to settle',
    5 * minute + stuckForMs,
    async () => {
      state = await outcome(space);
      const text = JSON.stringify(state);
      if (text !== last) sinceMs = performance.now();
      last = text;
      const patienceMs = state.stuck.length > 0 ? stuckForMs : 20_000;
      return state.bound > 0 && performance.now() - sinceMs > patienceMs;
    },
    1_000,
  ).catch(async (error: Error) => {
    throw new Error(`${error.message}\n${await diagnosis(cluster, name)}`);
  });
  await lookFirst(space);
  await cluster.kubectl(['delete', 'namespace', name, '--timeout=200s'], { timeoutMs: 220_000 });
  await until('no volumes', 2 * minute, async () => (await cluster.kubectl(['get', 'pv', '-o', 'name'])) === '', 1_000);
  return state;
}

export interface Outcome {
  /** Names of pods without a node though a claim of them has a volume: they can go nowhere else, and there is no room. */
  readonly stuck: readonly string[];
  readonly running: number;
  readonly bound: number;
}

async function outcome(space: Space): Promise<Outcome> {
  const [{ items: pods }, { items: claims }] = await Promise.all([
    space.get<List<Pod>>('pods'),
    space.get<List<Claim>>('pvc'),
  ]);
  const bound = new Set(claims.filter(({ status }) => status.phase === 'Bound').map(({ metadata }) => metadata.name));
  const waiting = pods.filter(({ spec }) => spec.nodeName === undefined);
  const stuck = waiting.filter(({ spec }) =>
    spec.volumes.some(({ persistentVolumeClaim }) => bound.has(persistentVolumeClaim?.claimName ?? '')),
  );
  return {
    stuck: stuck.map(({ metadata }) => metadata.name).sort(),
    running: pods.length - waiting.length,
    bound: bound.size,
  };
}
