/** What the chart renders, by the real helm: what must hold whatever the values are. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { binary } from '../../lab/kubernetes/binaries.ts';
import { run } from '../../lab/kubernetes/exec.ts';
import { allApis, chart, containers, type Manifest, missing, names, one, refusal, render, root } from './chart.ts';

describe.skipIf(missing)(`the chart${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let plain: Manifest[];
  let full: Manifest[];
  beforeAll(async () => {
    plain = await render();
    full = await render([], { apis: allApis });
  });

  it('passes helm lint', async () => {
    expect(await run([binary('helm'), 'lint', '--strict', chart])).toContain('0 chart(s) failed');
  });

  it('tells Kubernetes how the driver works', () => {
    expect(one(plain, 'CSIDriver').spec).toEqual({
      attachRequired: true,
      podInfoOnMount: true,
      storageCapacity: true,
      fsGroupPolicy: 'File',
      volumeLifecycleModes: ['Persistent', 'Ephemeral'],
      seLinuxMount: false,
      nodeAllocatableUpdatePeriodSeconds: 60,
    });
  });

  it('names the driver by the name that the driver gives itself', () => {
    const source = readFileSync(path.join(root, 'docs/csi.md'), 'utf8');
    const driver = one(plain, 'CSIDriver').metadata.name;
    expect(source).toContain(`| driver name | \`${driver}\` |`);
    for (const each of full) {
      for (const field of ['provisioner', 'driver', 'driverName'])
        if (each[field] !== undefined) expect(each[field]).toBe(driver);
    }
  });

  it('leaves out what older Kubernetes does not know, and refuses what is too old', async () => {
    const old = await render([], { kube: 'v1.32.0' });
    expect(one(old, 'CSIDriver').spec).not.toHaveProperty('nodeAllocatableUpdatePeriodSeconds');
    expect(names(old, 'VolumeAttributesClass')).toEqual([]);
    expect(await refusal([], { kube: 'v1.31.9' })).toContain('incompatible with Kubernetes v1.31.9');
  });

  it('runs one container on each node, and the standard sidecars beside the controller', () => {
    expect([...containers(full, 'DaemonSet').keys()]).toEqual(['agent']);
    expect([...containers(full, 'Deployment').keys()]).toEqual([
      'controller',
      'provisioner',
      'attacher',
      'resizer',
      'snapshotter',
    ]);
    expect([...containers(plain, 'Deployment').keys()]).not.toContain('snapshotter');
  });

  it('lets an agent on a slow node begin for minutes before its silence counts', () => {
    const agent = containers(plain, 'DaemonSet').get('agent');
    const { periodSeconds, failureThreshold, httpGet } = agent?.startupProbe ?? {};
    expect((periodSeconds ?? 0) * (failureThreshold ?? 0)).toBe(600);
    expect(httpGet).toEqual(agent?.livenessProbe?.httpGet);
  });

  it('gives host access to the agent alone', () => {
    const controller = one(full, 'Deployment').spec.template.spec;
    expect(controller.volumes.filter((volume) => volume.hostPath !== undefined)).toEqual([]);
    expect(controller).toMatchObject({ securityContext: { runAsNonRoot: true } });
    for (const { securityContext } of controller.containers)
      expect(securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
    expect(containers(full, 'DaemonSet').get('agent')?.securityContext).toEqual({ privileged: true });
  });

  it('asks for resources, priority and an account of its own in every pod', () => {
    for (const [kind, priority, account] of [
      ['Deployment', 'system-cluster-critical', 'azekura-controller'],
      ['DaemonSet', 'system-node-critical', 'azekura-agent'],
    ] as const) {
      const { spec } = one(full, kind).spec.template;
      expect(spec.priorityClassName).toBe(priority);
      expect(spec.serviceAccountName).toBe(account);
      expect(names(full, 'ServiceAccount')).toContain(account);
      for (const { resources } of spec.containers) {
        expect(resources.requests).toMatchObject({ cpu: expect.any(String), memory: expect.any(String) });
        expect(resources.limits).toMatchObject({ memory: expect.any(String) });
      }
    }
  });

  it('puts everything that has a namespace into that of the release', () => {
    const clusterWide = ['CSIDriver', 'StorageClass', 'VolumeAttributesClass', 'VolumeSnapshotClass'].concat(
      ['VolumeGroupSnapshotClass', 'CustomResourceDefinition', 'ClusterRole', 'ClusterRoleBinding'],
      ['ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding', 'PriorityClass'],
    );
    for (const { kind, metadata } of full)
      expect(`${kind} ${metadata.namespace}`).toBe(
        clusterWide.includes(kind) ? `${kind} undefined` : `${kind} azekura-system`,
      );
  });

  it('never deletes a CRD or makes one of our objects', () => {
    for (const each of full) {
      expect(each.apiVersion).not.toMatch(/^azekura\.dev\//);
      if (each.kind === 'CustomResourceDefinition')
        expect(each.metadata.annotations?.['helm.sh/resource-policy']).toBe('keep');
      // A hook that cannot run is an uninstall that hangs.
      expect(each.metadata.annotations ?? {}).not.toHaveProperty('helm.sh/hook');
    }
  });

  it('mounts the kubelet folder and the data dir under their own paths, and passes mounts on', () => {
    const agent = containers(plain, 'DaemonSet').get('agent');
    for (const each of ['/var/lib/kubelet', '/var/lib/azekura'])
      expect(agent?.volumeMounts).toContainEqual(
        expect.objectContaining({ mountPath: each, mountPropagation: 'Bidirectional' }),
      );
  });
});
