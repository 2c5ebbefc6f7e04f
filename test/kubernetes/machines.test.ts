/**
 * Real Kubernetes on machines with kernels of their own: two device classes of engine lvm, one of them in a volume group
 * that was there before. Five minutes on a busy machine: by hand.
 */
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../../lab/kubernetes/cluster.ts';
import { until as untilEvery } from '../../lab/kubernetes/exec.ts';
import { imageArchive, type Lab, labMissing, startLab } from '../../lab/kubernetes/index.ts';
import { installChart, systemNamespace } from '../../lab/kubernetes/install.ts';
import { machineLabel } from '../../lab/kubernetes/machine.ts';
import { parseQuantity } from '../../src/lib/quantity.ts';
import { diagnosis, Space } from './kit.ts';
import { podOf as probedPod } from './probe.ts';
import { classWithoutBin } from './writers.ts';

const shape = { nodes: 1, machines: { count: 2, disks: ['3G', '2G'] } };
/** A lab that stays as it is, started if it is not up: for work on one scene (`-t`). */
const given = process.env.AZEKURA_TEST_LAB;
const asked = process.env.AZEKURA_LONG === '1' || given !== undefined;
const missing = asked ? labMissing(shape) : 'AZEKURA_LONG=1 runs it';
const minute = 60_000;
const until = (what: string, timeoutMs: number, question: () => boolean | Promise<boolean>) =>
  untilEvery(what, timeoutMs, question, 1_000);
const mebibyte = 2 ** 20;
const machines = ['node2', 'node3'] as const;

const pool = (name: string, source: object): object => ({
  name,
  nodeSelector: { [machineLabel]: '' },
  source,
  engine: 'lvm',
  deviceClass: name,
  // Nothing is promised that is not there.
  overcommitRatio: 1,
});
const classOf = (name: string, parameters: object): object =>
  classWithoutBin(name, { parameters: { recycle: '0', engine: 'lvm', filesystem: 'ext4', ...parameters } });
/** Each look into a pod is a process of runc, and ten a second leave a machine's one processor no time for anything else. */
const podOf: typeof probedPod = (name, volume, options = {}) =>
  probedPod(name, volume, { probeSeconds: 15, ...options });

/** A lab of the run's own, or the given one. */
async function labOfRun(): Promise<Cluster> {
  if (given === undefined) return await startLab(shape);
  const lab = new Cluster(given);
  if (!lab.isUp) await lab.up(shape);
  return lab;
}

interface List<T> {
  readonly items: readonly T[];
}
interface Pod {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly nodeName?: string };
  readonly status: { readonly phase: string };
}
interface Claim {
  readonly metadata: { readonly name: string };
  readonly status: { readonly phase: string };
}
interface Event {
  readonly reason: string;
  readonly message: string;
  readonly involvedObject: { readonly kind: string; readonly name: string };
}

describe.skipIf(missing)(`Kubernetes on machines${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let lab: Cluster;
  /** Of the logical volume that was in the site's group before us. */
  const ownSum = new Map<string, string>();

  beforeAll(async () => {
    lab = await labOfRun();
    for (const name of machines)
      await lab.member(name).exec([
        'bash',
        '-euc',
        `vgs -qq site 2>/dev/null || {
           vgcreate -qq site /dev/ubdc; lvcreate -qq -n own -L 64M site
           dd if=/dev/urandom of=/dev/site/own bs=1M count=64 status=none conv=fsync
         }`,
      ]);
    for (const name of machines) ownSum.set(name, await sumOfOwn(name));
    const images = ['azekura', 'csi-provisioner', 'csi-attacher', 'csi-resizer'];
    await lab.loadImages(await Promise.all(images.map((name) => imageArchive(name))));
    await installChart(lab, {
      values: {
        controller: { replicas: 1 },
        snapshots: { mode: 'off' },
        pools: [
          pool('ssd', { kind: 'disks', disks: ['/dev/ubdb'] }),
          pool('hdd', { kind: 'volumeGroup', group: 'site' }),
        ],
      },
    });
    const pools = machines.flatMap((name) => ['ssd', 'hdd'].map((rule) => `pools.azekura.dev/${name}-${rule}`));
    await until('the pools', 2 * minute, async () => (await lab.tryKubectl(['get', ...pools])).code === 0);
    await lab.kubectl(['wait', '--for=jsonpath={.status.phase}=Ready', '--timeout=120s', ...pools], {
      timeoutMs: 3 * minute,
    });
    await new Space(lab, 'default').apply(
      classOf('fast', { deviceClass: 'ssd' }),
      classOf('large', { deviceClass: 'hdd' }),
    );
  }, 12 * minute);

  afterAll(async () => {
    if (given !== undefined || !lab) return;
    await (lab as Lab).stop();
    expect(existsSync(lab.folder)).toBe(false);
  }, 2 * minute);

  it('has machines with kernels of their own as nodes, with our chart on them', async () => {
    const kernel = async (name: string) =>
      (await lab.kubectl(['get', 'node', name, '-o', 'jsonpath={.status.nodeInfo.kernelVersion}'])).trim();
    const [host, one, two] = await Promise.all(['node1', ...machines].map(kernel));
    expect(one).toBe(two);
    expect(one).not.toBe(host);
    const agents = await lab.kubectl(
      ['-n', systemNamespace, 'get', 'pods', '-l', 'app.kubernetes.io/component=agent'].concat(
        ...['-o', 'jsonpath={range .items[*]}{.spec.nodeName} {.status.phase}{"\\n"}{end}'],
      ),
    );
    expect(agents.trim().split('\n').sort()).toEqual(['node1 Running', 'node2 Running', 'node3 Running']);
  });

  it('tells the room of each class on each machine', async () => {
    await until('four objects of capacity', minute, async () => (await rooms(['fast', 'large'])).size === 4);
    const all = await rooms(['fast', 'large']);
    for (const name of machines) {
      const [fast, large] = [all.get(`fast ${name}`) ?? 0, all.get(`large ${name}`) ?? 0];
      // The disk of 3 GiB, and the group of 2 GiB with the site's own 64 MiB in it.
      expect(fast).toBeGreaterThan(2_500 * mebibyte);
      expect(fast).toBeLessThan(3_072 * mebibyte);
      expect(large).toBeGreaterThan(1_500 * mebibyte);
      expect(large).toBeLessThanOrEqual(1_984 * mebibyte);
    }
  });

  it(
    'spreads a StatefulSet over the machines that have room of its class, beside volumes that are not ours',
    async () => {
      const space = await Space.create(lab, 'spread');
      await space.apply(statefulSet('large', '1200Mi', 3));
      const placed = async () => (await pods(space)).filter(({ status }) => status.phase === 'Running');
      await until('two pods', 4 * minute, async () => (await placed()).length === 2).catch(explained(space));
      expect((await placed()).map(({ spec }) => spec.nodeName).sort()).toEqual([...machines]);
      // No machine has room for the third, and its claim binds it to none.
      await until('the third waits', minute, async () =>
        (await events(space)).some(({ reason, message }) => reason === 'FailedScheduling' && /storage/.test(message)),
      );
      const claims = await space.get<List<Claim>>('pvc');
      expect(claims.items.filter(({ status }) => status.phase === 'Bound')).toHaveLength(2);
      for (const name of machines) {
        expect(await volumesIn(name, 'site')).toEqual([expect.stringMatching(/^azk_v_/), 'own']);
        expect(await sumOfOwn(name)).toBe(ownSum.get(name));
      }
      await gone(space);
      for (const name of machines) expect(await volumesIn(name, 'site')).toEqual(['own']);
    },
    8 * minute,
  );

  // --- parts ---

  /** Logical volumes of a group that hold somebody's data: without the pool of the thin ones. */
  async function volumesIn(name: string, group: string): Promise<readonly string[]> {
    const names = await lab.member(name).exec(['lvs', '--noheadings', '-o', 'lv_name', '-S', 'lv_attr!~^t', group]);
    return names.trim().split(/\s+/).sort();
  }

  const sumOfOwn = (name: string) => lab.member(name).exec(['sha256sum', '/dev/site/own']);

  /** Bytes of the largest volume, by "CLASS NODE". */
  async function rooms(classes: readonly string[]): Promise<Map<string, number>> {
    const text = await lab.kubectl(['-n', systemNamespace, 'get', 'csistoragecapacities', '-o', 'json']);
    interface Capacity {
      readonly storageClassName: string;
      readonly maximumVolumeSize?: string;
      readonly nodeTopology: { readonly matchLabels: Readonly<Record<string, string>> };
    }
    const { items } = JSON.parse(text) as List<Capacity>;
    return new Map(
      items
        .filter(({ storageClassName }) => classes.includes(storageClassName))
        .map(({ storageClassName, nodeTopology, maximumVolumeSize = '0' }) => {
          const size = parseQuantity(maximumVolumeSize);
          const node = nodeTopology.matchLabels['topology.azekura.dev/node'] ?? '';
          return [`${storageClassName} ${node}`, size.ok ? size.bytes : 0] as const;
        })
        .filter(([, bytes]) => bytes > 0)
        .sort(([a], [b]) => a.localeCompare(b)),
    );
  }

  const pods = async (space: Space) => (await space.get<List<Pod>>('pods')).items;
  const events = async (space: Space) => (await space.get<List<Event>>('events')).items;

  const explained = (space: Space) => async (error: Error) => {
    throw new Error(`${error.message}\n${await diagnosis(lab, space.name)}`, { cause: error });
  };

  /** Deletes a space, and waits until no volume of it is left. */
  async function gone(space: Space): Promise<void> {
    await lab.kubectl(['delete', 'namespace', space.name, '--timeout=230s'], { timeoutMs: 4 * minute });
    await until('the end of the volumes', 3 * minute, async () =>
      (await Promise.all(['pv', 'volumes.azekura.dev'].map((kind) => lab.kubectl(['get', kind, '-o', 'name'])))).every(
        (names) => names === '',
      ),
    ).catch(explained(space));
  }
});

function statefulSet(storageClassName: string, storage: string, replicas: number): object {
  const { spec } = podOf('x', { emptyDir: {} }) as { spec: { containers: object[] } };
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: 'set' },
    spec: {
      serviceName: 'set',
      replicas,
      podManagementPolicy: 'Parallel',
      selector: { matchLabels: { app: 'set' } },
      template: {
        metadata: { labels: { app: 'set' } },
        spec: { terminationGracePeriodSeconds: 0, containers: spec.containers },
      },
      volumeClaimTemplates: [
        {
          metadata: { name: 'v' },
          spec: { accessModes: ['ReadWriteOnce'], storageClassName, resources: { requests: { storage } } },
        },
      ],
    },
  };
}
