/** The chart as the real helm renders it. */
import path from 'node:path';
import { expect } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { binary, kubernetesVersion, notBuilt } from '../../lab/kubernetes/binaries.ts';
import { run, tryRun } from '../../lab/kubernetes/exec.ts';

export const root = path.join(import.meta.dirname, '../..');
export const chart = path.join(root, 'deploy/chart');
export const missing =
  notBuilt(['helm']).length > 0 ? 'helm is not built (npm run lab -- kubernetes build)' : undefined;

interface Probe {
  httpGet: object;
  periodSeconds?: number;
  failureThreshold?: number;
}
export interface Container {
  name: string;
  image: string;
  args: string[];
  env?: { name: string; value?: string }[];
  ports?: { name: string; containerPort: number }[];
  resources: { requests?: object; limits?: object };
  securityContext: { privileged?: boolean; readOnlyRootFilesystem?: boolean };
  startupProbe?: Probe;
  livenessProbe?: Probe;
  volumeMounts: { name: string; mountPath: string; mountPropagation?: string }[];
}
export interface Manifest {
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string>; annotations?: Record<string, string> };
  spec: Record<string, unknown> & {
    template: {
      spec: {
        containers: Container[];
        tolerations?: { key: string }[];
        nodeSelector?: object;
        serviceAccountName: string;
        priorityClassName: string;
        imagePullSecrets?: object[];
        volumes: { name: string; hostPath?: { path: string } }[];
      };
    };
  };
  parameters?: Record<string, string>;
  data?: Record<string, string>;
  [field: string]: unknown;
}

export const allApis = [
  'snapshot.storage.k8s.io/v1',
  'groupsnapshot.storage.k8s.io/v1',
  'monitoring.coreos.com/v1',
  'storage.k8s.io/v1/VolumeAttributesClass',
];

function helmTemplate(
  sets: readonly string[],
  { apis = [] as readonly string[], kube = kubernetesVersion() } = {},
): string[] {
  return [
    ...[binary('helm'), 'template', 'azekura', chart, '--namespace', 'azekura-system', '--kube-version', kube],
    ...apis.flatMap((api) => ['--api-versions', api]),
    ...sets.flatMap((set) => ['--set-json', set]),
  ];
}

export async function render(
  sets: readonly string[] = [],
  options: { apis?: readonly string[]; kube?: string } = {},
): Promise<Manifest[]> {
  const text = await run(helmTemplate(sets, options));
  return parseAllDocuments(text).flatMap((document) => {
    const value = document.toJS() as Manifest | null;
    return value === null ? [] : [value];
  });
}

export async function refusal(sets: readonly string[], options: { kube?: string } = {}): Promise<string> {
  const { code, stderr } = await tryRun(helmTemplate(sets, options));
  expect(code).not.toBe(0);
  return stderr;
}

export function one(manifests: readonly Manifest[], kind: string, name?: string): Manifest {
  const found = manifests.filter((each) => each.kind === kind && (name === undefined || each.metadata.name === name));
  expect(found.map((each) => `${each.kind}/${each.metadata.name}`)).toHaveLength(1);
  return found[0] as Manifest;
}

export function containers(manifests: readonly Manifest[], kind: string): Map<string, Container> {
  return new Map(one(manifests, kind).spec.template.spec.containers.map((each) => [each.name, each]));
}

export const names = (manifests: readonly Manifest[], kind: string): string[] =>
  manifests.filter((each) => each.kind === kind).map((each) => each.metadata.name);
