/** containerd, kubelet and kube-proxy in the namespaces of a node. */
import { writeFileSync } from 'node:fs';
import type { Api } from './api.ts';
import { binary } from './binaries.ts';
import { run } from './exec.ts';
import type { Member } from './namespaces.ts';
import { nodeAddress, podNetwork } from './network.ts';
import type { Pki } from './pki.ts';

/** What a node has of its own; elsewhere it sees the host's files. */
export const nodeFolders = [
  '/var/lib/kubelet',
  '/var/lib/containerd',
  '/var/lib/cni',
  '/var/lib/azekura',
  '/var/log/pods',
  '/var/log/containers',
  '/etc/cni/net.d',
];

const socket = '/run/containerd/containerd.sock';

/** Starts containerd and gives it the images it does not have. Needs no API server. */
export async function startRuntime(member: Member, index: number, images: readonly string[]): Promise<void> {
  const network = {
    cniVersion: '1.0.0',
    name: 'lab',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        hairpinMode: true,
        ipam: {
          type: 'host-local',
          routes: [{ dst: '0.0.0.0/0' }],
          ranges: [
            [
              {
                subnet: `${podNetwork(index)}.0/24`,
                gateway: `${podNetwork(index)}.1`,
                rangeStart: `${podNetwork(index)}.10`,
              },
            ],
          ],
        },
      },
      { type: 'loopback' },
    ],
  };
  writeFileSync(member.path('root', 'etc/cni/net.d/10-lab.conflist'), JSON.stringify(network));
  const version = await run(['containerd', '--version']);
  writeFileSync(member.path('containerd.toml'), / v?2\./.test(version) ? containerd2 : containerd1);
  await member.spawn('containerd', ['containerd', '-c', member.path('containerd.toml')], { own: true });
  await member.waitFor('containerd', 60_000, async () => (await member.tryExec(['ctr', 'version'])).code === 0);
  await importImages(member, images);
}

/** Imports image archives (see image/) that the node does not have. Archives are named by their content. */
export async function importImages(member: Member, images: readonly string[]): Promise<void> {
  for (const archive of images)
    await member.exec(['ctr', '-n', 'k8s.io', 'images', 'import', archive], { timeoutMs: 300_000 });
  // containerd does not sync what it unpacks.
  if (member.ownKernel && images.length > 0) await member.exec(['sync', '-f', '/var/lib/containerd']);
}

export async function startKubelet(
  member: Member,
  index: number,
  pki: Pki,
  cgroup: string,
  more: readonly string[] = [],
): Promise<void> {
  const configuration = {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: pki.file('ca.crt') },
    },
    authorization: { mode: 'Webhook' },
    // For hosts with cgroup v1, and a cgroup of this node's own.
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${cgroup}`,
    failCgroupV1: false,
    failSwapOn: false,
    containerRuntimeEndpoint: `unix://${socket}`,
    enforceNodeAllocatable: [],
    evictionHard: {
      'memory.available': '100Mi',
      'nodefs.available': '1%',
      'imagefs.available': '1%',
      'nodefs.inodesFree': '1%',
    },
    imageGCHighThresholdPercent: 100,
    address: nodeAddress(index),
    healthzBindAddress: '127.0.0.1',
    nodeStatusUpdateFrequency: '4s',
    syncFrequency: '10s',
  };
  writeFileSync(member.path('kubelet.json'), JSON.stringify(configuration));
  await member.spawn(
    'kubelet',
    [
      binary('kubelet'),
      `--config=${member.path('kubelet.json')}`,
      `--kubeconfig=${member.path('kubelet.kubeconfig')}`,
      `--hostname-override=${member.name}`,
      '--root-dir=/var/lib/kubelet',
      `--cert-dir=${member.folder}`,
      `--node-ip=${nodeAddress(index)}`,
      '-v=2',
      ...more,
    ],
    { own: true },
  );
}

/** @param more of the configuration */
export async function startProxy(member: Member, kubeconfig: string, more: object = {}): Promise<void> {
  const configuration = {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: 'nftables',
    clusterCIDR: '10.244.0.0/16',
    hostnameOverride: member.name,
    clientConnection: { kubeconfig },
    conntrack: { maxPerCore: 0, min: 0 },
    healthzBindAddress: '127.0.0.1:10256',
    metricsBindAddress: '127.0.0.1:10249',
    ...more,
  };
  writeFileSync(member.path('proxy.json'), JSON.stringify(configuration));
  await member.spawn('proxy', [binary('kube-proxy'), `--config=${member.path('proxy.json')}`], { own: true });
}

/** Waits until the node is Ready since `sinceMs`. */
export async function waitForNode(member: Member, api: Api, sinceMs: number): Promise<void> {
  await member.waitFor('kubelet', 120_000, () => api.nodeReady(member.name, sinceMs));
}

// restrict_oom_score_adj: without CAP_SYS_RESOURCE, runc cannot lower it and fails with "can't get final child's PID from
// pipe: EOF".
const containerd2 = `version = 3
[grpc]
  address = '${socket}'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = 'localhost/pause:1'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['/usr/lib/cni']
  conf_dir = '/etc/cni/net.d'
`;
const unused = ['snapshotter.v1.btrfs', 'snapshotter.v1.zfs', 'snapshotter.v1.devmapper', 'snapshotter.v1.aufs'].concat(
  'internal.v1.opt',
  'internal.v1.tracing',
  'tracing.processor.v1.otlp',
);
const containerd1 = `version = 2
disabled_plugins = ${JSON.stringify(unused.map((name) => `io.containerd.${name}`))}
[grpc]
  address = "${socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
`;
