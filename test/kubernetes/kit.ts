/** What the tests on a real cluster share. */
import { inject } from 'vitest';
import { Cluster } from '../../lab/kubernetes/cluster.ts';
import { CommandFailed, until } from '../../lab/kubernetes/exec.ts';
import { installAzekura, systemNamespace } from '../../lab/kubernetes/install.ts';

/** The run's cluster of three nodes with our chart on it, and a pool of 4 GiB on each node. */
export async function sharedLab(): Promise<Cluster> {
  const cluster = new Cluster(inject('sharedLabName'));
  if (cluster.isUp) return cluster;
  try {
    await cluster.up({ nodes: 3 });
    await installAzekura(cluster);
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${await diagnosis(cluster)}`, { cause: error });
  }
  return cluster;
}

/** What a person would look at first when something of ours does not come up. */
export async function diagnosis(cluster: Cluster, namespace = systemNamespace): Promise<string> {
  const parts = await Promise.all([
    cluster.tryKubectl(['get', 'pods,pvc', '-A', '-o', 'wide']),
    cluster.tryKubectl(['get', 'azekura']),
    cluster.tryKubectl(['get', 'events', '-n', namespace, '--sort-by=.lastTimestamp']),
    ...['controller', 'agent'].map((role) => {
      const selector = `app.kubernetes.io/component=${role}`;
      return cluster.tryKubectl([
        'logs',
        '-n',
        systemNamespace,
        '-l',
        selector,
        '--all-containers',
        '--tail=15',
        '--prefix',
      ]);
    }),
  ]);
  return parts.map((part) => (part.stdout + part.stderr).trim().split('\n').slice(-60).join('\n')).join('\n\n');
}

/** A namespace of the cluster, and what one does in it. */
export class Space {
  readonly cluster: Cluster;
  readonly name: string;

  constructor(cluster: Cluster, name: string) {
    this.cluster = cluster;
    this.name = name;
  }

  static async create(cluster: Cluster, name: string): Promise<Space> {
    await cluster.kubectl(['create', 'namespace', name]);
    return new Space(cluster, name);
  }

  kubectl(...args: readonly string[]): Promise<string> {
    return this.cluster.kubectl(['-n', this.name, ...args], { timeoutMs: 240_000 });
  }

  async apply(...objects: readonly object[]): Promise<void> {
    const list = { apiVersion: 'v1', kind: 'List', items: objects };
    await this.cluster.kubectl(['-n', this.name, 'apply', '-f', '-'], { input: JSON.stringify(list) });
  }

  async get<T>(...args: readonly string[]): Promise<T> {
    return JSON.parse(await this.kubectl('get', ...args, '-o', 'json')) as T;
  }

  /** Waits as `kubectl wait` does; says what is the matter when it does not come. */
  async wait(condition: string, ...what: readonly string[]): Promise<void> {
    try {
      await this.kubectl('wait', `--for=${condition}`, '--timeout=210s', ...what);
    } catch (error) {
      if (!(error instanceof CommandFailed)) throw error;
      throw new Error(`${error.message}\n${await diagnosis(this.cluster, this.name)}`);
    }
  }

  /** Runs a command in a pod. @param target such as "deploy/web" */
  exec(target: string, ...argv: readonly string[]): Promise<string> {
    return this.kubectl('exec', target, '--', ...argv);
  }

  /** Waits until pods are ready. */
  ready(...pods: readonly string[]): Promise<void> {
    return this.wait('condition=Ready', ...pods.map((name) => `pod/${name}`));
  }

  /** What a line of shell prints in a pod. */
  async shell(pod: string, script: string): Promise<string> {
    return (await this.exec(pod, 'sh', '-c', script)).trim();
  }

  /** `exec` until it succeeds: a process in a pod that has just started may not answer yet. */
  async execSoon(target: string, ...argv: readonly string[]): Promise<string> {
    let answer = '';
    await until(
      `${argv.join(' ').slice(0, 80)} in ${target}`,
      120_000,
      async () => {
        answer = await this.exec(target, ...argv);
        return true;
      },
      500,
    );
    return answer;
  }
}

/** Loop devices and files that a node's agent has for volumes, also for recycled ones. */
export async function volumesOnNode(cluster: Cluster, node: string): Promise<readonly string[]> {
  const folder = `/var/lib/azekura/${node}`;
  const places = ['(', '-path', '*/volumes/*', '-o', '-path', '*/recycled/*', ')'];
  const found = await cluster.member(node).tryExec(['find', folder, ...places, '-name', 'data', '-type', 'f']);
  const loops = await cluster.member(node).exec(['losetup', '--list', '--noheadings', '--output', 'BACK-FILE']);
  return [
    ...found.stdout.split('\n').filter((line) => line !== ''),
    ...loops.split('\n').filter((line) => line.includes(`${folder}/`) && line.includes('/volumes/')),
  ];
}

/** Everything of volumes, in the API and on the nodes, as one text to compare. */
export async function traces(cluster: Cluster): Promise<string> {
  const kinds = 'volumes.azekura.dev,replicas.azekura.dev,attachments.azekura.dev,snapshots.azekura.dev';
  const [objects, kubernetes, ...onNodes] = await Promise.all([
    cluster.kubectl(['get', kinds, '-o', 'name']),
    cluster.kubectl(['get', 'persistentvolumes,volumeattachments', '-o', 'name']),
    ...cluster.nodes.map(async (node) => (await volumesOnNode(cluster, node)).join('\n')),
  ]);
  return [objects, kubernetes, ...onNodes].join('\n');
}
