/** One lab: a real Kubernetes in Linux namespaces of this machine. All its state is in its folder. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Api } from './api.ts';
import { binariesFor, binary, notBuilt } from './binaries.ts';
import {
  type ServerArguments,
  standardPorts,
  startApi,
  startControllerManager,
  startScheduler,
} from './control-plane.ts';
import { type RunOptions, type RunResult, run, tryRun, until } from './exec.ts';
import { baseImages, imageArchive } from './image/catalog.ts';
import { createCgroup, releaseLoops, removeCgroup, removeFolder } from './leftovers.ts';
import { withLock } from './lock.ts';
import {
  endMachines,
  isMachine,
  MachineMember,
  type MachineShape,
  machineLabel,
  planMachine,
  startMachinesOf,
} from './machine.ts';
import { Member } from './namespaces.ts';
import { controlPlaneAddress, freePort, mostNodes, wireControlPlane, wireNode } from './network.ts';
import { importImages, nodeFolders, startKubelet, startProxy, startRuntime, waitForNode } from './node.ts';
import { lockFile, runFolder } from './paths.ts';
import { Pki } from './pki.ts';
import { killRecorded, recordedProcess, recordProcess } from './process-record.ts';

/** What a lab is started with; kept in its folder. */
export interface LabShape {
  /** 0: etcd and kube-apiserver alone, on the loopback of the host. */
  readonly nodes: number;
  /** Without nodes: whether kube-controller-manager runs too (garbage collection, service accounts, …). */
  readonly controllers?: boolean;
  /** That many nodes more are machines with kernels of their own, numbered after the others. */
  readonly machines?: MachineShape & { readonly count: number };
  /** Image archives that every node gets before it is Ready. */
  readonly images?: readonly string[];
  /** A part of a KubeSchedulerConfiguration: extenders, profiles. */
  readonly scheduler?: object;
  readonly arguments?: ServerArguments;
}

interface Stored extends LabShape {
  readonly server: string;
}

export class Cluster {
  readonly name: string;
  readonly folder: string;
  readonly #pki: Pki;

  constructor(name: string) {
    this.name = name;
    this.folder = runFolder(name);
    this.#pki = new Pki(join(this.folder, 'pki'));
  }

  /** The kubeconfig of an administrator, for use on the host. */
  get kubeconfig(): string {
    return join(this.folder, 'kubeconfig');
  }

  /** The kubeconfig of an administrator, for use inside the members of a lab with nodes. */
  get innerKubeconfig(): string {
    return this.controlPlane.path('admin.kubeconfig');
  }

  get controlPlane(): Member {
    return this.member('cp');
  }

  /** Names of its nodes, running or not. */
  get nodes(): readonly string[] {
    return existsSync(this.folder) ? readdirSync(this.folder).filter((name) => /^node[1-9]$/.test(name)) : [];
  }

  get isUp(): boolean {
    return this.controlPlane.holder !== undefined;
  }

  /** @param name cp, node1, … */
  member(name: string): Member {
    if (!/^(cp|node[1-9])$/.test(name)) throw new Error(`no member ${name}: cp, node1 … node${mostNodes}`);
    const folder = join(this.folder, name);
    if (isMachine(folder))
      return new MachineMember({
        cluster: this.name,
        name,
        folder,
        controlPlane: () => this.#holder(this.controlPlane),
      });
    return new Member({
      name,
      folder,
      ownNetwork: !existsSync(join(this.folder, 'api-only')),
      ownFolders: name === 'cp' ? [] : nodeFolders,
    });
  }

  /** @param name of a node that is a machine with a kernel of its own @throws Error for any other */
  machine(name: string): MachineMember {
    const member = this.member(name);
    if (!(member instanceof MachineMember)) throw new Error(`${name} is no machine`);
    return member;
  }

  // --- start and end ---

  /** Starts it. @throws Error when it cannot; what was started is then left for `down`, with its logs */
  async up(shape: LabShape, say: (line: string) => void = () => {}): Promise<void> {
    await withLock(lockFile(this.name), async () => {
      if (this.isUp) throw new Error(`the lab ${this.name} is up already`);
      await this.#down();
      const missing = notBuilt(binariesFor(shape));
      if (missing.length > 0) throw new Error(`not built: ${missing.join(' ')} (npm run lab -- kubernetes build)`);
      const startedMs = performance.now();
      if (shape.nodes === 0) await this.#upAlone(shape);
      else await this.#upWithNodes(shape, say);
      const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
      say(
        `up after ${seconds} s: ${shape.nodes === 0 ? 'kube-apiserver alone' : `${this.nodes.length} node(s) Ready`}`,
      );
    });
  }

  async #upAlone(shape: LabShape): Promise<void> {
    mkdirSync(this.folder, { recursive: true });
    writeFileSync(join(this.folder, 'api-only'), '');
    const cp = this.controlPlane;
    const [certificates, etcd, etcdPeer, apiserver] = await Promise.all([
      this.#pki.create(),
      freePort(),
      freePort(),
      freePort(),
      cp.start(),
    ]);
    void certificates;
    const server = `https://127.0.0.1:${apiserver}`;
    this.#store({ ...shape, server });
    this.#writeConfigs(server);
    this.#pki.writeConfig('admin', this.kubeconfig, server);
    await startApi(cp, this.#pki, new Api(server, this.#pki), {
      ports: { etcd, etcdPeer, apiserver },
      alone: true,
      more: shape.arguments?.apiserver,
    });
    if (!shape.controllers) return;
    await startControllerManager(cp, this.#pki, {
      port: await freePort(),
      more: shape.arguments?.controllerManager,
    });
    await this.#defaultServiceAccount();
  }

  async #upWithNodes(shape: LabShape, say: (line: string) => void): Promise<void> {
    const machines = shape.machines?.count ?? 0;
    if (shape.nodes + machines > mostNodes) throw new Error(`at most ${mostNodes} nodes`);
    mkdirSync(this.folder, { recursive: true });
    const cp = this.controlPlane;
    const [, images] = await Promise.all([this.#pki.create(), baseImages(), cp.start()]);
    await wireControlPlane(this.#holder(cp));
    const server = `https://127.0.0.1:${await this.forward('api', 'cp', `127.0.0.1:${standardPorts.apiserver}`)}`;
    this.#store({ ...shape, server });
    this.#writeConfigs(`https://${controlPlaneAddress}:${standardPorts.apiserver}`);
    this.#pki.writeConfig('admin', this.kubeconfig, server);
    const names = Array.from({ length: shape.nodes }, (_, i) => `node${i + 1}`);
    await Promise.all([
      startApi(cp, this.#pki, this.#api(), {
        ports: standardPorts,
        alone: false,
        more: shape.arguments?.apiserver,
      }),
      ...names.map((name) => this.#nodeUp(name, [...images, ...(shape.images ?? [])])),
    ]);
    say('kube-apiserver and the container runtimes run');
    await startControllerManager(cp, this.#pki, { port: 10257, more: shape.arguments?.controllerManager });
    await startScheduler(cp, { part: shape.scheduler, more: shape.arguments?.scheduler });
    const role = ['--clusterrole=system:node-proxier', '--user=system:kube-proxy'];
    await this.kubectl(['create', 'clusterrolebinding', 'lab-proxy', ...role]);
    await Promise.all(names.map((name) => this.#nodeJoins(name, shape, 0)));
    await this.#defaultServiceAccount();
    if (machines === 0) return;
    await this.#readyForMachines(say);
    await Promise.all(
      Array.from({ length: machines }, async (_, i) => {
        const name = `node${shape.nodes + 1 + i}`;
        planMachine(join(this.folder, name), shape.machines ?? {});
        await this.#nodeUp(name, [...images, ...(shape.images ?? [])]);
        await this.#nodeJoins(name, shape, 0);
        say(`${name} is a machine with a kernel of its own`);
      }),
    );
  }

  /**
   * The machines' kernel has no NAT for kube-proxy. So the addresses of Services go by a machine's default route to the
   * control plane, where one kube-proxy for all machines translates them, and masquerades, so that answers come back
   * through it. The bridge must not translate too, which sends nothing back to the port it came from.
   */
  async #readyForMachines(say: (line: string) => void): Promise<void> {
    await startMachinesOf(this.name, say);
    const cp = this.controlPlane;
    if (cp.runs('proxy')) return;
    const settings = ['bridge.bridge-nf-call-iptables', 'ipv4.conf.all.send_redirects', 'ipv4.conf.ul0.send_redirects'];
    await cp.exec(['sysctl', '-q', '-e', '-w', ...settings.map((name) => `net.${name}=0`)]);
    const more = { hostnameOverride: 'node1', nftables: { masqueradeAll: true } };
    await startProxy(cp, cp.path('proxy.kubeconfig'), more);
  }

  /** Ends it and removes everything: processes, namespaces, mounts, loop devices, cgroups, files. */
  async down(): Promise<void> {
    await withLock(lockFile(this.name), () => this.#down());
  }

  async #down(): Promise<void> {
    if (!existsSync(this.folder)) return;
    await endMachines(this.name);
    await Promise.all(['cp', ...this.nodes].map((name) => this.member(name).kill()));
    const forwards = join(this.folder, 'forward');
    if (existsSync(forwards))
      for (const file of readdirSync(forwards)) if (file.endsWith('.pid')) killRecorded(join(forwards, file));
    for (const name of this.nodes) await removeCgroup(this.#cgroup(name));
    // Not those of the nodes' folders only: a test may have put a pool beside them.
    await releaseLoops(this.folder);
    await removeFolder(this.folder);
  }

  // --- nodes ---

  /** As if the power of a node went. Its loop devices go too, as they would. */
  async killNode(name: string): Promise<void> {
    const node = this.member(name);
    if (name === 'cp') throw new Error('the control plane is no node');
    if (node.holder === undefined) throw new Error(`${name} is not running`);
    await node.kill();
    await releaseLoops(node.folder);
  }

  /** Starts a killed node again on its disks, with what `run` had started there; or adds a new one. */
  async startNode(name: string): Promise<void> {
    const node = this.member(name);
    if (node.holder !== undefined) throw new Error(`${name} is running`);
    const sinceMs = Date.now();
    const fresh = !existsSync(node.folder);
    const shape = this.shape;
    await this.#nodeUp(name, fresh ? [...(await baseImages()), ...(shape.images ?? [])] : []);
    await node.revive();
    // The API counts in whole seconds.
    await this.#nodeJoins(name, shape, sinceMs - 1_000);
  }

  async #nodeUp(name: string, images: readonly string[]): Promise<void> {
    const node = this.member(name);
    const index = Number(name.slice('node'.length));
    if (!existsSync(node.path('kubelet.kubeconfig'))) {
      mkdirSync(node.folder, { recursive: true });
      await this.#pki.createNode(name);
      const server = `https://${controlPlaneAddress}:${standardPorts.apiserver}`;
      this.#pki.writeConfig(name, node.path('kubelet.kubeconfig'), server);
    }
    if (node.ownKernel) await node.start();
    else {
      // After a power cut: what is left of the dead containers costs the kubelet 3 s each.
      await removeCgroup(this.#cgroup(name));
      createCgroup(this.#cgroup(name));
      await node.start();
      await wireNode(this.#holder(this.controlPlane), this.#holder(node), index);
    }
    await startRuntime(node, index, images);
  }

  async #nodeJoins(name: string, shape: LabShape, sinceMs: number): Promise<void> {
    const node = this.member(name);
    const index = Number(name.slice('node'.length));
    const more = shape.arguments?.kubelet ?? [];
    if (node.ownKernel) await startKubelet(node, index, this.#pki, '', [...more, `--node-labels=${machineLabel}=`]);
    else {
      await startKubelet(node, index, this.#pki, this.#cgroup(name), more);
      await startProxy(node, this.controlPlane.path('proxy.kubeconfig'));
    }
    await waitForNode(node, this.#api(), sinceMs);
  }

  /** Gives image archives to all running nodes; use them with imagePullPolicy Never. */
  async loadImages(archives: readonly string[]): Promise<void> {
    const running = this.nodes.map((name) => this.member(name)).filter((node) => node.holder !== undefined);
    await Promise.all(running.map((node) => importImages(node, archives)));
  }

  /** The same by names of the catalogue. */
  async loadNamedImages(names: readonly string[]): Promise<void> {
    await this.loadImages(await Promise.all(names.map((name) => imageArchive(name))));
  }

  // --- use ---

  get shape(): LabShape {
    return JSON.parse(readFileSync(join(this.folder, 'shape.json'), 'utf8')) as Stored;
  }

  /** Runs kubectl as administrator. @returns its output @throws CommandFailed */
  kubectl(args: readonly string[], options: RunOptions = {}): Promise<string> {
    return run([binary('kubectl'), '--kubeconfig', this.kubeconfig, ...args], withoutCollector(options));
  }

  tryKubectl(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return tryRun([binary('kubectl'), '--kubeconfig', this.kubeconfig, ...args], withoutCollector(options));
  }

  /** Runs the real helm as administrator. @throws CommandFailed */
  helm(args: readonly string[], options: RunOptions = {}): Promise<string> {
    return run([binary('helm'), '--kubeconfig', this.kubeconfig, ...args], {
      ...options,
      env: { ...process.env, HELM_CACHE_HOME: join(this.folder, 'helm'), ...options.env },
    });
  }

  /** Starts the scheduler again with a part of a KubeSchedulerConfiguration. */
  async configureScheduler(part: object): Promise<void> {
    await startScheduler(this.controlPlane, { part, more: this.shape.arguments?.scheduler });
  }

  /** Starts a process of the tester's in a member; it sees the host's files and $KUBECONFIG. */
  async run(member: string, name: string, argv: readonly string[], env: Record<string, string> = {}): Promise<void> {
    await this.member(member).spawn(name, argv, { env: { KUBECONFIG: this.innerKubeconfig, ...env } });
  }

  /**
   * Makes an address inside a member reachable from the host.
   *
   * @param address host:port as the member sees it
   * @returns the port of 127.0.0.1 that leads there
   */
  async forward(name: string, member: string, address: string): Promise<number> {
    const folder = join(this.folder, 'forward');
    mkdirSync(folder, { recursive: true });
    const file = join(folder, name);
    killRecorded(`${file}.pid`);
    rmSync(`${file}.port`, { force: true });
    const log = openSync(`${file}.log`, 'w');
    if (this.member(member).ownKernel) throw new Error(`forward from cp to the address of ${member}`);
    const netns = `/proc/${this.#holder(this.member(member))}/ns/net`;
    const argv = ['forward', '--port-file', `${file}.port`, '--dial', address, '--dial-netns', netns];
    const child = spawn(binary('labtool'), argv, { detached: true, stdio: ['ignore', log, log] });
    child.unref();
    if (child.pid === undefined) throw new Error('labtool cannot be started');
    recordProcess(`${file}.pid`, child.pid);
    await until(`forward to ${address}`, 10_000, () => {
      if (recordedProcess(`${file}.pid`) === undefined) throw new Error(readFileSync(`${file}.log`, 'utf8'));
      return existsSync(`${file}.port`);
    });
    return Number(readFileSync(`${file}.port`, 'utf8'));
  }

  // --- parts ---

  #api(): Api {
    const { server } = JSON.parse(readFileSync(join(this.folder, 'shape.json'), 'utf8')) as Stored;
    return new Api(server, this.#pki);
  }

  #store(stored: Stored): void {
    writeFileSync(join(this.folder, 'shape.json'), JSON.stringify(stored));
  }

  #writeConfigs(server: string): void {
    for (const name of ['admin', 'controller-manager', 'scheduler', 'proxy'])
      this.#pki.writeConfig(name, this.controlPlane.path(`${name}.kubeconfig`), server);
  }

  #cgroup(node: string): string {
    return `azekura-${this.name}-${node}`;
  }

  #holder(member: Member): number {
    const pid = member.holder;
    if (pid === undefined) throw new Error(`${member.name} is not running`);
    return pid;
  }

  async #defaultServiceAccount(): Promise<void> {
    const path = '/api/v1/namespaces/default/serviceaccounts/default';
    await until('the default service account', 60_000, async () => (await this.#api().get(path)).status === 200);
  }
}

/** A command that ends after a tenth of a second collects a tenth of that. */
function withoutCollector(options: RunOptions): RunOptions {
  return { ...options, env: { ...(options.env ?? process.env), GOGC: 'off' } };
}
