/**
 * Real Kubernetes on machines with kernels of their own: two device classes of engine lvm, one of them in a volume group
 * that was there before, encryption with keys from Secrets, bursts and power cuts. Ten minutes on a busy machine: by hand.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { binary } from '../../lab/kubernetes/binaries.ts';
import { Cluster } from '../../lab/kubernetes/cluster.ts';
import { until as untilEvery } from '../../lab/kubernetes/exec.ts';
import { imageArchive, type Lab, labMissing, startLab } from '../../lab/kubernetes/index.ts';
import { installChart, systemNamespace } from '../../lab/kubernetes/install.ts';
import { machineLabel } from '../../lab/kubernetes/machine.ts';
import { parseQuantity } from '../../src/lib/quantity.ts';
import { diagnosis, Space } from './kit.ts';
import { claimOf, ofClaim, podOf as probedPod } from './probe.ts';
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
const sized = (storage: string): object => ({ resources: { requests: { storage } } });
/** Of one pod of the burst. A machine's fast pool holds five of them. */
const burstClaim = '512Mi';
const podCount = 50;

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
    const secret = 'csi.storage.k8s.io/node-stage-secret-';
    await new Space(lab, 'default').apply(
      classOf('fast', { deviceClass: 'ssd' }),
      classOf('large', { deviceClass: 'hdd' }),
      classOf('sealed', {
        deviceClass: 'ssd',
        encryption: 'luks2',
        // biome-ignore lint/suspicious/noTemplateCurlyInString: the provisioner's own placeholder
        [`${secret}name`]: '${pvc.name}-key',
        // biome-ignore lint/suspicious/noTemplateCurlyInString: the provisioner's own placeholder
        [`${secret}namespace`]: '${pvc.namespace}',
      }),
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

  it(
    `never promises more than there is to ${podCount} pods at once`,
    async () => {
      const space = await Space.create(lab, 'burst');
      const before = await rooms(['fast']);
      const fits = [...before.values()].map((bytes) => Math.floor(bytes / (512 * mebibyte)));
      const names = Array.from({ length: podCount }, (_, i) => `pod-${i}`);
      const objects = names.flatMap((name) => [claimOf(name, 'fast', sized(burstClaim)), podOf(name, ofClaim(name))]);
      await lab.kubectl(['-n', space.name, 'create', '-f', '-'], {
        input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }),
        timeoutMs: 3 * minute,
      });
      const expected = fits.reduce((sum, fit) => sum + fit, 0);
      await until('all that fit', 6 * minute, async () => (await readyPods(space)).length >= expected).catch(
        explained(space),
      );
      for (const [i, name] of machines.entries()) {
        const here = (await pods(space)).filter(({ spec }) => spec.nodeName === name);
        expect(here).toHaveLength(fits[i] ?? 0);
      }
      // A claim that is bound though its pod has no node could go nowhere.
      const bound = (await space.get<List<Claim>>('pvc')).items.filter(({ status }) => status.phase === 'Bound');
      const scheduled = (await pods(space)).filter(({ spec }) => spec.nodeName !== undefined);
      expect(bound.map(({ metadata }) => metadata.name).sort()).toEqual(
        scheduled.map(({ metadata }) => metadata.name).sort(),
      );
      await gone(space);
      await until('the room back', 2 * minute, async () => sameAs(before, await rooms(['fast'])));
    },
    12 * minute,
  );

  it(
    'keeps what was acknowledged on an encrypted volume over a power cut of its machine, and the pod comes back',
    async () => {
      const space = await Space.create(lab, 'sealed');
      const script = 'i=$(wc -l </v/log); while :; do i=$((i+1)); echo $i >>/v/log; sync /v/log; echo $i; done';
      await space.apply(
        claimOf('db', 'sealed', sized('256Mi')),
        podOf('db', ofClaim('db'), {
          script: `touch /v/log; (${script}) & sleep 1`,
          spec: { restartPolicy: 'Always' },
        }),
      );
      // The key comes later: until then it is said what is missing.
      await said(space, 'Pod', /secret.*db-key.*not found/i);
      const [one, two, wrong] = Array.from({ length: 3 }, () => randomBytes(36).toString('base64'));
      const give = (data: object) =>
        space.apply({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'db-key' }, stringData: data });
      await give({ key: one });
      await space.wait('condition=Ready', 'pod/db');
      const node = (await pods(space))[0]?.spec.nodeName ?? '';
      expect(machines).toContain(node);
      expect(await lab.member(node).exec(['dmsetup', 'ls', '--target', 'crypt'])).toContain('azk-luks-');

      const log = spawn(binary('kubectl'), ['--kubeconfig', lab.kubeconfig, '-n', space.name, 'logs', '-f', 'db']);
      let acknowledged = 0;
      log.stdout.on('data', (data: Buffer) => {
        for (const line of data.toString().split('\n').slice(0, -1))
          acknowledged = Math.max(acknowledged, Number(line));
      });
      await until('acknowledged writes', minute, () => acknowledged >= 50);
      await lab.killNode(node);
      log.kill();
      expect(lab.member(node).holder).toBeUndefined();
      await lab.startNode(node);
      const count = async () => Number(await space.exec('pod/db', 'sh', '-c', 'wc -l </v/log'));
      await until('the pod again', 4 * minute, async () => (await count()) > acknowledged).catch(explained(space));
      expect(
        await space.exec('pod/db', 'sh', '-c', 'seq $(wc -l </v/log) | cmp -n $(stat -c %s /v/log) - /v/log || true'),
      ).toBe('');

      // Another key in the Secret: first one that never was right, then the next one with the present beside it.
      const again = async () => {
        await space.kubectl('delete', 'pod', 'db', '--wait=true');
        // For a pod that came at once the kubelet would leave it staged, and nobody would ask for the key.
        await until(
          'the volume is detached',
          2 * minute,
          async () => !(await lab.kubectl(['get', 'attachments.azekura.dev', '-o', 'name'])).includes(node),
        );
        await space.apply(podOf('db', ofClaim('db'), { script: 'test -s /v/log', node }));
      };
      await give({ key: wrong });
      await again();
      await said(space, 'Pod', /does not open it/);
      await said(space, 'PersistentVolumeClaim', /does not open it/, 'EncryptionKeyWrong');
      await give({ key: two, previousKey: one });
      await space.wait('condition=Ready', 'pod/db');
      await space.kubectl('delete', 'secret', 'db-key');
      await give({ key: two });
      await again();
      await space.wait('condition=Ready', 'pod/db');
      const device = `/dev/${(await lab.member(node).exec(['lvs', '--noheadings', '-o', 'lv_full_name', '-S', 'lv_name=~^azk_v_'])).trim()}`;
      const opens = async (key = '') =>
        (
          await lab.member(node).tryExec(['cryptsetup', 'open', '--test-passphrase', '--key-file', '-', device], {
            input: key,
          })
        ).code;
      expect([await opens(one), await opens(two)]).toEqual([2, 0]);
      await gone(space);
    },
    15 * minute,
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

  const sameAs = (some: ReadonlyMap<string, number>, others: ReadonlyMap<string, number>) =>
    JSON.stringify([...some]) === JSON.stringify([...others]);
  const pods = async (space: Space) => (await space.get<List<Pod>>('pods')).items;
  const events = async (space: Space) => (await space.get<List<Event>>('events')).items;

  async function readyPods(space: Space): Promise<readonly string[]> {
    const path = 'jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].ready}{"\\n"}{end}';
    const lines = (await space.kubectl('get', 'pods', '-o', path)).trim().split('\n');
    return lines.filter((line) => line.endsWith(' true'));
  }

  /** Waits for an Event on an object of a kind that says this. */
  async function said(space: Space, kind: string, words: RegExp, reason?: string): Promise<void> {
    await until(`${words} on a ${kind}`, 3 * minute, async () =>
      (await events(space)).some(
        (event) =>
          event.involvedObject.kind === kind &&
          words.test(event.message) &&
          (reason === undefined || event.reason === reason),
      ),
    ).catch(explained(space));
  }

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
