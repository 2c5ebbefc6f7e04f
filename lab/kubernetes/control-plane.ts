/** etcd, kube-apiserver, kube-controller-manager and kube-scheduler in the namespaces of the control plane. */
import { writeFileSync } from 'node:fs';
import type { Api } from './api.ts';
import { binary } from './binaries.ts';
import type { Member } from './namespaces.ts';
import { controlPlaneAddress } from './network.ts';
import type { Pki } from './pki.ts';

export interface ApiPorts {
  readonly etcd: number;
  readonly etcdPeer: number;
  readonly apiserver: number;
}

export const standardPorts: ApiPorts = { etcd: 2379, etcdPeer: 2380, apiserver: 6443 };

/** More arguments for the servers of a lab. */
export interface ServerArguments {
  readonly apiserver?: readonly string[];
  readonly controllerManager?: readonly string[];
  readonly scheduler?: readonly string[];
  readonly kubelet?: readonly string[];
}

export async function startApi(
  member: Member,
  pki: Pki,
  api: Api,
  { ports, alone, more = [] }: { ports: ApiPorts; alone: boolean; more?: readonly string[] | undefined },
): Promise<void> {
  const etcd = `http://127.0.0.1:${ports.etcd}`;
  const peer = `http://127.0.0.1:${ports.etcdPeer}`;
  await member.spawn(
    'etcd',
    [
      binary('etcd'),
      `--data-dir=${member.path('etcd')}`,
      '--unsafe-no-fsync',
      '--log-level=warn',
      ...[`--listen-client-urls=${etcd}`, `--advertise-client-urls=${etcd}`],
      ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`, `--initial-cluster=default=${peer}`],
    ],
    { own: true },
  );
  const certificate = (flag: string, name: string): string => `--${flag}=${pki.file(name)}`;
  await member.spawn(
    'apiserver',
    [
      binary('kube-apiserver'),
      `--etcd-servers=${etcd}`,
      `--bind-address=${alone ? '127.0.0.1' : '0.0.0.0'}`,
      `--secure-port=${ports.apiserver}`,
      `--advertise-address=${controlPlaneAddress}`,
      '--service-cluster-ip-range=10.96.0.0/16',
      certificate('tls-cert-file', 'apiserver.crt'),
      certificate('tls-private-key-file', 'apiserver.key'),
      certificate('client-ca-file', 'ca.crt'),
      '--service-account-issuer=https://kubernetes.default.svc',
      certificate('service-account-key-file', 'sa.pub'),
      certificate('service-account-signing-key-file', 'sa.key'),
      '--authorization-mode=Node,RBAC',
      '--enable-admission-plugins=NodeRestriction',
      '--allow-privileged=true',
      // Webhooks and aggregated APIs behind a Service go straight to its endpoints: here is no kube-proxy.
      '--enable-aggregator-routing=true',
      certificate('kubelet-client-certificate', 'apiserver-kubelet.crt'),
      certificate('kubelet-client-key', 'apiserver-kubelet.key'),
      '--kubelet-preferred-address-types=InternalIP',
      certificate('requestheader-client-ca-file', 'ca.crt'),
      '--requestheader-allowed-names=front-proxy',
      '--requestheader-extra-headers-prefix=X-Remote-Extra-',
      '--requestheader-group-headers=X-Remote-Group',
      '--requestheader-username-headers=X-Remote-User',
      ...(alone ? ['--endpoint-reconciler-type=none'] : []),
      ...more,
    ],
    { own: true },
  );
  await member.waitFor('apiserver', 120_000, () => api.ready());
}

export async function startControllerManager(
  member: Member,
  pki: Pki,
  { port, more = [] }: { port: number; more?: readonly string[] | undefined },
): Promise<void> {
  const config = member.path('controller-manager.kubeconfig');
  await member.spawn(
    'controller-manager',
    [
      binary('kube-controller-manager'),
      ...['kubeconfig', 'authentication-kubeconfig', 'authorization-kubeconfig'].map((flag) => `--${flag}=${config}`),
      '--bind-address=127.0.0.1',
      `--secure-port=${port}`,
      '--leader-elect=false',
      `--service-account-private-key-file=${pki.file('sa.key')}`,
      `--root-ca-file=${pki.file('ca.crt')}`,
      `--cluster-signing-cert-file=${pki.file('ca.crt')}`,
      `--cluster-signing-key-file=${pki.file('ca.key')}`,
      '--use-service-account-credentials=true',
      `--cert-dir=${member.folder}`,
      ...more,
    ],
    { own: true },
  );
}

/**
 * Starts the scheduler, or starts it again with another configuration.
 *
 * @param part of a KubeSchedulerConfiguration: extenders, profiles, …
 */
export async function startScheduler(
  member: Member,
  { part = {}, more = [] }: { part?: object | undefined; more?: readonly string[] | undefined },
): Promise<void> {
  const config = member.path('scheduler.kubeconfig');
  await member.stop('scheduler');
  const configuration = {
    apiVersion: 'kubescheduler.config.k8s.io/v1',
    kind: 'KubeSchedulerConfiguration',
    clientConnection: { kubeconfig: config },
    leaderElection: { leaderElect: false },
    ...part,
  };
  writeFileSync(member.path('scheduler.json'), JSON.stringify(configuration));
  await member.spawn(
    'scheduler',
    [
      binary('kube-scheduler'),
      `--config=${member.path('scheduler.json')}`,
      ...['authentication-kubeconfig', 'authorization-kubeconfig'].map((flag) => `--${flag}=${config}`),
      '--bind-address=127.0.0.1',
      `--cert-dir=${member.folder}`,
      ...more,
    ],
    { own: true },
  );
}
