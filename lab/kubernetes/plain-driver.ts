/** A CSI driver of plain directories with the real sidecars, to measure and compare with: the floor that Kubernetes sets. */
import { binary } from './binaries.ts';
import type { Cluster } from './cluster.ts';
import { until } from './exec.ts';

export const plainDriver = 'plain.example';
export const plainClass = 'plain';

const leading = ['--leader-election=false', '--timeout=90s'];

/**
 * Starts `labtool csi` beside the control plane and on every node, with provisioner and attacher set as in our chart, and
 * makes the StorageClass `plain`, which waits for the first pod. All nodes see all of its volumes. Ends with the lab.
 */
export async function startPlainDriver(cluster: Cluster): Promise<void> {
  const objects = [
    {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'CSIDriver',
      metadata: { name: plainDriver },
      spec: { attachRequired: true, podInfoOnMount: true, volumeLifecycleModes: ['Persistent'] },
    },
    ...[plainClass, `${plainClass}-now`].map((name) => ({
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name },
      provisioner: plainDriver,
      volumeBindingMode: name === plainClass ? 'WaitForFirstConsumer' : 'Immediate',
    })),
  ];
  const list = { apiVersion: 'v1', kind: 'List', items: objects };
  await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(list) });
  const state = `${cluster.folder}/plain`;
  const socketOf = (member: string): string =>
    member === 'cp' ? `${cluster.controlPlane.path('plain')}/csi.sock` : '/var/lib/kubelet/plugins/plain/csi.sock';
  const driver = (member: string): Promise<void> =>
    cluster.run(member, 'plain', [
      ...[binary('labtool'), 'csi', '--driver-name', plainDriver, '--endpoint', socketOf(member)],
      ...['--node-id', member, '--state', state, '--attach', '--capacity', String(2 ** 50)],
    ]);
  await driver('cp');
  const sidecar = (name: 'csi-provisioner' | 'csi-attacher', ...more: string[]): Promise<void> =>
    cluster.run('cp', `plain-${name}`, [
      ...[binary(name), '--csi-address', socketOf('cp'), '--kubeconfig', cluster.innerKubeconfig],
      ...leading,
      '--worker-threads=100',
      ...more,
    ]);
  await sidecar('csi-provisioner', '--extra-create-metadata');
  await sidecar('csi-attacher');
  for (const node of cluster.nodes) {
    await driver(node);
    await cluster.run(node, 'plain-registrar', [binary('labtool'), 'registrar', '--csi-address', socketOf(node)]);
  }
  await until(`${plainDriver} on every node`, 120_000, async () => {
    const drivers = await cluster.kubectl(['get', 'csinodes', '-o', 'jsonpath={.items[*].spec.drivers[*].name}']);
    return drivers.split(' ').filter((name) => name === plainDriver).length === cluster.nodes.length;
  });
}
