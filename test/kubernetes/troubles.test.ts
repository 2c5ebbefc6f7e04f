/**
 * What goes wrong with volumes and nodes of a cluster and is put right again, each by the real components. About 100 s on a busy machine.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../../lab/kubernetes/cluster.ts';
import { until } from '../../lab/kubernetes/exec.ts';
import { labMissing } from '../../lab/kubernetes/index.ts';
import { Space, sharedLab, traces, volumesOnNode } from './kit.ts';
import { claimOf, ofClaim, podOf, remove } from './probe.ts';
import { classWithoutBin } from './writers.ts';

const missing = labMissing({ nodes: 3 });
const className = 'troubles';
const minute = 60_000;
const long = process.env.AZEKURA_LONG === '1';

interface Event {
  readonly reason: string;
  readonly message: string;
}

describe.skipIf(missing)(`in trouble${missing ? ` (skipped: ${missing})` : ''}`, { timeout: 8 * minute }, () => {
  let cluster: Cluster;
  let space: Space;
  let before: string;

  beforeAll(async () => {
    cluster = await sharedLab();
    before = await traces(cluster);
    space = await Space.create(cluster, 'troubles');
    await space.apply(classWithoutBin(className));
  }, 10 * minute);

  const ask = (claim: string, storage: string) =>
    space.kubectl('patch', `pvc/${claim}`, '-p', JSON.stringify({ spec: { resources: { requests: { storage } } } }));
  const volumeOf = (claim: string) => space.kubectl('get', `pvc/${claim}`, '-o', 'jsonpath={.spec.volumeName}');

  /** Waits for an Event about an object that says something. */
  async function told(kind: string, name: string, words: RegExp): Promise<void> {
    const about = `involvedObject.kind=${kind},involvedObject.name=${name}`;
    let last: readonly Event[] = [];
    await until(
      `${kind} ${name} is told ${words}`,
      3 * minute,
      async () => {
        last = (await space.get<{ items: readonly Event[] }>('events', '--field-selector', about)).items;
        return last.some(({ reason, message }) => words.test(`${reason} ${message}`));
      },
      1_000,
    ).catch((error: Error) => {
      throw new Error(`${error.message}\n${last.map(({ reason, message }) => `${reason} ${message}`).join('\n')}`);
    });
  }

  it.concurrent('a claim that asked for more than there is grows to what it asks for then', async () => {
    await space.apply(claimOf('greedy', className), podOf('greedy', ofClaim('greedy')));
    await space.ready('greedy');
    await ask('greedy', '900Gi');
    await told('PersistentVolumeClaim', 'greedy', /VolumeResizeFailed.*(room|pool)/i);
    await ask('greedy', '400Mi');
    await space.wait('jsonpath={.status.capacity.storage}=400Mi', 'pvc/greedy');
    expect(Number(await space.shell('greedy', "df -k /v | tail -1 | awk '{print $2}'"))).toBeGreaterThan(300 * 1_024);
    expect(await space.shell('greedy', 'cat /v/file')).not.toBe('');
    await remove(space, 'greedy');
  });

  it.skipIf(!long)(
    'a volume whose data is gone says so on its claim and to who wants a snapshot, until the data is back (skipped without AZEKURA_LONG=1: four minutes)',
    async () => {
      await space.apply(claimOf('lost', className), podOf('lost', ofClaim('lost'), { node: 'node1' }));
      await space.ready('lost');
      const volume = await volumeOf('lost');
      const handle = await cluster.kubectl(['get', 'pv', volume, '-o', 'jsonpath={.spec.csi.volumeHandle}']);
      const file = (await volumesOnNode(cluster, 'node1')).find((each) => each.includes(handle)) ?? '';
      await space.kubectl('delete', 'pod/lost', '--wait=true');
      await until(
        'the volume is detached',
        2 * minute,
        async () => !(await cluster.kubectl(['get', 'attachments.azekura.dev', '-o', 'yaml'])).includes(handle),
        1_000,
      );
      const node = cluster.member('node1');
      await node.exec(['mv', file, `${file}-aside`]);
      await space.apply(podOf('lost', ofClaim('lost'), { node: 'node1', script: 'test -s /v/file' }));
      await told('PersistentVolumeClaim', 'lost', /BackingMissing/);
      await told('Pod', 'lost', /FailedMount|FailedAttachVolume/);
      // Its attempts to attach would keep the snapshot waiting.
      await space.kubectl('delete', 'pod/lost', '--wait=true');
      await space.apply({
        apiVersion: 'snapshot.storage.k8s.io/v1',
        kind: 'VolumeSnapshot',
        metadata: { name: 'lost' },
        spec: { volumeSnapshotClassName: 'azekura', source: { persistentVolumeClaimName: 'lost' } },
      });
      await until(
        'the snapshot says so, too',
        3 * minute,
        async () =>
          /not in (its )?pool/.test(
            await space.kubectl('get', 'volumesnapshot/lost', '-o', 'jsonpath={.status.error.message}'),
          ),
        1_000,
      );
      await node.exec(['mv', `${file}-aside`, file]);
      await space.apply(podOf('lost', ofClaim('lost'), { node: 'node1', script: 'test -s /v/file' }));
      await space.ready('lost');
      await space.wait('jsonpath={.status.readyToUse}=true', 'volumesnapshot/lost');
      await space.kubectl('delete', 'volumesnapshot/lost', '--wait=true');
      await remove(space, 'lost');
    },
  );

  it.concurrent('a claim that a populator fills is left to it, and gets what it was filled with', async () => {
    const group = 'populate.example';
    await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(fillerDefinition(group)) });
    await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', `crd/fillers.${group}`]);
    await until('the kind', minute, async () => {
      await space.apply({ apiVersion: `${group}/v1`, kind: 'Filler', metadata: { name: 'letters' } });
      return true;
    });
    const source = { dataSourceRef: { apiGroup: group, kind: 'Filler', name: 'letters' } };
    await space.apply(
      claimOf('filled', className, source),
      podOf('filled', ofClaim('filled'), { script: 'cat /v/file' }),
    );
    // What a populator does: it fills a volume of a claim of its own, where the pod is to go, and hands it over.
    const chosen = 'jsonpath={.metadata.annotations.volume\\.kubernetes\\.io/selected-node}';
    await space.wait(chosen, 'pvc/filled');
    const node = await space.kubectl('get', 'pvc/filled', '-o', chosen);
    await space.apply(
      claimOf('prime', className),
      podOf('prime', ofClaim('prime'), { node, script: 'echo abc >/v/file && sync /v/file' }),
    );
    await space.ready('prime');
    expect(await space.kubectl('get', 'pvc/filled', '-o', 'jsonpath={.status.phase} {.spec.volumeName}')).toBe(
      'Pending ',
    );
    const volume = await volumeOf('prime');
    const { metadata } = await space.get<{ metadata: { uid: string; resourceVersion: string } }>('pvc/filled');
    const claimRef = {
      namespace: space.name,
      name: 'filled',
      uid: metadata.uid,
      resourceVersion: metadata.resourceVersion,
    };
    await cluster.kubectl(['patch', 'pv', volume, '-p', JSON.stringify({ spec: { claimRef } })]);
    await space.kubectl('delete', 'pod/prime', 'pvc/prime', '--wait=true');
    await space.ready('filled');
    expect(await space.shell('filled', 'cat /v/file')).toBe('abc');
    const claim = ['get', 'volumes.azekura.dev', volume, '-o', 'jsonpath={.spec.claim.name}'];
    await until('the volume knows whose it is', minute, async () => (await cluster.kubectl(claim)) === 'filled', 1_000);
    await remove(space, 'filled');
    await cluster.kubectl(['delete', `crd/fillers.${group}`]);
  });

  it.skipIf(process.env.AZEKURA_LONG !== '1')(
    'a node that was deleted and comes back has its volumes (skipped: red in one of two runs, the reason is not known; AZEKURA_LONG=1)',
    async () => {
      await space.apply(claimOf('stays', className), podOf('stays', ofClaim('stays'), { node: 'node2' }));
      await space.ready('stays');
      const written = await space.shell('stays', 'cat /v/file');
      const node = cluster.member('node2');
      await node.stop('kubelet', { graceSeconds: 0 });
      await cluster.kubectl(['delete', 'node', 'node2', '--wait=true'], { timeoutMs: minute });
      await node.again('kubelet');
      await until(
        'node2 is back',
        2 * minute,
        async () => {
          const driver = await cluster.tryKubectl([
            'get',
            'csinode',
            'node2',
            '-o',
            'jsonpath={.spec.drivers[*].name}',
          ]);
          return driver.stdout.includes('csi.azekura.dev');
        },
        1_000,
      );
      await cluster.kubectl(['wait', '--for=condition=Ready', 'node/node2', '--timeout=120s'], {
        timeoutMs: 2 * minute + 10_000,
      });
      await space.kubectl('delete', 'pod/stays', '--wait=true', '--ignore-not-found');
      await space.apply(podOf('stays', ofClaim('stays'), { node: 'node2' }));
      await space.ready('stays');
      expect((await space.shell('stays', 'cat /v/file')).split('\n')[0]).toBe(written);
      await remove(space, 'stays');
    },
  );

  it('leaves nothing', async () => {
    await cluster.kubectl(['delete', 'namespace', space.name, '--wait=true'], { timeoutMs: 3 * minute });
    await expect.poll(() => traces(cluster), { timeout: 150_000, interval: 1_000 }).toBe(before);
  });
});

function fillerDefinition(group: string): object {
  const schema = { openAPIV3Schema: { type: 'object' } };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `fillers.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { kind: 'Filler', plural: 'fillers', singular: 'filler' },
      versions: [{ name: 'v1', served: true, storage: true, schema }],
    },
  };
}
