/** What Kubernetes promises of volumes, each by the real components. All at once: about one minute, two when busy. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../../lab/kubernetes/cluster.ts';
import { until } from '../../lab/kubernetes/exec.ts';
import { labMissing } from '../../lab/kubernetes/index.ts';
import { Space, sharedLab, traces, volumesOnNode } from './kit.ts';
import { claimOf, grow, ofClaim, podOf, remove } from './probe.ts';
import { classWithoutBin } from './writers.ts';

const missing = labMissing({ nodes: 3 });
const className = 'behave';

describe.skipIf(missing)(`volumes${missing ? ` (skipped: ${missing})` : ''}`, { timeout: 480_000 }, () => {
  let cluster: Cluster;
  let space: Space;
  let before: string;

  beforeAll(async () => {
    cluster = await sharedLab();
    before = await traces(cluster);
    space = await Space.create(cluster, 'behave');
    await space.apply(
      classWithoutBin(className),
      classWithoutBin('behave-now', { volumeBindingMode: 'Immediate' }),
      classWithoutBin('behave-retain', { reclaimPolicy: 'Retain' }),
    );
  }, 600_000);

  const from = (kind: string, name: string) =>
    kind === 'PersistentVolumeClaim'
      ? { dataSource: { kind, name } }
      : { dataSource: { apiGroup: 'snapshot.storage.k8s.io', kind, name } };
  const sized = (storage: string) => ({ resources: { requests: { storage } } });

  it.concurrent('are raw block devices', async () => {
    const volume = ofClaim('block');
    const pod = (script: string) => podOf('block', volume, { block: true, script });
    await space.apply(
      claimOf('block', className, { volumeMode: 'Block' }),
      pod('echo -n raw | dd of=/dev/v conv=fsync 2>/dev/null'),
    );
    await space.ready('block');
    await space.kubectl('delete', 'pod/block', '--wait=true');
    await space.apply(pod('dd if=/dev/v bs=3 count=1 2>/dev/null >/tmp/read'));
    await space.ready('block');
    expect(await space.shell('block', 'cat /tmp/read')).toBe('raw');
    await remove(space, 'block');
  });

  it.concurrent('are kept to one pod when it asks for that (ReadWriteOncePod)', async () => {
    await space.apply(
      claimOf('alone', className, { accessModes: ['ReadWriteOncePod'] }),
      podOf('alone', ofClaim('alone')),
    );
    await space.ready('alone');
    await space.apply(podOf('second', ofClaim('alone')));
    await space.wait('jsonpath={.status.conditions[?(@.type=="PodScheduled")].reason}=Unschedulable', 'pod/second');
    await space.kubectl('delete', 'pod/alone', '--wait=true');
    await space.ready('second');
    await space.kubectl('delete', 'pod/second', 'pvc/alone', '--wait=true');
  });

  it.concurrent('live and end with a pod, inline and by a template', async () => {
    const template = { spec: { accessModes: ['ReadWriteOnce'], storageClassName: className, ...sized('320Mi') } };
    await space.apply(
      podOf('inline', { csi: { driver: 'csi.azekura.dev', volumeAttributes: { size: '320Mi' } } }),
      podOf('template', { ephemeral: { volumeClaimTemplate: template } }),
    );
    await space.ready('inline', 'template');
    await space.kubectl('delete', 'pod/inline', 'pod/template', '--wait=true');
    await space.wait('delete', 'pvc/template-v');
  });

  it.concurrent('belong to the group of the pod (fsGroup)', async () => {
    const spec = { securityContext: { runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000 } };
    await space.apply(claimOf('group', className), podOf('group', ofClaim('group'), { spec }));
    await space.ready('group');
    expect(await space.shell('group', 'stat -c "%g %a" /v /v/file')).toBe('2000 2775\n2000 644');
    await remove(space, 'group');
  });

  it.concurrent('are made at once when the class says so, and pods go where they are (Immediate)', async () => {
    await space.apply(claimOf('now', 'behave-now'));
    await space.wait('jsonpath={.status.phase}=Bound', 'pvc/now');
    await space.apply(podOf('now', ofClaim('now')));
    await space.ready('now');
    const volume = await space.kubectl('get', 'pvc/now', '-o', 'jsonpath={.spec.volumeName}');
    const terms = '-o=jsonpath={.spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values[0]}';
    const node = await space.kubectl('get', 'pod/now', '-o', 'jsonpath={.spec.nodeName}');
    expect(await cluster.kubectl(['get', 'pv', volume, terms])).toBe(node);
    await remove(space, 'now');
  });

  it.concurrent('grow while they are used, and are copied by clones and snapshots, also to larger ones', async () => {
    await space.apply(
      claimOf('origin', className),
      podOf('origin', ofClaim('origin'), { script: 'echo first >/v/file && sync' }),
    );
    await space.ready('origin');
    const blocks = async (pod: string) => Number(await space.shell(pod, "df -k /v | tail -1 | awk '{print $2}'"));
    const small = await blocks('origin');
    await grow(space, 'origin');
    expect(await blocks('origin')).toBeGreaterThan(small + 60 * 1024);
    await space.apply({
      apiVersion: 'snapshot.storage.k8s.io/v1',
      kind: 'VolumeSnapshot',
      metadata: { name: 'origin' },
      spec: { volumeSnapshotClassName: 'azekura', source: { persistentVolumeClaimName: 'origin' } },
    });
    await space.wait('jsonpath={.status.readyToUse}=true', 'volumesnapshot/origin');
    await space.shell('origin', 'echo second >/v/file; sync');
    const copied = 'cat /v/file >/tmp/read';
    await space.apply(
      claimOf('restored', className, { ...from('VolumeSnapshot', 'origin'), ...sized('640Mi') }),
      podOf('restored', ofClaim('restored'), { script: copied }),
      claimOf('cloned', className, { ...from('PersistentVolumeClaim', 'origin'), ...sized('400Mi') }),
      podOf('cloned', ofClaim('cloned'), { script: copied }),
    );
    await space.ready('restored', 'cloned');
    expect(await space.shell('restored', 'cat /tmp/read')).toBe('first');
    expect(await space.shell('cloned', 'cat /tmp/read')).toBe('second');
    expect(await blocks('restored')).toBeGreaterThan(600 * 1024 * 0.85);
    await space.kubectl('delete', 'volumesnapshot/origin', '--wait=true');
    for (const name of ['restored', 'cloned', 'origin']) await remove(space, name);
  });

  it.concurrent('are taken at one instant in groups', async () => {
    for (const name of ['first', 'other']) {
      const claim = claimOf(name, className) as { metadata: object };
      await space.apply(
        { ...claim, metadata: { ...claim.metadata, labels: { group: 'both' } } },
        // Where the first one is, since a group lies on one node.
        podOf(name, ofClaim(name), { node: 'node2' }),
      );
    }
    await space.ready('first', 'other');
    await space.apply({
      apiVersion: 'groupsnapshot.storage.k8s.io/v1',
      kind: 'VolumeGroupSnapshot',
      metadata: { name: 'both' },
      spec: { volumeGroupSnapshotClassName: 'azekura', source: { selector: { matchLabels: { group: 'both' } } } },
    });
    await space.wait('jsonpath={.status.readyToUse}=true', 'volumegroupsnapshot/both');
    const members = await space.get<{ items: { status: { readyToUse: boolean } }[] }>('volumesnapshots', '-l', 'x!=y');
    expect(members.items.length).toBeGreaterThanOrEqual(2);
    await space.kubectl('delete', 'volumegroupsnapshot/both', '--wait=true');
    for (const name of ['first', 'other']) await remove(space, name);
  });

  it.concurrent('take up another VolumeAttributesClass', async () => {
    await space.apply(claimOf('attributes', className), podOf('attributes', ofClaim('attributes')));
    await space.ready('attributes');
    await space.kubectl(
      'patch',
      'pvc/attributes',
      '-p',
      '{"spec":{"volumeAttributesClassName":"azekura-recycle-day"}}',
    );
    await space.wait('jsonpath={.status.currentVolumeAttributesClassName}=azekura-recycle-day', 'pvc/attributes');
    const volume = await space.kubectl('get', 'pvc/attributes', '-o', 'jsonpath={.spec.volumeName}');
    const recycle = ['get', 'volumes.azekura.dev', volume, '-o', 'jsonpath={.spec.recycleMs}'];
    expect(Number(await cluster.kubectl(recycle))).toBe(86_400_000);
    await space.kubectl(
      'patch',
      'pvc/attributes',
      '-p',
      '{"spec":{"volumeAttributesClassName":"azekura-recycle-off"}}',
    );
    await until('no time in the bin', 60_000, async () => Number(await cluster.kubectl(recycle)) === 0);
    await remove(space, 'attributes');
  });

  it.concurrent('say beside the data whose they are, and are kept when the class says so (Retain)', async () => {
    await space.apply(claimOf('kept', 'behave-retain'), podOf('kept', ofClaim('kept'), { node: 'node1' }));
    await space.ready('kept');
    const volume = await space.kubectl('get', 'pvc/kept', '-o', 'jsonpath={.spec.volumeName}');
    const handle = await cluster.kubectl(['get', 'pv', volume, '-o', 'jsonpath={.spec.csi.volumeHandle}']);
    const file = (await volumesOnNode(cluster, 'node1')).find((each) => each.includes(handle)) ?? '';
    const identity = async () =>
      JSON.parse(await cluster.member('node1').exec(['cat', file.replace(/data$/, 'identity.json')]));
    expect(JSON.stringify(await identity())).toContain('"namespace":"behave","name":"kept"');
    await space.kubectl('delete', 'pod/kept', 'pvc/kept', '--wait=true');
    await cluster.kubectl(['wait', '--for=jsonpath={.status.phase}=Released', `pv/${volume}`, '--timeout=60s']);
    await cluster.kubectl(['patch', 'pv', volume, '--type=json', '-p', '[{"op":"remove","path":"/spec/claimRef"}]']);
    await space.apply(
      claimOf('again', 'behave-retain', { volumeName: volume }),
      podOf('again', ofClaim('again'), { script: 'grep -q . /v/file' }),
    );
    await space.ready('again');
    await cluster.kubectl(['patch', 'pv', volume, '-p', '{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}']);
    await remove(space, 'again');
  });

  it('leave nothing', async () => {
    await cluster.kubectl(['delete', 'namespace', space.name, '--wait=true'], { timeoutMs: 180_000 });
    await expect.poll(() => traces(cluster), { timeout: 150_000, interval: 1_000 }).toBe(before);
  });
});
