/**
 * A node with a kernel of its own: a machine of ../machines, with device-mapper and disks to spend, on the network of the
 * other nodes. Its folder on the host is that of any other node; the machine sees it live.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheRoot } from '../go.ts';
import { type DiskSpec, Lab, LabError, type Machine, takeDown } from '../machines/index.ts';
import { run, tryRun } from './exec.ts';
import { inside, Member } from './namespaces.ts';
import { nodeNetwork } from './network.ts';
import { nodeFolders } from './node.ts';

export interface MachineShape {
  /** Default 1200M. */
  readonly memory?: string;
  /** Disks to spend, from /dev/ubdb on; default two of 4G. /dev/ubda is the node's own. */
  readonly disks?: readonly DiskSpec[];
}

/** Label of nodes that are machines. */
export const machineLabel = 'lab.azekura.dev/machine';
const ownDisk = { device: '/dev/ubda', size: '12G' } as const;
const setupFile = 'machine.json';

/** The lab of machines of a cluster. */
const labOf = (cluster: string): string => `kube-${cluster}`;

/** Whether a node's folder is that of a machine. */
export const isMachine = (folder: string): boolean => existsSync(join(folder, setupFile));

/** Makes the folder of a node that is to be a machine. */
export function planMachine(folder: string, shape: MachineShape): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, setupFile), JSON.stringify(shape));
}

/** Starts the lab that a cluster's machines are in, unless it is up. It outlives this program; `endMachines` ends it. */
export async function startMachinesOf(cluster: string, report: (line: string) => void): Promise<void> {
  if (openLab(cluster) === undefined) await Lab.start({ name: labOf(cluster), machines: 0, keep: true, report });
}

/** Ends all machines of a cluster; their disks are gone. */
export async function endMachines(cluster: string): Promise<void> {
  await takeDown(labOf(cluster));
}

function openLab(cluster: string): Lab | undefined {
  try {
    return Lab.open(labOf(cluster));
  } catch (error) {
    if (error instanceof LabError) return undefined;
    throw error;
  }
}

export interface MachineMemberOptions {
  readonly cluster: string;
  /** node1, … */
  readonly name: string;
  readonly folder: string;
  /** Process 1 of the control plane, whose bridge the machine hangs on. */
  readonly controlPlane: () => number;
}

export class MachineMember extends Member {
  readonly index: number;
  readonly #options: MachineMemberOptions;

  constructor(options: MachineMemberOptions) {
    super({ name: options.name, folder: options.folder, ownNetwork: true, ownFolders: nodeFolders });
    this.index = Number(options.name.slice('node'.length));
    this.#options = options;
  }

  override get ownKernel(): boolean {
    return true;
  }

  /** The host's process that is the machine. */
  override get holder(): number | undefined {
    return this.#machine()?.process?.pid;
  }

  /** The machine itself: disks, hang, console. @throws Error before its first start */
  get machine(): Machine {
    const machine = this.#machine();
    if (machine === undefined) throw new Error(`${this.name} is not running`);
    return machine;
  }

  /** Boots it, for the first time or after a power cut, and makes it ready for containerd and kubelet. */
  override async start(): Promise<void> {
    this.prepareFolder();
    const lab = openLab(this.#options.cluster);
    if (lab === undefined) throw new Error(`the machines of ${this.#options.cluster} are down`);
    await this.#wire(lab);
    const present = this.#machine();
    if (present) await present.boot();
    else {
      const shape = JSON.parse(readFileSync(this.path(setupFile), 'utf8')) as MachineShape;
      await lab.addMachine(this.index, {
        memory: shape.memory ?? '1200M',
        disks: [ownDisk.size, ...(shape.disks ?? ['4G', '4G'])],
        // Binaries and images, and what host and node write into the cluster's folder.
        mounts: [{ from: cacheRoot() }, { from: dirname(this.folder), writable: true }],
        kernelArguments: [`vec2:transport=tap,ifname=k${this.index},depth=64,gro=1,mac=02:79:00:00:00:0${this.index}`],
      });
    }
    const cni = this.path('root', 'etc/cni/net.d');
    mkdirSync(cni, { recursive: true });
    const folders = nodeFolders.filter((folder) => folder !== '/etc/cni/net.d');
    await this.machine.exec(['bash', inside('machine.sh'), ownDisk.device, cni, ...folders], {
      input: `${nodeNetwork(this.index, 'vec2').join('\n')}\n`,
    });
  }

  override async kill(): Promise<void> {
    await this.#machine()?.powerCut();
  }

  override entering(argv: readonly string[], env: Readonly<Record<string, string>> = {}): string[] {
    return [...this.machine.entering(argv, env)];
  }

  protected override hasProcess(_holder: number, pid: string): boolean {
    const [program = '', ...args] = this.entering(['test', '-d', `/proc/${pid}`]);
    return spawnSync(program, args, { stdio: 'ignore', timeout: 10_000 }).status === 0;
  }

  #machine(): Machine | undefined {
    return openLab(this.#options.cluster)?.machines.find(({ number }) => number === this.index);
  }

  /**
   * A bridge in the machines' network with two ports: the machine's third network card, and a pair whose other end hangs on
   * the nodes' bridge.
   */
  async #wire(lab: Lab): Promise<void> {
    const i = this.index;
    const controlPlane = ['nsenter', '-t', String(this.#options.controlPlane()), '-n', 'ip', 'link'];
    // Those of before a power cut.
    await tryRun([...controlPlane, 'del', `v${i}`]);
    for (const link of [`k${i}`, `kube${i}`])
      await lab.runInNetwork(['ip', 'link', 'del', link]).catch((error: unknown) => {
        if (!(error instanceof LabError)) throw error;
      });
    const lines = [
      `link add kube${i} type bridge`,
      `link add v${i} type veth peer name v${i} netns ${this.#options.controlPlane()}`,
      `tuntap add dev k${i} mode tap`,
      `link set k${i} master kube${i} up`,
      `link set v${i} master kube${i} up`,
      `link set kube${i} up`,
    ];
    await lab.runInNetwork(['ip', '-batch', '-'], { input: `${lines.join('\n')}\n` });
    await run([...controlPlane, 'set', `v${i}`, 'master', 'ul0', 'up']);
  }
}
