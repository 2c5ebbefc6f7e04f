/** Controller, agent and the sidecars that they need as processes on a cluster of one node, each with the rights of its service account. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import { binary } from '../../lab/kubernetes/binaries.ts';
import { run } from '../../lab/kubernetes/exec.ts';
import { type Lab, until } from '../../lab/kubernetes/index.ts';
import { KubeClient } from '../../src/kube/client.ts';
import { findAccess } from '../../src/kube/connect.ts';
import { openKubernetesStore } from '../../src/store/kubernetes/kubernetes-store.ts';
import type { Store } from '../../src/store/store.ts';

const root = path.join(import.meta.dirname, '../..');
/** Our chart. */
export const chart = path.join(root, 'deploy/chart');
/** The name of our driver. */
export const driver = 'csi.azekura.dev';
/** The cluster's one node. */
export const node = 'node1';
const namespace = 'azekura-system';
const minute = 60_000;

/** What the tests of the roles do with them. */
export class Roles {
  readonly lab: Lab;
  /** The cluster's objects, with all rights. */
  readonly store: Store;

  private constructor(lab: Lab, store: Store) {
    this.lab = lab;
    this.store = store;
  }

  static async of(lab: Lab): Promise<Roles> {
    const access = await findAccess({ kubeconfig: lab.kubeconfig });
    return new Roles(lab, openKubernetesStore({ client: new KubeClient({ access, fieldManager: 'test' }) }));
  }

  async volumesOnDisk(): Promise<string[]> {
    const { status } = await this.store.get('Pool', 'main');
    const listed = await this.lab.member(node).exec(['ls', path.join(status.path ?? '', 'volumes')]);
    return listed.split('\n').filter(Boolean);
  }

  async install(): Promise<void> {
    await this.lab.kubectl(['create', 'namespace', namespace]);
    await this.lab.kubectl(['apply', '--server-side', '-f', path.join(chart, 'files/crds')]);
    await this.lab.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s']);
    const templates = ['serviceaccounts', 'rbac-agent', 'rbac-agent-policy', 'rbac-controller', 'rbac-sidecars'];
    const shown = templates.flatMap((name) => ['--show-only', `templates/${name}.yaml`]);
    const argv = [binary('helm'), 'template', 'azekura', chart, '--namespace', namespace, ...shown];
    await this.lab.kubectl(['apply', '--server-side', '-f', '-'], { input: await run(argv) });
  }

  /** A kubeconfig of a service account, as its pod would have it. */
  async kubeconfigOf(account: string, bound: readonly string[]): Promise<string> {
    const argv = ['create', 'token', account, '--namespace', namespace, '--duration=2h', ...bound];
    const token = (await this.lab.kubectl(argv)).trim();
    const config = parse(readFileSync(this.lab.innerKubeconfig, 'utf8')) as { users: { user: object }[] };
    for (const each of config.users) each.user = { token };
    const file = path.join(this.lab.folder, `${account}.kubeconfig`);
    writeFileSync(file, stringify(config), { mode: 0o600 });
    return file;
  }

  command(...argv: readonly string[]): string[] {
    return [process.execPath, path.join(root, 'dist/cli.mjs'), ...argv];
  }

  runDir(): string {
    return path.join(this.lab.folder, 'controller');
  }

  async startController(): Promise<void> {
    const kubeconfig = await this.kubeconfigOf('azekura-controller', []);
    const argv = this.command(
      'controller',
      '--kubeconfig',
      kubeconfig,
      '--namespace',
      namespace,
      '--run-dir',
      this.runDir(),
      '--json',
    );
    await this.lab.run('cp', 'controller', argv);
    const socket = path.join(this.runDir(), 'csi', 'csi.sock');
    await until(
      'the socket',
      minute,
      async () => (await this.lab.member('cp').tryExec(['test', '-S', socket])).code === 0,
    );
    const common = [`--csi-address=${socket}`, `--kubeconfig=${kubeconfig}`];
    const provisioner = [binary('csi-provisioner'), ...common, '--extra-create-metadata', '--strict-topology'];
    await this.lab.run('cp', 'provisioner', provisioner);
    await this.lab.run('cp', 'attacher', [binary('csi-attacher'), ...common]);
  }

  async startAgent(): Promise<void> {
    const bound = ['--bound-object-kind', 'Node', '--bound-object-name', node];
    const kubeconfig = await this.kubeconfigOf('azekura-agent', bound);
    const listen = ['--health-listen', '127.0.0.1:7844'];
    const argv = this.command(
      '--data-dir',
      this.dataDir(),
      'agent',
      '--node-name',
      node,
      '--kubeconfig',
      kubeconfig,
      ...listen,
      '--json',
    );
    await this.lab.run(node, 'agent', argv);
  }

  dataDir(): string {
    const folder = path.join(this.lab.folder, 'data');
    mkdirSync(folder, { recursive: true });
    return folder;
  }

  poolImage(): string {
    return path.join(this.lab.folder, 'pool.img');
  }

  poolSpec(): object {
    const image = { kind: 'image', path: this.poolImage(), sizeBytes: 2 ** 31 };
    return { nodeName: node, source: image, acceptNoJournal: true };
  }

  async apply(...objects: readonly object[]): Promise<void> {
    await this.lab.kubectl(['apply', '--server-side', '-f', '-'], {
      input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }),
    });
  }

  async isRegistered(): Promise<boolean> {
    const json = await this.lab.kubectl(['get', 'csinode', node, '-o', 'json']);
    const { spec } = JSON.parse(json) as { spec: { drivers: { name: string; nodeID: string }[] | null } };
    return spec.drivers?.some(({ name, nodeID }) => name === driver && nodeID === node) ?? false;
  }

  async running(name: string): Promise<void> {
    await this.lab.kubectl(['wait', '--for=condition=Ready', `pod/${name}`, '--timeout=120s']);
  }

  async remove(app: string, data: string): Promise<void> {
    await this.lab.kubectl(['delete', 'pod', app, '--timeout=120s']);
    await this.lab.kubectl(['delete', 'pvc', data, '--timeout=120s']);
    await until('no PV of it', 2 * minute, async () => {
      const volumes = JSON.parse(await this.lab.kubectl(['get', 'pv', '-o', 'json'])) as {
        items: { spec: { claimRef: { name: string } } }[];
      };
      return volumes.items.every(({ spec }) => spec.claimRef.name !== data);
    });
  }

  /** Where the node sees what a pod writes: through the mount namespace of the kubelet. */
  async logOf(app: string): Promise<string> {
    const uid = await this.lab.kubectl(['get', 'pod', app, '-o', 'jsonpath={.metadata.uid}']);
    const volumes = `/var/lib/kubelet/pods/${uid}/volumes/kubernetes.io~csi`;
    const [volume = ''] = (await this.lab.member(node).exec(['ls', volumes])).split('\n');
    return `/proc/${this.lab.member(node).holder}/root${volumes}/${volume}/mount/log`;
  }

  async agent(page: 'readyz' | 'metrics'): Promise<string> {
    const answer = await this.lab.member(node).tryExec(['curl', '-s', `http://127.0.0.1:7844/${page}`]);
    return answer.stdout;
  }
}

/** What a pod's volume says of the claim that it uses. */
export function claimed(claimName: string): object {
  return { persistentVolumeClaim: { claimName } };
}

/** Of 320 MiB. */
export function claim(name: string): object {
  const resources = { requests: { storage: '320Mi' } };
  const spec = { accessModes: ['ReadWriteOnce'], storageClassName: 'azekura', resources };
  return { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name }, spec };
}

/** Writes a line every 100 ms, each of them durable before the next. */
export function pod(name: string, source: object): object {
  const script = `: while-${name}-runs; echo start >>/v/log; while true; do echo line >>/v/log; sync /v/log; sleep 0.1; done`;
  const container = {
    name: 'c',
    image: 'localhost/busybox:1',
    imagePullPolicy: 'Never',
    command: ['sh', '-c', script],
    volumeMounts: [{ name: 'v', mountPath: '/v' }],
  };
  const volumes = [{ name: 'v', ...source }];
  const spec = { terminationGracePeriodSeconds: 1, containers: [container], volumes };
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec };
}

/** Lines that `pod` has written. */
export function lines(file: string): number {
  return count(file, 'line');
}

/** How often its container was started. */
export function starts(file: string): number {
  return count(file, 'start');
}

function count(file: string, what: string): number {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((one) => one === what).length;
}
