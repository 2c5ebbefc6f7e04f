/** What each role may do to a real API server, and what it must not; and an agent that lies about its node. */
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { binary, notBuilt } from '../../lab/kubernetes/binaries.ts';
import { run } from '../../lab/kubernetes/exec.ts';
import { type Lab, labMissing, startLab, until } from '../../lab/kubernetes/index.ts';
import { KubeClient } from '../../src/kube/client.ts';
import { findAccess } from '../../src/kube/connect.ts';
import { fixedToken } from '../../src/kube/token.ts';
import { AzekuraError, hasCode } from '../../src/model/errors.ts';
import type { NewResource, Resource } from '../../src/model/kinds.ts';
import { finalizers } from '../../src/model/names.ts';
import { openKubernetesStore } from '../../src/store/kubernetes/kubernetes-store.ts';
import { newAttachment, newReplica } from '../../src/store/mirror/fixture.ts';
import type { Store } from '../../src/store/store.ts';

const chart = path.join(import.meta.dirname, '../../deploy/chart');
const namespace = 'azekura-system';
const missing = labMissing({ nodes: 0 }) ?? (notBuilt(['helm']).length > 0 ? 'helm is not built' : undefined);
const templates = ['serviceaccounts', 'rbac-agent', 'rbac-agent-policy', 'rbac-controller', 'rbac-sidecars'];

const reads = ['get', 'list', 'watch'];
const ours = (resource: string) => ({ group: 'azekura.dev', resource });

/** Role → what it needs, and a selection of what it must not be able to do. */
const matrix = {
  agent: {
    may: [
      ...['nodes', 'pools', 'replicas', 'attachments', 'snapshots', 'snapshotgroups'].flatMap((resource) => [
        ...reads.map((verb) => ({ verb, ...ours(resource) })),
        { verb: 'update', ...ours(resource), subresource: 'status' },
      ]),
      ...['pools', 'replicas', 'attachments', 'snapshots'].map((resource) => ({ verb: 'update', ...ours(resource) })),
      { verb: 'create', ...ours('nodes') },
      { verb: 'get', group: 'storage.k8s.io', resource: 'csinodes' },
      ...['get', 'create'].map((verb) => ({ verb, ...ours('tasks') })),
      { verb: 'update', ...ours('tasks'), subresource: 'status' },
    ],
    mayNot: [
      ...['create', 'delete', 'patch', 'deletecollection'].flatMap((verb) =>
        ['pools', 'replicas', 'attachments', 'snapshots', 'volumes', 'classes'].map((resource) => ({
          verb,
          ...ours(resource),
        })),
      ),
      ...['update', 'delete'].map((verb) => ({ verb, ...ours('nodes') })),
      ...['get', 'list', 'update'].map((verb) => ({ verb, ...ours('volumes') })),
      { verb: 'list', ...ours('tasks') },
      ...coreSecrets(),
      { verb: 'list', group: '', resource: 'pods' },
      { verb: 'list', group: '', resource: 'persistentvolumes' },
      { verb: 'get', group: 'coordination.k8s.io', resource: 'leases' },
      { verb: 'create', group: '', resource: 'serviceaccounts', subresource: 'token' },
      { verb: 'impersonate', group: '', resource: 'users' },
    ],
  },
  controller: {
    may: [
      ...['nodes', 'pools', 'classes', 'volumes', 'recycledvolumes', 'replicas', 'attachments', 'snapshots'].flatMap(
        (resource) => [...reads, 'create', 'update', 'delete'].map((verb) => ({ verb, ...ours(resource) })),
      ),
      ...['volumes', 'classes', 'recycledvolumes', 'snapshotgroups', 'tasks'].map((resource) => ({
        verb: 'update',
        ...ours(resource),
        subresource: 'status',
      })),
      { verb: 'create', group: 'coordination.k8s.io', resource: 'leases', namespace },
      { verb: 'update', group: 'coordination.k8s.io', resource: 'leases', namespace, name: 'azekura-controller' },
      { verb: 'create', group: 'events.k8s.io', resource: 'events', namespace: 'default' },
      { verb: 'get', group: '', resource: 'nodes' },
      ...['get', 'list', 'watch', 'create', 'patch', 'delete'].map((verb) => ({
        verb,
        group: '',
        resource: 'persistentvolumes',
      })),
      ...[{}, { subresource: 'status' }].map((part) => ({
        ...{ verb: 'patch', group: '', resource: 'persistentvolumeclaims', namespace: 'default' },
        ...part,
      })),
      { verb: 'patch', group: 'storage.k8s.io', resource: 'volumeattachments', subresource: 'status' },
      ...['list', 'watch', 'create', 'patch', 'delete'].map((verb) => ({
        verb,
        group: 'storage.k8s.io',
        resource: 'csistoragecapacities',
        namespace,
      })),
      ...['pods', 'persistentvolumeclaims'].map((resource) => ({ verb: 'watch', group: '', resource })),
      { verb: 'get', group: 'apps', resource: 'replicasets', namespace },
      { verb: 'update', group: 'snapshot.storage.k8s.io', resource: 'volumesnapshotcontents', subresource: 'status' },
    ],
    mayNot: [
      ...coreSecrets(),
      { verb: 'update', ...ours('attachments'), subresource: 'status' },
      { verb: 'create', group: '', resource: 'pods', namespace },
      { verb: 'delete', group: '', resource: 'pods', namespace },
      { verb: 'create', group: '', resource: 'pods', subresource: 'exec', namespace },
      { verb: 'update', group: '', resource: 'nodes' },
      { verb: 'delete', group: '', resource: 'persistentvolumeclaims', namespace: 'default' },
      { verb: 'create', group: 'storage.k8s.io', resource: 'csistoragecapacities', namespace: 'default' },
      { verb: 'update', group: 'apiextensions.k8s.io', resource: 'customresourcedefinitions' },
      { verb: 'create', group: 'rbac.authorization.k8s.io', resource: 'clusterrolebindings' },
      { verb: 'impersonate', group: '', resource: 'users' },
    ],
  },
} as const;

function coreSecrets() {
  return ['get', 'list', 'watch'].flatMap((verb) =>
    [namespace, 'default', ''].map((where) => ({ verb, group: '', resource: 'secrets', namespace: where })),
  );
}

interface Attributes {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly namespace?: string;
  readonly name?: string;
}

describe.skipIf(missing)(`rights in a cluster${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let lab: Lab;
  let admin: KubeClient;
  let all: Store;

  beforeAll(async () => {
    lab = await startLab({ nodes: 0 });
    admin = new KubeClient({ access: await findAccess({ kubeconfig: lab.kubeconfig }), fieldManager: 'test' });
    all = openKubernetesStore({ client: admin });
    await lab.kubectl(['create', 'namespace', namespace]);
    await lab.kubectl(['apply', '--server-side', '-f', path.join(chart, 'files/crds')]);
    const shown = templates.flatMap((name) => ['--show-only', `templates/${name}.yaml`]);
    const sets = ['--set-json', 'snapshots.mode="on"'];
    const argv = [binary('helm'), 'template', 'azekura', chart, '--namespace', namespace, ...sets, ...shown];
    await lab.kubectl(['apply', '--server-side', '-f', '-'], { input: await run(argv) });
    for (const name of ['one', 'two'])
      await lab.kubectl(['apply', '--server-side', '-f', '-'], {
        input: stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name } }),
      });
    await lab.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=30s']);
    // A policy holds some moments after it was made.
    const agent = await asAgent('one');
    await until('the policy', 60_000, async () => {
      try {
        await agent.create({ kind: 'Node', metadata: { name: 'elsewhere' }, spec: {} });
        await all.delete('Node', 'elsewhere');
        return false;
      } catch (error) {
        return hasCode(error, 'PermissionDenied', 'InvalidArgument');
      }
    });
  });
  afterAll(async () => {
    await all?.close();
    await lab?.stop();
  });

  /** The store as an agent's token sees it; bound to a node as the kubelet's are, or to none. */
  async function asAgent(node: string | undefined): Promise<Store> {
    const bound = node === undefined ? [] : ['--bound-object-kind', 'Node', '--bound-object-name', node];
    const token = await lab.kubectl(['create', 'token', 'azekura-agent', '--namespace', namespace, ...bound]);
    const { clientCertificate: _admin, ...access } = admin.access;
    const client = new KubeClient({ access: { ...access, token: fixedToken(token.trim()) }, fieldManager: 'agent' });
    return openKubernetesStore({ client });
  }

  async function isAllowed(role: string, asked: Attributes): Promise<boolean> {
    const review = await admin.create<{
      metadata: { name: string };
      spec: object;
      status?: { allowed: boolean };
    }>(
      {
        group: 'authorization.k8s.io',
        version: 'v1',
        plural: 'subjectaccessreviews',
        kind: 'SubjectAccessReview',
        namespaced: false,
      },
      {
        metadata: { name: '' },
        spec: {
          user: `system:serviceaccount:${namespace}:azekura-${role}`,
          groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
          resourceAttributes: asked,
        },
      },
    );
    return review.status?.allowed === true;
  }

  for (const [role, { may, mayNot }] of Object.entries(matrix)) {
    it(`give a ${role} what it needs`, async () => {
      const refused: string[] = [];
      for (const asked of may) if (!(await isAllowed(role, asked))) refused.push(JSON.stringify(asked));
      expect(refused).toEqual([]);
    });

    it(`give a ${role} nothing more`, async () => {
      const allowed: string[] = [];
      for (const asked of mayNot) if (await isAllowed(role, asked)) allowed.push(JSON.stringify(asked));
      expect(allowed).toEqual([]);
    });
  }

  it("let an agent report on its own node's objects, hold them and let them go", async () => {
    const replica = await all.create(newReplica('own'));
    const agent = await asAgent('one');
    const reported = await agent.updateStatus({ ...replica, status: { ...replica.status, phase: 'Ready' } });
    expect(reported.status.phase).toBe('Ready');
    const free = await agent.update({ ...reported, metadata: { ...reported.metadata, finalizers: [] } });
    const held = await agent.update({ ...free, metadata: { ...free.metadata, finalizers: [finalizers.agent] } });
    expect(held.metadata.finalizers).toEqual([finalizers.agent]);
    const node = await agent.create({ kind: 'Node', metadata: { name: 'one' }, spec: {} });
    await agent.updateStatus({ ...node, status: { ...node.status, phase: 'Ready' } });
    const task = await agent.create(newTask('mine', 'one'));
    await agent.updateStatus({ ...task, status: { ...task.status, phase: 'Succeeded' } });
  });

  it('refuse an agent that lies about its node', async () => {
    const theirs = await all.create(newReplica('theirs', { nodeName: 'two' }));
    const attached = await all.create(newAttachment('theirs', { nodeName: 'two' }));
    const group = await all.create({
      kind: 'SnapshotGroup',
      metadata: { name: 'theirs' },
      spec: { volumeNames: ['v'], nodeName: 'two' },
    });
    const node = await all.create({ kind: 'Node', metadata: { name: 'two' }, spec: {} });
    const agent = await asAgent('one');
    await refused(agent.updateStatus({ ...theirs, status: { ...theirs.status, phase: 'Failed' } }));
    await refused(agent.updateStatus({ ...attached, status: { ...attached.status, phase: 'Failed' } }));
    await refused(agent.updateStatus({ ...group, status: { ...group.status, phase: 'Failed' } }));
    await refused(agent.updateStatus({ ...node, status: { ...node.status, phase: 'Ready' } }));
    await refused(agent.update({ ...theirs, metadata: { ...theirs.metadata, finalizers: [] } }));
    await refused(agent.create({ kind: 'Node', metadata: { name: 'three' }, spec: {} }));
    await refused(agent.create(newTask('not-mine', 'two')));
  });

  it("refuse an agent that changes what is wanted, labels or others' finalizers", async () => {
    const { metadata, ...own } = await all.create({
      ...newReplica('fixed'),
      metadata: { name: 'fixed-0', finalizers: [finalizers.agent, 'example.org/other'], labels: { a: 'b' } },
    });
    const agent = await asAgent('one');
    const attempt = (change: Partial<Resource<'Replica'>>) => refused(agent.update({ ...own, metadata, ...change }));
    await attempt({ spec: { ...own.spec, sizeBytes: own.spec.sizeBytes * 2 } });
    await attempt({ spec: { ...own.spec, nodeName: 'two' } });
    await attempt({ metadata: { ...metadata, finalizers: [finalizers.agent] } });
    await attempt({ metadata: { ...metadata, labels: {} } });
    await attempt({ metadata: { ...metadata, annotations: { x: 'y' } } });
    await refused(agent.delete('Replica', 'fixed-0'));
  });

  it('refuse an agent whose token names no node', async () => {
    const replica = await all.create(newReplica('unbound'));
    const agent = await asAgent(undefined);
    expect((await agent.get('Replica', 'unbound-0')).metadata.uid).toBe(replica.metadata.uid);
    await refused(agent.updateStatus({ ...replica, status: { ...replica.status, phase: 'Failed' } }));
  });
});

function newTask(name: string, nodeName: string): NewResource<'Task'> {
  return {
    kind: 'Task',
    metadata: { name },
    spec: { verb: 'CreateVolume', subject: { kind: 'Volume', name }, nodeName },
  };
}

async function refused(call: Promise<unknown>): Promise<void> {
  const outcome = await call.then(
    () => 'allowed',
    (error: unknown) => (error instanceof AzekuraError ? error.code : String(error)),
  );
  expect(['PermissionDenied', 'InvalidArgument']).toContain(outcome);
}
