/**
 * What goes wrong with volumes and nodes of a cluster and is put right again, each by the real components. About 100 s on a busy machine.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../../lab/kubernetes/cluster.ts';
import { until } from '../../lab/kubernetes/exec.ts';
import { labMissing } from '../../lab/kubernetes/index.ts';
import { systemNamespace } from '../../lab/kubernetes/install.ts';
import { Space, sharedLab, traces, volumesOnNode } from './kit.ts';
import { askFor, claimOf, grow, ofClaim, podOf, remove, snapshot } from './probe.ts';
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

  it('a node that was deleted and comes back has its volumes', async () => {
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
      await told('Pod', 'two', /max volume count/);
      await space.kubectl('delete', 'pod/one', '--wait=true');
      await space.ready('two');
    } finally {
      await cluster.kubectl(['-n', systemNamespace, 'rollout', 'undo', 'daemonset/azekura-agent']);
    }
    await until('no limit', 3 * minute, async () => (await limitOf()) === '', 1_000);
    await space.kubectl('delete', 'pvc/one', '--wait=true');
    await remove(space, 'two');
  });

  it('controllers whose clock is an hour ahead of all others go on', async () => {
    await space.apply(claimOf('before', className), podOf('before', ofClaim('before')));
    await space.ready('before');
    const deployment = ['-n', systemNamespace];
    const useClock = async (options: string): Promise<void> => {
      await cluster.kubectl([
        ...deployment,
        'set',
        'env',
        'deployment/azekura-controller',
        '-c',
        'controller',
        options,
      ]);
      const status = ['rollout', 'status', 'deployment/azekura-controller', '--timeout=200s'];
      await cluster.kubectl([...deployment, ...status], { timeoutMs: 4 * minute });
    };
    await useClock(`NODE_OPTIONS=--import=data:text/javascript,${encodeURIComponent(hourAhead)}`);
    try {
      await askFor(space, { name: 'ahead', className });
      await space.ready('ahead');
      const lease = [...deployment, 'get', 'lease/azekura-controller', '-o', 'jsonpath={.spec.renewTime}'];
      expect(Date.parse(await cluster.kubectl(lease)) - Date.now(), 'the shift is there').toBeGreaterThan(50 * minute);
      await grow(space, 'ahead');
      await snapshot(space, 'ahead');
      // A detach while its pod runs would show here.
      expect(await space.shell('before', 'date >>/v/file && sync /v/file && wc -l </v/file')).toBe('2');
      await remove(space, 'ahead');
    } finally {
      await useClock('NODE_OPTIONS-');
    }
    await remove(space, 'before');
  });

  it.skipIf(!long)(
    'a node that is down and out of service lets its pods go, and has each volume once when it is back (skipped without AZEKURA_LONG=1: four minutes)',
    { timeout: 20 * minute },
    async () => {
      await space.apply(claimOf('moved', className), setOf('moved'));
      await space.ready('moved-0');
      const written = await space.shell('moved-0', 'cat /v/file');
      const uidOf = async () =>
        (await space.get<{ metadata: { uid: string } }>('pod/moved-0').catch(() => undefined))?.metadata.uid;
      const before = await uidOf();
      const volume = await volumeOf('moved');
      const handle = await cluster.kubectl(['get', 'pv', volume, '-o', 'jsonpath={.spec.csi.volumeHandle}']);
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

  it('leaves nothing', async () => {
    await cluster.kubectl(['delete', 'namespace', space.name, '--wait=true'], { timeoutMs: 3 * minute });
    await expect.poll(() => traces(cluster), { timeout: 150_000, interval: 1_000 }).toBe(before);
  });
});

/** Loaded before the program: its clock is an hour ahead of the machine's. */
const hourAhead = `
  const machine = Date;
  globalThis.Date = class extends machine {
    constructor(...given) {
      if (given.length > 0) super(...given);
      else super(machine.now() + 3_600_000);
    }
    static now() {
      return machine.now() + 3_600_000;
    }
  };`;

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
