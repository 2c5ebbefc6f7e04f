/** What the lab runs, where it is built from, and in which folder of the cache it lies. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheRoot, requiredVersion } from '../go.ts';
import { labSources } from './paths.ts';
import { labtoolPath } from './tools/csi/build.ts';

const sidecars = 'github.com/kubernetes-csi';

/** Built from the tools module, all by one `go build`: import path of each. */
export const kubernetesCommands = {
  etcd: 'go.etcd.io/etcd/server/v3',
  'kube-apiserver': 'k8s.io/kubernetes/cmd/kube-apiserver',
  kubectl: 'k8s.io/kubernetes/cmd/kubectl',
  'kube-controller-manager': 'k8s.io/kubernetes/cmd/kube-controller-manager',
  'kube-scheduler': 'k8s.io/kubernetes/cmd/kube-scheduler',
  'kube-proxy': 'k8s.io/kubernetes/cmd/kube-proxy',
  kubelet: 'k8s.io/kubernetes/cmd/kubelet',
  helm: 'helm.sh/helm/v3/cmd/helm',
  'csi-provisioner': `${sidecars}/external-provisioner/v6/cmd/csi-provisioner`,
  'csi-attacher': `${sidecars}/external-attacher/v4/cmd/csi-attacher`,
  'csi-resizer': `${sidecars}/external-resizer/v2/cmd/csi-resizer`,
  'csi-snapshotter': `${sidecars}/external-snapshotter/v8/cmd/csi-snapshotter`,
  'snapshot-controller': `${sidecars}/external-snapshotter/v8/cmd/snapshot-controller`,
} as const;

export type KubernetesCommand = keyof typeof kubernetesCommands;
export type Binary = KubernetesCommand | 'labtool' | 'pause';

/** The module of the snapshot CRDs, which lie beside the snapshot-controller. */
export const snapshotClientModule = `${sidecars}/external-snapshotter/client/v8`;

const api: readonly Binary[] = ['etcd', 'kube-apiserver', 'kubectl', 'pause'];

/** Everything that the lab can build. */
export const allBinaries: readonly Binary[] = [
  ...(Object.keys(kubernetesCommands) as KubernetesCommand[]),
  'labtool',
  'pause',
];

/** What a lab of this shape runs; with nodes also the sidecars and helm, which tests put on them. */
export function binariesFor(shape: { readonly nodes: number; readonly controllers?: boolean }): readonly Binary[] {
  if (shape.nodes > 0) return allBinaries;
  return shape.controllers ? [...api, 'kube-controller-manager'] : api;
}

/** Folder of the Go module. */
export const toolsModule = join(labSources, 'tools');
export const pauseSource = join(labSources, 'inside', 'pause.c');

/** Flags that decide what a binary is: part of the name of its folder. */
export const goFlags = ['-trimpath', '-gcflags=all=-dwarf=false'];

/** The version of a module in the tools module's go.mod. */
export function toolVersion(module: string): string {
  return requiredVersion(readFileSync(join(toolsModule, 'go.mod'), 'utf8'), module);
}

/** The Kubernetes that the lab runs, such as "v1.36.4". */
export const kubernetesVersion = (): string => toolVersion('k8s.io/kubernetes');

/** The folder of a binary: named by all that decides what is in it. */
export function binaryFolder(name: Binary): string {
  switch (name) {
    case 'labtool':
      return dirname(labtoolPath());
    case 'pause':
      return folder('pause', [pauseSource]);
    default:
      return folder(
        `kubernetes-${kubernetesVersion()}`,
        ['go.mod', 'go.sum'].map((file) => join(toolsModule, file)),
      );
  }
}

function folder(name: string, files: readonly string[]): string {
  const hash = createHash('sha256').update(`${process.arch} ${goFlags.join(' ')}`);
  for (const file of files.toSorted()) hash.update(readFileSync(file));
  return join(cacheRoot(), `${name}-${hash.digest('hex').slice(0, 12)}`);
}

/** The path of a binary, built or not. */
export function binary(name: Binary): string {
  return join(binaryFolder(name), name);
}

/** The folder of the CRDs of snapshots and group snapshots. */
export function snapshotCrds(): string {
  return join(binaryFolder('snapshot-controller'), 'crds');
}

/** Those of the binaries that are not built. */
export function notBuilt(names: readonly Binary[]): readonly Binary[] {
  return names.filter((name) => !existsSync(binary(name)));
}
