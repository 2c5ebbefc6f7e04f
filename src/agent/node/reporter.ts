import type { BlockDeviceInfo, HostFacts } from '../../host/host.ts';
import type { RunResult } from '../../lib/work-queue.ts';
import { type Cause, makeCause } from '../../model/cause.ts';
import { hasCode } from '../../model/errors.ts';
import type { BlockDevice, NodeDisk, NodeStatus } from '../../model/node.ts';
import { changeStatus } from '../../store/change.ts';
import { withSince } from '../causes.ts';
import { type AgentContext, keys } from '../context.ts';

const heartbeatEveryMs = 60_000;
/** Looking at all disks starts commands: now and then is enough, and when a pool was added. */
const devicesEveryMs = 15 * 60_000;

const tools: readonly { readonly tool: string; readonly package: string }[] = [
  { tool: 'mkfs.xfs', package: 'xfsprogs' },
  { tool: 'xfs_repair', package: 'xfsprogs' },
  { tool: 'mkfs.ext4', package: 'e2fsprogs' },
  { tool: 'e2fsck', package: 'e2fsprogs' },
  { tool: 'resize2fs', package: 'e2fsprogs' },
];
const toolFolders = ['/usr/sbin', '/sbin', '/usr/bin', '/bin', '/usr/local/sbin', '/usr/local/bin'];

/** Devices that nobody would make a pool of: our own loop devices among them, hundreds on a busy node. */
const notForPools = /^\/dev\/(loop|ram|zram|sr|fd)\d/;

/** Keeps this machine's Node object: registers it, and says now and then that it is alive and what it has. */
export class NodeReporter {
  readonly #context: AgentContext;
  #devices: readonly BlockDevice[] = [];
  #dataDisk: NodeDisk | undefined;
  #devicesAtMs = Number.NEGATIVE_INFINITY;
  #causes: readonly Cause[] = [];
  #cancel: () => void = () => {};
  #stopped = false;

  constructor(context: AgentContext) {
    this.#context = context;
  }

  /** Makes the Node object when there is none, and reports Ready. */
  async register(): Promise<void> {
    const { store, nodeName, topology } = this.#context.deps;
    try {
      if (!(await store.find('Node', nodeName)))
        await store.create({
          kind: 'Node',
          metadata: { name: nodeName },
          spec: { topology: { host: nodeName, ...topology } },
        });
    } catch (error) {
      if (!hasCode(error, 'AlreadyExists')) throw error;
    }
    await this.#report(await this.#context.deps.host.facts());
    // Looking at the disks takes long on some machines, and nobody has to wait for it.
    this.#context.trigger(keys.node);
    this.#wait();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  /** Looks at the machine and writes what it saw. */
  async refresh(): Promise<RunResult> {
    const { deps } = this.#context;
    const facts = await deps.host.facts();
    if (deps.clock.nowMs() - this.#devicesAtMs >= devicesEveryMs) await this.#look(facts);
    await this.#report(facts);
    return undefined;
  }

  async #report(facts: HostFacts): Promise<void> {
    const { deps, state } = this.#context;
    const status: Partial<NodeStatus> = {
      phase: 'Ready',
      version: deps.version,
      kernel: facts.kernelRelease,
      bootId: facts.bootId,
      heartbeat: this.#context.now,
      devices: [...this.#devices],
      ...(this.#dataDisk ? { dataDisk: this.#dataDisk } : {}),
      pools: state.pools.list().length,
      attachedVolumes: state.ownAttachments().length,
    };
    await changeStatus(deps.store, 'Node', deps.nodeName, (node) => ({
      ...status,
      causes: withSince(
        [
          ...this.#causes,
          ...(deps.moreCauses?.() ?? []),
          ...(node.spec.cordoned ? [makeCause('NodeCordoned', { node: deps.nodeName })] : []),
        ],
        node.status.causes,
        this.#context.now,
      ),
    }));
  }

  async #look(facts: HostFacts): Promise<void> {
    const { host, log, clock, dataDir } = this.#context.deps;
    try {
      const { type, sizeBytes, availableBytes } = await this.#context.ownKernel.statfs(dataDir);
      this.#dataDisk = { path: dataDir, filesystem: type, sizeBytes, availableBytes };
    } catch (err) {
      log.warn({ err }, 'the space of the data folder could not be read');
    }
    try {
      this.#devices = (await host.blockDevices())
        .filter(({ path, sizeBytes }) => !notForPools.test(path) && sizeBytes > 0)
        .map(describe);
    } catch (err) {
      log.warn({ err }, 'the disks of this machine could not be listed');
    }
    this.#causes = [...permissionCauses(facts), ...(await this.#missingTools())];
    this.#devicesAtMs = clock.nowMs();
  }

  async #missingTools(): Promise<Cause[]> {
    const kernel = this.#context.ownKernel;
    const causes: Cause[] = [];
    for (const { tool, package: name } of tools) {
      let found = false;
      for (const folder of toolFolders) found ||= (await kernel.stat(`${folder}/${tool}`)) !== undefined;
      if (!found) causes.push(makeCause('ToolMissing', { tool, package: name }));
    }
    return causes;
  }

  #wait(): void {
    if (this.#stopped) return;
    this.#cancel = this.#context.deps.clock.after(heartbeatEveryMs, () => {
      if (this.#stopped) return;
      this.#context.trigger(keys.node);
      this.#wait();
    });
  }
}

function permissionCauses(facts: HostFacts): Cause[] {
  if (!facts.isRoot)
    return [makeCause('PermissionMissing', { action: 'mount and attach', problem: 'it does not run as root' })];
  if (facts.capabilities.includes('CAP_SYS_ADMIN')) return [];
  return [
    makeCause('PermissionMissing', { action: 'mount and attach', problem: 'it has not the capability CAP_SYS_ADMIN' }),
  ];
}

function describe(device: BlockDeviceInfo): BlockDevice {
  const used = device.mountedAt[0] ? `mounted at ${device.mountedAt[0]}` : (device.children[0] ?? device.signature);
  return {
    path: device.path,
    sizeBytes: device.sizeBytes,
    kind: device.kind,
    readOnly: device.readOnly,
    rotational: device.rotational,
    ...(device.serial ? { serial: device.serial } : {}),
    ...(device.model ? { model: device.model } : {}),
    ...(used ? { usedBy: used } : {}),
  };
}
