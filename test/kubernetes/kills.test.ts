/**
 * Everything of a cluster is killed in turn while pods write: no acknowledged byte is lost, and all goes on by itself.
 * About four minutes, eight on a busy machine.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../../lab/kubernetes/cluster.ts';
import { until } from '../../lab/kubernetes/exec.ts';
import { labMissing } from '../../lab/kubernetes/index.ts';
import { systemNamespace } from '../../lab/kubernetes/install.ts';
import { diagnosis, Space, sharedLab, traces } from './kit.ts';
import { askFor, grow, remove, snapshot } from './probe.ts';
import { classWithoutBin, Writers } from './writers.ts';

const missing = labMissing({ nodes: 3 });
const className = 'kills';
/** Sidecars by the names of their Leases, and what shows that another one has taken over. */
const sidecars = [
  ['provisioner', 'csi-azekura-dev', undefined],
  ['attacher', 'external-attacher-leader-csi-azekura-dev', undefined],
  ['resizer', 'external-resizer-csi-azekura-dev', grow],
  ['snapshotter', 'external-snapshotter-leader-csi-azekura-dev', snapshot],
] as const;
/** AZEKURA_LONG=1: one sidecar after the other, about two minutes more. */
const inTurn = process.env.AZEKURA_LONG === '1';

describe.skipIf(missing)(`kill -9${missing ? ` (skipped: ${missing})` : ''}`, { timeout: 300_000 }, () => {
  let cluster: Cluster;
  let space: Space;
  let writers: Writers;
  let before: string;
  let probes = 0;

  beforeAll(async () => {
    cluster = await sharedLab();
    before = await traces(cluster);
    space = await Space.create(cluster, 'kills');
    await space.apply(classWithoutBin(className));
    writers = await Writers.start(space, className);
  }, 600_000);
  afterAll(async () => {
    if (cluster) console.log(`${writers?.acknowledged().join(', ')} writes were acknowledged`);
  });

  /**
   * Kills, asks for a volume at the same moment, and waits until it is there, everything that was asked of it has been
   * done, and all writers go on.
   */
  async function kill(
    what: () => Promise<unknown>,
    { node, work = async () => {} }: { node?: string; work?: (space: Space, name: string) => Promise<void> } = {},
  ): Promise<void> {
    probes += 1;
    const name = `probe-${probes}`;
    try {
      await what();
      await until(
        'the API takes it',
        120_000,
        async () => {
          await askFor(space, { name, className, ...(node === undefined ? {} : { node }) });
          return true;
        },
        500,
      );
      await space.wait('condition=Ready', `pod/${name}`);
      await work(space, name);
      await remove(space, name);
      await writers.progress();
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${await diagnosis(cluster, space.name)}`, { cause: error });
    }
    expect(writers.errors()).toEqual([]);
  }

  /** Kills processes of a node by their command line; only the node's own are there to be seen. */
  async function killProcess(node: string, pattern: string): Promise<void> {
    await cluster.member(node).exec(['pkill', '-9', '-f', '--', pattern]);
  }

  /** The node of the pod that holds a Lease. */
  async function leaderOf(lease: string): Promise<string> {
    const get = (...args: string[]) => cluster.kubectl(['-n', systemNamespace, 'get', ...args]);
    const holder = await get('lease', lease, '-o', 'jsonpath={.spec.holderIdentity}');
    const [, pod] = /^(azekura-controller-[a-z0-9]+-[a-z0-9]{5})/.exec(holder) ?? [];
    return get('pod', pod ?? holder, '-o', 'jsonpath={.spec.nodeName}');
  }

  it('of the agent', () => kill(() => killProcess('node1', 'agent --data-dir=/var/lib/azekura'), { node: 'node1' }));

  it('of the leading controller', () =>
    kill(async () => killProcess(await leaderOf('azekura-controller'), 'controller --run-dir=/run/azekura')));

  const killSidecar = async (name: string, lease: string): Promise<void> =>
    killProcess(await leaderOf(lease), `csi-${name} --csi-address`);

  // Each waits for the Lease of the one before: together they cost what one of them does.
  it.skipIf(inTurn)('of all sidecars at once', () =>
    kill(() => Promise.all(sidecars.map(([name, lease]) => killSidecar(name, lease))), {
      work: async (...probe) => {
        await grow(...probe);
        await snapshot(...probe);
      },
    }),
  );
  it.runIf(inTurn).each(sidecars)('of the %s', (name, lease, work) =>
    kill(() => killSidecar(name, lease), work ? { work } : {}),
  );

  it.each(['kubelet', 'containerd'])('of the %s', (name) =>
    kill(
      async () => {
        const node = cluster.member('node2');
        await node.stop(name, { graceSeconds: 0 });
        await writers.progress();
        await node.again(name);
      },
      { node: 'node2' },
    ),
  );

  it.each(['apiserver', 'etcd'])('of the %s', (name) =>
    kill(async () => {
      await cluster.controlPlane.stop(name, { graceSeconds: 0 });
      await writers.progress();
      await cluster.controlPlane.again(name);
    }),
  );

  it('of a whole node, which comes back', () =>
    kill(
      async () => {
        await cluster.killNode('node3');
        await cluster.startNode('node3');
      },
      { node: 'node3' },
    ));

  it('lost nothing that was acknowledged, and leaves nothing', async () => {
    expect(await writers.lost()).toEqual([]);
    expect(writers.errors()).toEqual([]);
    await cluster.kubectl(['delete', 'namespace', space.name, '--wait=true'], { timeoutMs: 180_000 });
    await expect.poll(() => traces(cluster), { timeout: 150_000, interval: 1_000 }).toBe(before);
  });
});
