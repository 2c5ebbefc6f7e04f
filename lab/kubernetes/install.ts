/** Our chart and images on a running lab, as a user would install them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { binary, snapshotCrds } from './binaries.ts';
import type { Cluster } from './cluster.ts';
import { until } from './exec.ts';
import { azekuraArchive, azekuraImage } from './image/azekura.ts';
import { imageArchive, sidecarImages } from './image/catalog.ts';
import { projectRoot } from './paths.ts';

export const release = 'azekura';
export const systemNamespace = 'azekura-system';
export const chartFolder = join(projectRoot, 'deploy/chart');

/** Where the agents keep everything: all nodes of a lab share one kernel, so each has a path of its own. */
export const labDataDir = '/var/lib/azekura/$(NODE_NAME)';

/** What the lab's values differ from the chart's. */
export function labValues(tag = azekuraImage.tag): Record<string, unknown> {
  const local = (name: string): object => ({ repository: `localhost/${name}`, tag: '1' });
  return {
    image: { repository: azekuraImage.repository, tag, pullPolicy: 'Never' },
    sidecars: {
      provisioner: local('csi-provisioner'),
      attacher: local('csi-attacher'),
      resizer: local('csi-resizer'),
      snapshotter: local('csi-snapshotter'),
    },
    agent: { dataDir: labDataDir },
    pools: [
      {
        name: 'data',
        source: { kind: 'share', maximum: '4Gi' },
        overcommitRatio: 20,
        // The host's disk may have none; a lab's data is not meant to last.
        acceptNoJournal: true,
      },
    ],
  };
}

/** The snapshot CRDs and the snapshot-controller, which a cluster has before any driver. */
export async function installSnapshotController(cluster: Cluster): Promise<void> {
  await cluster.kubectl(['apply', '-f', snapshotCrds()]);
  await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=90s', '-f', snapshotCrds()]);
  if (cluster.controlPlane.runs('snapshot-controller')) return;
  await cluster.run('cp', 'snapshot-controller', [
    binary('snapshot-controller'),
    `--kubeconfig=${cluster.innerKubeconfig}`,
    '--feature-gates=CSIVolumeGroupSnapshot=true',
  ]);
}

/** Gives all nodes the image of this checkout's dist/ and those of the sidecars. */
export async function loadAzekuraImages(cluster: Cluster): Promise<void> {
  const archives = await Promise.all([azekuraArchive(), ...driverSidecars().map((name) => imageArchive(name))]);
  await cluster.loadImages(archives);
}

const driverSidecars = (): readonly string[] => sidecarImages.filter((name) => name !== 'snapshot-controller');

export interface InstallOptions {
  /** Laid over the lab's values, key by key on the first level. */
  readonly values?: Readonly<Record<string, unknown>>;
  /** Another chart than this checkout's; gets those values that it knows. */
  readonly chart?: string;
  readonly timeoutSeconds?: number;
}

/** `helm upgrade --install`, and waits until everything of it is ready. */
export async function installChart(cluster: Cluster, options: InstallOptions = {}): Promise<void> {
  await cluster.kubectl(['apply', '-f', join(projectRoot, 'deploy/namespace.yaml')]);
  const chart = options.chart ?? chartFolder;
  // An older chart refuses values that it does not know.
  const known = Object.keys(parse(readFileSync(join(chart, 'values.yaml'), 'utf8')) as object);
  const all = Object.entries({ ...labValues(), ...options.values });
  const values = Object.fromEntries(all.filter(([name]) => known.includes(name)));
  await cluster.helm(
    [
      ...['upgrade', '--install', release, chart, '--namespace', systemNamespace],
      ...['--values', '-', '--wait', '--timeout', `${options.timeoutSeconds ?? 180}s`],
    ],
    { input: JSON.stringify(values), timeoutMs: 300_000 },
  );
}

export async function uninstallChart(cluster: Cluster): Promise<void> {
  await cluster.helm(['uninstall', release, '--namespace', systemNamespace, '--wait', '--timeout', '120s'], {
    timeoutMs: 180_000,
  });
}

/** Waits until the rule of the lab's values has given each node its pool, as it would give it to a user's. */
export async function waitForPools(cluster: Cluster, nodes: readonly string[]): Promise<void> {
  const names = nodes.map((name) => `pools.azekura.dev/${name}-data`);
  await until('the pools', 60_000, async () => (await cluster.tryKubectl(['get', ...names])).code === 0, 200);
  await cluster.kubectl(['wait', '--for=jsonpath={.status.phase}=Ready', '--timeout=120s', ...names], {
    timeoutMs: 150_000,
  });
}

/** Starts our pods anew: the images of a lab keep their tag, so that a new one alone changes nothing. */
export async function restartAzekura(cluster: Cluster): Promise<void> {
  const workloads = ['deployment/azekura-controller', 'daemonset/azekura-agent'];
  await cluster.kubectl(['-n', systemNamespace, 'rollout', 'restart', ...workloads]);
  for (const one of workloads)
    await cluster.kubectl(['-n', systemNamespace, 'rollout', 'status', one, '--timeout=180s'], { timeoutMs: 200_000 });
}

/** All of the above on a cluster that has just started. */
export async function installAzekura(cluster: Cluster, say: (line: string) => void = () => {}): Promise<void> {
  await Promise.all([installSnapshotController(cluster), loadAzekuraImages(cluster)]);
  say('images are loaded');
  await installChart(cluster);
  say(`the chart is installed in ${systemNamespace}`);
  await waitForPools(cluster, cluster.nodes);
  say('every node has a pool');
}
