import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { KubeClient, type KubeClientOptions, type KubeObject, type ResourceType } from '../../src/kube/client.ts';
import { findAccess } from '../../src/kube/connect.ts';
import { kindNames } from '../../src/model/kinds.ts';
import { resourceType } from '../../src/store/kubernetes/types.ts';

/** For hooks that start or stop a lab: seconds on a quiet machine, a minute on a busy one. */
export const startTimeoutMs = 240_000;

const crdFolder = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'deploy/chart/files/crds');

export const crdType: ResourceType = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
};

export interface Crd extends KubeObject {
  readonly status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[];
  };
}

/** A client with the rights of the lab's administrator. */
export async function connect(kubeconfig: string, options: Partial<KubeClientOptions> = {}): Promise<KubeClient> {
  return new KubeClient({ access: await findAccess({ kubeconfig }), fieldManager: 'azekura-test', ...options });
}

/** Applies the definitions that the chart brings, and waits until the server takes objects of all of them. */
export async function applyDefinitions(client: KubeClient): Promise<void> {
  const definitions = readdirSync(crdFolder).map((file) => parse(readFileSync(join(crdFolder, file), 'utf8')) as Crd);
  for (const definition of definitions) await client.apply(crdType, definition, { force: true });
  for (const kind of kindNames) {
    for (let attempt = 0; ; attempt++) {
      try {
        await client.list(resourceType(kind), { limit: 1 });
        break;
      } catch (error) {
        if (attempt === 100) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }
}

/** Removes all our objects, whatever holds them. */
export async function wipe(client: KubeClient): Promise<void> {
  for (const kind of kindNames) {
    const type = resourceType(kind);
    for (;;) {
      const { items } = await client.list<KubeObject & { metadata: { finalizers?: string[] } }>(type);
      if (items.length === 0) break;
      const held = items.filter(({ metadata }) => metadata.finalizers?.length);
      for (const { metadata } of held) {
        await client.patch(type, metadata, { metadata: { finalizers: null } }).catch(() => {});
      }
      await client.deleteAll(type);
    }
  }
}
