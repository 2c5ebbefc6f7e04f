/** What the scenes on machines with kernels of their own share: the cluster with our chart, two device classes, and questions to it. */
import { existsSync } from 'node:fs';
import { expect } from 'vitest';
import { Cluster } from '../../../lab/kubernetes/cluster.ts';
import { until as untilEvery } from '../../../lab/kubernetes/exec.ts';
import { postgresVersion } from '../../../lab/kubernetes/image/postgres.ts';
import { imageArchive, type Lab, labMissing, startLab } from '../../../lab/kubernetes/index.ts';
import { installChart, systemNamespace } from '../../../lab/kubernetes/install.ts';
import { machineLabel } from '../../../lab/kubernetes/machine.ts';
import { parseQuantity } from '../../../src/lib/quantity.ts';
import { diagnosis, Space } from '../kit.ts';
import { podOf as probedPod } from '../probe.ts';
import { classWithoutBin } from '../writers.ts';

const shape = { nodes: 1, machines: { count: 2, disks: ['3G', '2G'] } };
/** A lab that stays as it is, started if it is not up: for work on one scene (`-t`). */
const given = process.env.AZEKURA_TEST_LAB;
const asked = process.env.AZEKURA_LONG === '1' || given !== undefined;
/** Why the scenes cannot be played here. */
export const missing = asked
  ? (labMissing(shape) ?? (postgresVersion() === undefined ? 'PostgreSQL is not installed' : undefined))
  : 'AZEKURA_LONG=1 runs it';
export const minute = 60_000;
export const mebibyte = 2 ** 20;
export const machines = ['node2', 'node3'] as const;
export const until = (what: string, timeoutMs: number, question: () => boolean | Promise<boolean>) =>
  untilEvery(what, timeoutMs, question, 1_000);

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
/** Seconds between looks into a pod: each is a process of runc, and ten a second leave a machine's one processor no time for anything else. */
export const probeSeconds = 15;
export const podOf: typeof probedPod = (name, volume, options = {}) =>
  probedPod(name, volume, { probeSeconds, ...options });
export const sized = (storage: string): object => ({ resources: { requests: { storage } } });

export interface List<T> {
  readonly items: readonly T[];
}
export interface Pod {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly nodeName?: string };
  readonly status: { readonly phase: string };
}
export interface Claim {
  readonly metadata: { readonly name: string };
  readonly status: { readonly phase: string };
}
export interface Event {
  readonly reason: string;
  readonly message: string;
  readonly involvedObject: { readonly kind: string; readonly name: string };
}

export class MachineStage {
  #lab: Cluster | undefined;
  /** Of the logical volume that was in the site's group before us. */
  readonly ownSum = new Map<string, string>();

  get lab(): Cluster {
    if (!this.#lab) throw new Error('the cluster is not there yet');
    return this.#lab;
  }

  /** Takes some minutes. A lab of the run's own, or the given one. */
  async start(): Promise<void> {
    const lab = given === undefined ? await startLab(shape) : new Cluster(given);
    this.#lab = lab;
    if (!lab.isUp) await lab.up(shape);
    for (const name of machines)
      await lab.member(name).exec([
        'bash',
        '-euc',
        `vgs -qq site 2>/dev/null || {
           vgcreate -qq site /dev/ubdc; lvcreate -qq -n own -L 64M site
           dd if=/dev/urandom of=/dev/site/own bs=1M count=64 status=none conv=fsync
         }`,
      ]);
    for (const name of machines) this.ownSum.set(name, await this.sumOfOwn(name));
    const images = ['azekura', 'postgres', 'csi-provisioner', 'csi-attacher', 'csi-resizer'];
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
  }

  async end(): Promise<void> {
    if (given !== undefined || !this.#lab) return;
    await (this.#lab as Lab).stop();
    expect(existsSync(this.#lab.folder)).toBe(false);
  }

  /** Logical volumes of a group that hold somebody's data: without the pool of the thin ones. */
  async volumesIn(name: string, group: string): Promise<readonly string[]> {
    const names = await this.lab
      .member(name)
      .exec(['lvs', '--noheadings', '-o', 'lv_name', '-S', 'lv_attr!~^t', group]);
    return names.trim().split(/\s+/).sort();
  }

  sumOfOwn(name: string): Promise<string> {
    return this.lab.member(name).exec(['sha256sum', '/dev/site/own']);
  }

  /** Bytes of the largest volume, by "CLASS NODE". */
  async rooms(classes: readonly string[]): Promise<Map<string, number>> {
    const text = await this.lab.kubectl(['-n', systemNamespace, 'get', 'csistoragecapacities', '-o', 'json']);
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

  async pods(space: Space): Promise<readonly Pod[]> {
    return (await space.get<List<Pod>>('pods')).items;
  }

  async events(space: Space): Promise<readonly Event[]> {
    return (await space.get<List<Event>>('events')).items;
  }

  async readyPods(space: Space): Promise<readonly string[]> {
    const path = 'jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].ready}{"\\n"}{end}';
    const lines = (await space.kubectl('get', 'pods', '-o', path)).trim().split('\n');
    return lines.filter((line) => line.endsWith(' true'));
  }

  /** Waits for an Event on an object of a kind that says this. */
  async said(space: Space, kind: string, words: RegExp, reason?: string): Promise<void> {
    await until(`${words} on a ${kind}`, 3 * minute, async () =>
      (await this.events(space)).some(
        (event) =>
          event.involvedObject.kind === kind &&
          words.test(event.message) &&
          (reason === undefined || event.reason === reason),
      ),
    ).catch(this.explained(space));
  }

  /** Says what is the matter when something does not come. */
  explained(space: Space): (error: Error) => Promise<never> {
    return async (error) => {
      throw new Error(`${error.message}\n${await diagnosis(this.lab, space.name)}`, { cause: error });
    };
  }

  /** Deletes a space, and waits until no volume of it is left. */
  async gone(space: Space): Promise<void> {
    await this.lab.kubectl(['delete', 'namespace', space.name, '--timeout=230s'], { timeoutMs: 4 * minute });
    await until('the end of the volumes', 3 * minute, async () =>
      (
        await Promise.all(['pv', 'volumes.azekura.dev'].map((kind) => this.lab.kubectl(['get', kind, '-o', 'name'])))
      ).every((names) => names === ''),
    ).catch(this.explained(space));
  }
}
