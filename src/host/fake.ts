import type { Clock } from '../lib/clock.ts';
import { systemClock } from '../lib/clock.ts';
import { makeCause } from '../model/cause.ts';
import { AzekuraError, blamed } from '../model/errors.ts';
import { fakeLoops, fakeMounts } from './fake/devices.ts';
import { fakeBacking, fakeFiles } from './fake/files.ts';
import { FakeMachine } from './fake/machine.ts';
import { type FakeFilesystem, fakeFilesystem, fakeNode, isWithin } from './fake/tree.ts';
import type { BlockDeviceInfo, BlockNode, ExecOptions, ExecResult, Host, HostFacts, HungCall } from './host.ts';
import { kernelError } from './kernel/failure.ts';
import { KernelFailureError } from './kernel/raise.ts';
import { boxed, type KernelCall, kernelOver, type SyncKernel } from './kernel/sync.ts';
import type { BatchCall, Kernel } from './kernel.ts';

type Argv = readonly [string, ...string[]];

/** One kernel call or command that the fake was asked for, in order. */
export interface FakeCall {
  readonly domain: string;
  readonly call: KernelCall | 'exec';
  readonly args: readonly unknown[];
}

/**
 * A machine in memory with the interface of the real one, for unit tests of planning and of failures: folders and
 * files, loop devices, mounts, clones that carry a content token, commands. `machine` is its state, open to tests.
 */
export class FakeHost implements Host {
  readonly machine = new FakeMachine();
  readonly calls: FakeCall[] = [];
  readonly devices: BlockDeviceInfo[] = [];
  readonly nodes: BlockNode[] = [];
  readonly holderNames: string[] = [];
  hostFacts: HostFacts = {
    kernelRelease: '6.18.0',
    hostName: 'fake',
    bootId: '00000000-0000-4000-8000-000000000000',
    isRoot: true,
    capabilities: ['CAP_SYS_ADMIN', 'CAP_SYS_RESOURCE'],
    filesystems: ['xfs', 'ext4'],
  };
  readonly #clock: Clock;
  readonly #sync: Omit<SyncKernel, 'batch'>;
  readonly #failures: {
    readonly call: string;
    readonly error: Error;
    left: number;
    readonly when: (args: readonly unknown[]) => boolean;
  }[] = [];
  readonly #hangs: { readonly call: string; left: number }[] = [];
  readonly #hung: HungCall[] = [];
  readonly #commands: ((argv: Argv, options: ExecOptions) => Partial<ExecResult> | undefined)[] = [];
  #uuids = 0;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
    const { machine } = this;
    this.#sync = { ...fakeFiles(machine), ...fakeBacking(machine), ...fakeLoops(machine), ...fakeMounts(machine) };
  }

  /** The next `times` calls of this name fail with the error; `when` narrows them by their arguments. */
  failNext(
    call: KernelCall | 'exec',
    error: Error,
    options: { readonly times?: number; readonly when?: (args: readonly unknown[]) => boolean } = {},
  ): void {
    this.#failures.push({ call, error, left: options.times ?? 1, when: options.when ?? (() => true) });
  }

  /**
   * The next call of this name hangs: it is answered at once as the real host answers it at its deadline, and its
   * domain stays hung until releaseHangs().
   */
  hangNext(call: KernelCall | 'exec', times = 1): void {
    this.#hangs.push({ call, left: times });
  }

  releaseHangs(): void {
    this.#hung.length = 0;
  }

  /** Answers commands; the first handler that returns something wins. mkfs.* work without one. */
  onExec(handler: (argv: Argv, options: ExecOptions) => Partial<ExecResult> | undefined): void {
    this.#commands.push(handler);
  }

  /** Adds a disk: an empty block device. */
  addDisk(path: string, sizeBytes: number, part: Partial<BlockDeviceInfo> = {}): void {
    this.machine.disks.set(path, fakeNode('file', { sizeBytes, allocatedBytes: 0 }));
    const plain = { kind: 'disk', readOnly: false, rotational: false, mountedAt: [], children: [] } as const;
    this.devices.push({ path, sizeBytes, ...plain, ...part });
  }

  /** Formats a file or device, as mkfs would. */
  format(path: string, type: string): FakeFilesystem {
    const node = this.machine.need(path, 'mkfs');
    this.#uuids += 1;
    const uuid = `00000000-0000-4000-8000-${String(this.#uuids).padStart(12, '0')}`;
    node.token = `${type}-${uuid}`;
    node.filesystem = fakeFilesystem({ type, uuid, capacityBytes: node.sizeBytes });
    return node.filesystem;
  }

  /** Changes a file's bytes, as a writer on its device would. */
  writeContent(path: string, token: string): void {
    const node = this.machine.need(path, 'write');
    node.token = token;
    node.allocatedBytes = node.sizeBytes;
  }

  kernel(domain: string): Kernel {
    return kernelOver((call, args) =>
      call === 'batch' ? this.#batch(domain, args[0] as readonly BatchCall[]) : this.#run(domain, call, args),
    );
  }

  async exec(argv: Argv, options: ExecOptions = {}): Promise<ExecResult> {
    await this.#admit(options.domain ?? 'exec', 'exec', [argv]);
    for (const handler of this.#commands) {
      const result = handler(argv, options);
      if (!result) continue;
      const { exitCode = 0, stdout = '', stderr = '' } = result;
      if (exitCode !== 0 && !options.okExitCodes?.includes(exitCode))
        throw new AzekuraError('HostFailure', `${argv[0]} failed with exit code ${exitCode}: ${stderr}`, {
          details: { argv, exitCode },
        });
      return { exitCode, stdout, stderr };
    }
    const mkfs = /^mkfs\.(\w+)$/.exec(argv[0].slice(argv[0].lastIndexOf('/') + 1));
    if (mkfs?.[1]) this.format(argv.findLast((word) => word.startsWith('/')) ?? '', mkfs[1]);
    return { exitCode: 0, stdout: '', stderr: '' };
  }

  glanceAtLoop: Host['glanceAtLoop'] = (file) => ({
    loop: this.machine.loopEntries().find((loop) => loop.backingFile === file && !loop.backingDeleted),
  });
  readonly ownFiles: Host['ownFiles'] = {
    read: (path) => this.#sync.readTextFile(path),
    write: (path, text) => this.#sync.writeTextFile(path, text, 0o600, { sync: false }),
    remove: (path) => this.#sync.removeTree(path),
  };
  hungCalls = (): readonly HungCall[] => [...this.#hung];
  mounts = async () => this.machine.mountEntries();
  loops = async () => this.machine.loopEntries();
  blockNodes: Host['blockNodes'] = async (options) =>
    this.nodes.filter(
      ({ name, mapped }) =>
        (options?.names?.has(name) ?? true) && (!mapped || (options?.mapped?.(mapped.uuid) ?? true)),
    );
  diskProblem: Host['diskProblem'] = async () => undefined;
  lockHolder = async () => undefined;
  blockDevices = async () => [...this.devices];
  blockDevice = async (path: string) => this.devices.find((device) => device.path === path);
  glanceAtSpace = async (path: string) => {
    if (this.#hung.length > 0 || !this.machine.find(path)) return undefined;
    const { sizeBytes, freeBytes } = this.#sync.statfs(path) as { sizeBytes: number; freeBytes: number };
    return { sizeBytes, freeBytes };
  };
  /** What ext4HasJournal() answers, by device number. */
  readonly journals = new Map<string, boolean>();
  ext4HasJournal = async (deviceNumber: string) => this.journals.get(deviceNumber);
  holders = async () => [...this.holderNames];
  facts = async () => this.hostFacts;
  close = async () => {};

  /** As if the calls came one by one, so that each can be made to fail or hang. */
  async #batch(domain: string, calls: readonly BatchCall[]): Promise<unknown> {
    const results: unknown[] = [];
    for (const { call, args } of calls) results.push(boxed(await this.#run(domain, call, args)));
    return results;
  }

  async #run(domain: string, call: Exclude<KernelCall, 'batch'>, args: readonly unknown[]): Promise<unknown> {
    await this.#admit(domain, call, args);
    try {
      return structuredClone((this.#sync[call] as (...args: readonly unknown[]) => unknown)(...args));
    } catch (error) {
      throw error instanceof KernelFailureError ? kernelError(error.failure) : error;
    }
  }

  /** Logs the call and lets injected hangs and failures happen, a tick later as in the real host. */
  async #admit(domain: string, call: KernelCall | 'exec', args: readonly unknown[]): Promise<void> {
    this.calls.push({ domain, call, args });
    await Promise.resolve();
    const hang = this.#hangs.find((entry) => entry.call === call && entry.left > 0);
    if (hang) {
      hang.left -= 1;
      this.#hung.push({ domain, call, sinceMs: this.#clock.nowMs(), pid: 4_000_000 + this.#hung.length });
    }
    const hung = this.#hung.find((entry) => isWithin(entry.domain, domain));
    if (hung) throw blamed('Unavailable', makeCause('HungCall', { call: hung.call, what: hung.domain, seconds: 30 }));
    const failure = this.#failures.find((entry) => entry.call === call && entry.left > 0 && entry.when(args));
    if (failure) {
      failure.left -= 1;
      throw failure.error;
    }
  }
}
