/** What goes wrong with nodes and is put right again, each by the real components. About 50 s on a busy machine. */
import { beforeAll, describe, expect, it } from 'vitest';
import { until } from '../../lab/kubernetes/exec.ts';
import { labMissing } from '../../lab/kubernetes/index.ts';
import { systemNamespace } from '../../lab/kubernetes/install.ts';
import { volumesOnNode } from './kit.ts';
import { claimOf, ofClaim, podOf, remove } from './probe.ts';
import { Scene } from './scene.ts';

const missing = labMissing({ nodes: 3 });
const minute = 60_000;
const long = process.env.AZEKURA_LONG === '1';

describe.skipIf(missing)(`nodes${missing ? ` (skipped: ${missing})` : ''}`, { timeout: 8 * minute }, () => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await Scene.open('nodes');
  }, 10 * minute);

  it('a node that was deleted and comes back has its volumes', async () => {
    const { cluster, space, className } = scene;
    await space.apply(claimOf('stays', className), podOf('stays', ofClaim('stays'), { node: 'node2' }));
    await space.ready('stays');
    const written = await space.shell('stays', 'cat /v/file');
    const node = cluster.member('node2');
    const drivers = 'jsonpath={.spec.drivers[*].name}';
    const hasDriver = async () =>
      (await cluster.tryKubectl(['get', 'csinode', 'node2', '-o', drivers])).stdout.includes('csi.azekura.dev');
    await node.stop('kubelet', { graceSeconds: 0 });
    await cluster.kubectl(['delete', 'node', 'node2', '--wait=true'], { timeoutMs: minute });
    await node.again('kubelet');
    await until('node2 is back', 2 * minute, hasDriver, 1_000);
    // What the garbage collector does when it is later than the kubelet: who has the driver must be told again.
    await cluster.kubectl(['delete', 'csinode', 'node2', '--ignore-not-found', '--wait=true']);
    await until('node2 has the driver', 2 * minute, hasDriver, 1_000);
    await cluster.kubectl(['wait', '--for=condition=Ready', 'node/node2', '--timeout=120s'], {
      timeoutMs: 2 * minute + 10_000,
    });
    await space.kubectl('delete', 'pod/stays', '--wait=true', '--ignore-not-found');
    await space.apply(podOf('stays', ofClaim('stays'), { node: 'node2' }));
    await space.ready('stays');
    expect((await space.shell('stays', 'cat /v/file')).split('\n')[0]).toBe(written);
    await remove(space, 'stays');
  });

  it('a node takes no more volumes than its agent says, from the moment it says so', async () => {
    const { cluster, space, className } = scene;
    const limitOf = async () =>
      cluster.kubectl([
        'get',
        'csinode',
        'node1',
        '-o',
        'jsonpath={.spec.drivers[?(@.name=="csi.azekura.dev")].allocatable.count}',
      ]);
    expect(await limitOf()).toBe('');
    const agents = ['-n', systemNamespace, 'patch', 'daemonset/azekura-agent', '--type=json', '-p'];
    const place = '/spec/template/spec/containers/0/args/-';
    await cluster.kubectl([...agents, JSON.stringify([{ op: 'add', path: place, value: '--max-volumes-per-node=1' }])]);
    try {
      await until('the limit', 3 * minute, async () => (await limitOf()) === '1', 1_000);
      await space.apply(claimOf('one', className), podOf('one', ofClaim('one'), { node: 'node1' }));
      await space.ready('one');
      await space.apply(claimOf('two', className), podOf('two', ofClaim('two'), { node: 'node1' }));
      await scene.told('Pod', 'two', /max volume count/);
      await space.kubectl('delete', 'pod/one', '--wait=true');
      await space.ready('two');
    } finally {
      await cluster.kubectl(['-n', systemNamespace, 'rollout', 'undo', 'daemonset/azekura-agent']);
    }
    await until('no limit', 3 * minute, async () => (await limitOf()) === '', 1_000);
    await space.kubectl('delete', 'pvc/one', '--wait=true');
    await remove(space, 'two');
  });

  it.skipIf(!long)(
    'a node that is down and out of service lets its pods go, and has each volume once when it is back (skipped without AZEKURA_LONG=1: four minutes)',
    { timeout: 20 * minute },
    async () => {
      const { cluster, space, className } = scene;
      await space.apply(claimOf('moved', className), setOf('moved'));
      await space.ready('moved-0');
      const written = await space.shell('moved-0', 'cat /v/file');
      const uidOf = async () =>
        (await space.get<{ metadata: { uid: string } }>('pod/moved-0').catch(() => undefined))?.metadata.uid;
      const before = await uidOf();
      const volume = await scene.volumeOf('moved');
      const handle = await scene.handleOf('moved');
      await cluster.killNode('node3');
      await cluster.kubectl(['wait', '--for=condition=Ready=Unknown', 'node/node3', '--timeout=170s'], {
        timeoutMs: 3 * minute,
      });
      const taint = 'node.kubernetes.io/out-of-service';
      await cluster.kubectl(['taint', 'node', 'node3', `${taint}=nodeshutdown:NoExecute`]);
      await until(
        'a pod in its place',
        8 * minute,
        async () => {
          const now = await uidOf();
          return now !== undefined && now !== before;
        },
        1_000,
      );
      const attached = 'jsonpath={.items[*].spec.source.persistentVolumeName}';
      await until(
        'Kubernetes has detached it',
        8 * minute,
        async () => !(await cluster.kubectl(['get', 'volumeattachments', '-o', attached])).includes(volume),
        1_000,
      );
      await cluster.startNode('node3');
      await cluster.kubectl(['taint', 'node', 'node3', `${taint}-`]);
      await until(
        'the pod in its place runs',
        5 * minute,
        async () => (await space.shell('moved-0', 'head -1 /v/file')) === written,
        1_000,
      );
      const devices = await volumesOnNode(cluster, 'node3');
      expect(
        devices.filter((each) => each.includes(handle)),
        'its file, and one loop device',
      ).toHaveLength(2);
      const names = 'jsonpath={.items[*].metadata.name}';
      expect(
        (await cluster.kubectl(['get', 'attachments.azekura.dev', '-o', names]))
          .split(' ')
          .filter((name) => name.startsWith(handle)),
      ).toHaveLength(1);
      await space.kubectl('delete', 'statefulset/moved', 'pod/moved-0', 'pvc/moved', '--wait=true');
      await cluster.kubectl(['wait', '--for=delete', `pv/${volume}`, '--timeout=150s'], { timeoutMs: 160_000 });
    },
  );

  it('leaves nothing', () => scene.leaveNothing());
});

/** A StatefulSet of one pod with a claim of its own, on node3. */
function setOf(name: string): object {
  const { metadata: _metadata, spec } = podOf(name, ofClaim(name), { node: 'node3' }) as {
    metadata: object;
    spec: object;
  };
  const labels = { app: name };
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name },
    spec: {
      serviceName: name,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec },
    },
  };
}
