/**
 * The chart's answer to a scheduler that asks, with the real kube-scheduler and the configuration that the chart has ready
 * for it. About eight minutes.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { Cluster } from '../../lab/kubernetes/cluster.ts';
import { startScheduler } from '../../lab/kubernetes/control-plane.ts';
import { until as untilEvery } from '../../lab/kubernetes/exec.ts';
import { labMissing } from '../../lab/kubernetes/index.ts';
import { installChart, systemNamespace } from '../../lab/kubernetes/install.ts';
import { burst, className, type Pod, podWithClaims, storageClass } from './burst.ts';
import { diagnosis, Space, sharedLab } from './kit.ts';

const missing =
  process.env.AZEKURA_LONG === '1' ? labMissing({ nodes: 3 }) : 'AZEKURA_LONG is not 1; it takes eight minutes';
const minute = 60_000;
/** Of the lab's Services. */
const clusterIP = '10.96.200.46';
/** A pod that was refused everywhere is tried again with the next change that may help it, or after five minutes. */
const flushMs = 330_000;
const until = (what: string, timeoutMs: number, question: () => boolean | Promise<boolean>) =>
  untilEvery(what, timeoutMs, question, 1_000);

interface Event {
  readonly reason: string;
  readonly message: string;
}

describe.skipIf(missing)(`a scheduler that asks${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let cluster: Cluster;
  let extenders: readonly object[];

  beforeAll(async () => {
    cluster = await sharedLab();
    await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(storageClass) });
    await installChart(cluster, { values: { extender: { enabled: true, clusterIP } } });
    const config = JSON.parse(
      await cluster.kubectl(['-n', systemNamespace, 'get', 'configmap', 'azekura-scheduler', '-o', 'json']),
    ) as { readonly data: { readonly 'config.yaml': string } };
    ({ extenders } = parse(config.data['config.yaml']) as { readonly extenders: readonly object[] });
    await startScheduler(cluster.controlPlane, { part: { extenders } });
  }, 12 * minute);

  afterAll(async () => {
    if (!cluster) return;
    await startScheduler(cluster.controlPlane, {});
    await installChart(cluster);
    await cluster.kubectl(['delete', 'storageclass', className, '--ignore-not-found']);
  }, 6 * minute);

  it(
    'sends no pod of a burst to a node that lacks room for all of its claims, and says where it lacks',
    async () => {
      const before = await asked();
      const refusals: string[] = [];
      const outcome = await burst(cluster, 'asked', {
        stuckForMs: flushMs,
        look: async (space) => {
          const { items } = await space.get<{ items: readonly Event[] }>('events', '--field-selector=type=Warning');
          refusals.push(...items.filter(({ reason }) => reason === 'FailedScheduling').map(({ message }) => message));
        },
      });
      expect(outcome.stuck).toEqual([]);
      // The room is used: a node that is left free for nobody would be no art.
      expect(outcome.running).toBeGreaterThanOrEqual(cluster.nodes.length * 3);
      expect((await asked()).filter - before.filter).toBeGreaterThanOrEqual(50);
      expect(refusals.join('\n')).toMatch(/room is kept on node|pool node\d-data/);
    },
    16 * minute,
  );

  it(
    'chooses the node with most room, where nothing else counts',
    async () => {
      const score = { disabled: [{ name: '*' }] };
      const profiles = [{ schedulerName: 'default-scheduler', plugins: { score } }];
      await startScheduler(cluster.controlPlane, { part: { extenders, profiles } });
      const space = await Space.create(cluster, 'ranked');
      const before = await asked();
      // Of a pool that promises more than it has, what counts is what is really free: so these take it at once.
      const thick = { storageClassName: 'burst-thick', storage: '700Mi' };
      await space.apply(
        {
          ...storageClass,
          metadata: { name: thick.storageClassName },
          parameters: { ...storageClass.parameters, provisioning: 'thick' },
        },
        ...podWithClaims(0, 3, { ...thick, node: 'node1' }),
        ...podWithClaims(1, 1, { ...thick, node: 'node2' }),
      );
      await space.wait('condition=Ready', 'pod/pod-0', 'pod/pod-1');
      const chosen: (string | undefined)[] = [];
      for (const number of [2, 3, 4]) {
        await space.apply(...podWithClaims(number, 1, thick));
        await space.wait('condition=Ready', `pod/pod-${number}`);
        chosen.push((await space.get<Pod>('pod', `pod-${number}`)).spec.nodeName);
      }
      expect(chosen[0]).toBe('node3');
      // Two nodes have the same room then, and one more than the other afterwards.
      expect(chosen.slice(1).sort()).toEqual(['node2', 'node3']);
      expect((await asked()).prioritize).toBeGreaterThan(before.prioritize);
      await gone(space);
      await cluster.kubectl(['delete', 'storageclass', thick.storageClassName]);
    },
    6 * minute,
  );

  it(
    'goes on when nobody answers, and with claims when somebody does again',
    async () => {
      const space = await Space.create(cluster, 'ignored');
      const scale = (replicas: number) =>
        cluster.kubectl(['-n', systemNamespace, 'scale', 'deployment/azekura-controller', `--replicas=${replicas}`]);
      await scale(0);
      try {
        await until('no controller', 2 * minute, async () => (await controllers()).all.length === 0);
        const claimed = podWithClaims(0, 1);
        const { spec } = claimed.at(-1) as { spec: { containers: readonly object[] } };
        const [container] = spec.containers;
        const alone = { containers: [{ ...container, volumeMounts: [] }], terminationGracePeriodSeconds: 0 };
        await space.apply({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'alone' }, spec: alone }, ...claimed);
        await space.wait('condition=Ready', 'pod/alone');
        // It has a node, on which the provisioner would make the volume if there were one.
        await space.wait('jsonpath={.metadata.annotations.volume\\.kubernetes\\.io/selected-node}', 'pvc/claim-0-0');
      } finally {
        await scale(2);
      }
      await space.wait('condition=Ready', 'pod/pod-0');
      await gone(space);
    },
    8 * minute,
  );

  // --- parts ---

  /** Addresses of the controllers that are there, and of those that answer. */
  async function controllers(): Promise<{ readonly all: readonly string[]; readonly ready: readonly string[] }> {
    const selector = ['-l', 'app.kubernetes.io/component=controller', '-o', 'json'];
    const { items } = JSON.parse(await cluster.kubectl(['-n', systemNamespace, 'get', 'pods', ...selector])) as {
      readonly items: readonly {
        readonly metadata: { readonly deletionTimestamp?: string };
        readonly status: {
          readonly podIP?: string;
          readonly conditions?: readonly { readonly type: string; readonly status: string }[];
        };
      }[];
    };
    const addresses = (pods: typeof items) => pods.flatMap(({ status }) => status.podIP ?? []);
    const ready = items.filter(
      ({ metadata, status }) =>
        !metadata.deletionTimestamp && status.conditions?.some((one) => one.type === 'Ready' && one.status === 'True'),
    );
    return { all: addresses(items), ready: addresses(ready) };
  }

  /** How often the scheduler has asked, of all controllers together. */
  async function asked(): Promise<{ readonly filter: number; readonly prioritize: number }> {
    const pages = await Promise.all(
      (await controllers()).ready.map((address) =>
        cluster.controlPlane.exec(['curl', '-sf', '--max-time', '10', `http://${address}:7845/metrics`]),
      ),
    );
    const sum = (verb: string) =>
      pages.reduce((all, page) => {
        const count = new RegExp(`^azekura_extender_seconds_count\\{verb="${verb}"\\} (\\d+)$`, 'm').exec(page)?.[1];
        return all + Number(count ?? 0);
      }, 0);
    return { filter: sum('filter'), prioritize: sum('prioritize') };
  }

  /** Deletes a space, and waits until no volume is left. */
  async function gone(space: Space): Promise<void> {
    await cluster.kubectl(['delete', 'namespace', space.name, '--timeout=200s'], { timeoutMs: 220_000 });
    await until(
      'no volumes',
      2 * minute,
      async () => (await cluster.kubectl(['get', 'pv', '-o', 'name'])) === '',
    ).catch(async (error: Error) => {
      throw new Error(`${error.message}\n${await diagnosis(cluster, space.name)}`);
    });
  }
});
