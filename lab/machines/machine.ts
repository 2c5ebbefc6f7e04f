/** One machine of a lab: a real kernel in a process, with its own disks and two network cards. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Build } from './build/build.ts';
import { Channel, type ExecOptions, type ExecResult, type RemoteProcess } from './channel.ts';
import { command, type ProcessIdentity, processIdentity, waitUntil } from './command.ts';
import { DiskServer } from './disk-server/client.ts';
import { type DiskSpec, deviceOf, diskName, planDisk } from './disks.ts';
import { LabError } from './error.ts';
import type { DiskRecord, LabFolder, MachineRecord } from './folder.ts';
import { guestFolder, inNamespaces } from './keeper.ts';
import { MachineDisk } from './machine-disk.ts';

/** A command on a machine has ended with another exit code than 0. */
export class RemoteCommandFailed extends LabError {
  readonly result: ExecResult;

  constructor(machine: string, argv: readonly string[], result: ExecResult) {
    const words = (result.stderr.trim() || result.stdout.trim()).split('\n').slice(-6).join('; ');
    super(`${machine}: ${argv.join(' ').slice(0, 300)}: ${words || `exit code ${result.exitCode}`}`);
    this.result = result;
  }
}

export interface MachineOptions {
  readonly folder: LabFolder;
  readonly build: Build;
  readonly keeper: ProcessIdentity;
}

export interface BootOptions {
  /** Boot to first command takes 2 to 4 s on an idle host; 90 000 unless told. */
  readonly deadlineMs?: number;
}

export class Machine {
  readonly number: number;
  /** n1, n2 …; other machines reach it by this name. */
  readonly name: string;
  /** A folder on the host that the machine sees as /share, live, read-write. */
  readonly share: string;
  readonly #folder: LabFolder;
  readonly #home: string;
  readonly #build: Build;
  readonly #keeper: ProcessIdentity;
  readonly #server: DiskServer;
  readonly #channel: Channel;

  constructor(number: number, options: MachineOptions) {
    this.number = number;
    this.name = `n${number}`;
    this.#folder = options.folder;
    this.#home = options.folder.machineFolder(number);
    this.share = path.join(this.#home, 'share');
    this.#build = options.build;
    this.#keeper = options.keeper;
    this.#server = new DiskServer(options.folder.path, options.keeper);
    this.#channel = new Channel({
      machine: this.name,
      address: `10.78.0.${number}`,
      controlPath: path.join(this.#home, 'ssh'),
      keeper: options.keeper,
      build: options.build,
    });
  }

  /** Address on the storage network, the one that partitions cut. */
  get address(): string {
    return `10.77.0.${this.number}`;
  }

  get consolePath(): string {
    return path.join(this.#home, 'console.log');
  }

  get record(): MachineRecord {
    return this.#folder.readMachine(this.number);
  }

  get disks(): readonly MachineDisk[] {
    return this.record.disks.map((disk) => this.#disk(disk));
  }

  /** By its device in the machine. @throws LabError when the machine has no such disk */
  disk(device: string): MachineDisk {
    const wanted = device.startsWith('/dev/') ? device : `/dev/${device}`;
    const found = this.disks.find((disk) => disk.device === wanted);
    if (found) return found;
    const present = this.disks.map((disk) => disk.device).join(', ');
    throw new LabError(`${this.name} has no disk ${wanted}`, `it has ${present || 'none'}`);
  }

  /** The host's process that is the machine; undefined while it is off. */
  get process(): ProcessIdentity | undefined {
    const wanted = [`umid=${this.name}`, `uml_dir=${this.#folder.path}/umid`];
    for (const entry of readdirSync('/proc')) {
      if (!/^\d+$/.test(entry)) continue;
      const words = readQuietly(`/proc/${entry}/cmdline`).split('\0');
      if (!wanted.every((word) => words.includes(word)) || !words[0]?.endsWith('/linux')) continue;
      const identity = processIdentity(Number(entry));
      // Its helper processes look the same; the machine leads their group.
      const group = readQuietly(`/proc/${entry}/stat`)
        .replace(/^.*\) /s, '')
        .split(' ')[2];
      if (identity && group === entry) return identity;
    }
    return undefined;
  }

  get running(): boolean {
    return this.process !== undefined;
  }

  /** Starts the machine and waits until commands can be run on it. @throws LabError when it runs already or does not come up */
  async boot(options: BootOptions = {}): Promise<void> {
    if (this.running) throw new LabError(`${this.name} is running already`);
    const record = this.record;
    if (record.disks.some((disk) => disk.kind === 'controlled')) await this.#serveControlled(record.disks);
    const plain = record.disks.filter((disk) => disk.kind === 'plain');
    rmSync(path.join(this.#folder.path, 'umid', this.name), { recursive: true, force: true });
    this.#writeBootFiles(record);
    const console = openSync(this.consolePath, 'a');
    const offset = statSync(this.consolePath).size;
    const [program = '', ...args] = [
      ...inNamespaces(this.#keeper),
      // With --fork the keeper is its parent. nsenter would stop itself when the machine hangs, and never end with the lab.
      ...['setsid', '--fork', this.#build.kernel, `umid=${this.name}`, `uml_dir=${this.#folder.path}/umid`],
      ...[`mem=${record.memory}`, 'root=/dev/root', 'rootfstype=hostfs', 'rootflags=/', 'ro'],
      ...[`init=${guestFolder}/init`, `lab=${this.#home}`],
      `vec0:transport=tap,ifname=s${this.number},depth=64,gro=1,mac=02:77:00:00:00:0${this.number}`,
      `vec1:transport=tap,ifname=m${this.number},depth=64,gro=1,mac=02:78:00:00:00:0${this.number}`,
      ...plain.map((disk) => `ubd${disk.slot}=${disk.file},,${diskName(this.number, disk)}`),
      ...['con=null', 'con0=null,fd:1', 'ssl=null', 'quiet', 'panic=5', 'noreboot', 'seccomp=on'],
      // Each LVM command looks at all of /dev, and most of that would be old terminals.
      'pty.legacy_count=0',
      ...record.kernelArguments,
    ];
    const child = spawn(program, args, { detached: true, stdio: ['ignore', console, console], cwd: '/' });
    closeSync(console);
    const left = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('exit', (code) => resolve(code === 0 ? '' : `nsenter ended with ${code}`));
    });
    const failure = await left;
    if (failure) throw new LabError(`${this.name} cannot be started: ${failure}`);
    const output = () => readFileSync(this.consolePath, 'utf8').slice(offset);
    const tail = () => /Kernel panic.*/.exec(output())?.[0] ?? output().trim().split('\n').slice(-4).join('; ');
    const deadlineMs = options.deadlineMs ?? 90_000;
    await waitUntil(
      () => output().includes(`LAB-UP ${this.name} `) || /^Kernel panic/m.test(output()),
      deadlineMs,
      () => `${this.name} did not come up in ${deadlineMs} ms: ${tail()}`,
    );
    if (!output().includes('LAB-UP') || !this.running)
      throw new LabError(`${this.name} ended while it started: ${tail()}`);
    const complaint = /^LAB-ERROR (.*)$/m.exec(output())?.[1];
    if (complaint) throw new LabError(`${this.name}: ${complaint}`);
    await this.#channel.connect(deadlineMs);
  }

  /** Cuts the power: nothing more is done, disks keep what had reached them. Safe to repeat. */
  async powerCut(): Promise<void> {
    const running = this.process;
    if (running) {
      try {
        process.kill(-running.pid, 'SIGKILL');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
    await this.#channel.close();
    if (running)
      await waitUntil(
        () => !processIdentity(running.pid),
        10_000,
        () => `process ${running.pid} of ${this.name} does not end`,
      );
    if (this.#server.running) await this.#server.send({ do: 'power-cut', prefix: `${this.name}c` });
  }

  /** Freezes the whole machine: it answers nothing, and its disks see nothing. */
  hang(): void {
    process.kill(-this.#mustRun().pid, 'SIGSTOP');
  }

  resume(): void {
    process.kill(-this.#mustRun().pid, 'SIGCONT');
  }

  /** Runs a command; resolves with its output. @throws RemoteCommandFailed for an exit code other than 0 */
  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    const result = await this.run(argv, options);
    if (result.exitCode !== 0) throw new RemoteCommandFailed(this.name, argv, result);
    return result;
  }

  /** Runs a command to its end, whatever its exit code. @throws LabError when the machine does not answer in time */
  async run(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    this.#mustRun();
    return this.#channel.run(argv, options);
  }

  /** Runs lines of sh that end at the first failure; resolves with the trimmed output. @throws RemoteCommandFailed */
  async sh(script: string, options: ExecOptions = {}): Promise<string> {
    return (await this.exec(['sh', '-euc', script], options)).stdout.trim();
  }

  /** Starts a command whose streams the caller reads and writes; it ends with 255 when the power is cut. */
  start(argv: readonly string[], options: Omit<ExecOptions, 'input' | 'deadlineMs'> = {}): RemoteProcess {
    this.#mustRun();
    return this.#channel.start(argv, options);
  }

  /** The host's command line that runs a command on the machine, over the connection that is there. */
  entering(argv: readonly string[], env: Readonly<Record<string, string>> = {}): readonly string[] {
    return this.#channel.entering(argv, env);
  }

  /** Hands this program's terminal to a command, or to a shell; resolves with the exit code. */
  attach(argv: readonly string[]): Promise<number> {
    this.#mustRun();
    return this.#channel.attach(argv);
  }

  /** Adds a disk, while the machine runs or not. */
  async addDisk(spec: DiskSpec): Promise<MachineDisk> {
    const record = this.record;
    const folder = path.join(this.#folder.path, 'disks');
    const place = { folder, machine: this.number, present: record.disks, running: this.running };
    const disk = planDisk(place, spec);
    this.#folder.writeMachine({ ...record, disks: [...record.disks, disk] });
    if (disk.kind === 'controlled') await this.#serveControlled([disk]);
    const added = this.#disk(disk);
    if (this.running) await added.plugIn();
    return added;
  }

  /** Shows a folder of the host in the running machine, live. @param to default: the same path */
  async mount(from: string, options: { readonly to?: string; readonly writable?: boolean } = {}): Promise<void> {
    const to = options.to ?? from;
    await this.exec(['mkdir', '-p', to]);
    await this.exec(['mount', '-t', 'hostfs', '-o', `${options.writable ? 'rw' : 'ro'},${from}`, 'none', to]);
  }

  /** A request to the machine's management console, such as `sysrq b`; resolves with the answer. */
  console(...words: readonly string[]): Promise<string> {
    this.#mustRun();
    const socket = path.join(this.#folder.path, 'umid', this.name, 'mconsole');
    const reply = path.join(this.#home, `mc.${process.pid}.${performance.now()}`);
    return command(['perl', path.join(guestFolder, 'mconsole.pl'), socket, reply, ...words], { deadlineMs: 15_000 });
  }

  async #serveControlled(disks: readonly DiskRecord[]): Promise<void> {
    await this.#server.start();
    for (const disk of disks) {
      if (disk.kind !== 'controlled') continue;
      const name = diskName(this.number, disk);
      const log = disk.log ? { log: disk.log } : {};
      await this.#server.send({ do: 'create', name, base: disk.file, sizeBytes: disk.sizeBytes, ...log });
      if (disk.ignoreFlush) await this.#server.send({ do: 'ignore-flush', name, on: true });
    }
  }

  #writeBootFiles(record: MachineRecord): void {
    const network = record.disks.filter((disk) => disk.kind === 'controlled');
    const lines = {
      machine: this.name,
      storage: `${this.address}/24`,
      management: `10.78.0.${this.number}/24`,
      build: this.#build.folder,
      shared: path.join(this.#folder.path, 'shared'),
      node: process.execPath,
      project: record.project ?? '',
      network_disks: network.map((disk) => `${diskName(this.number, disk)}:${disk.slot}`).join(' '),
    };
    writeFileSync(
      path.join(this.#home, 'boot.env'),
      Object.entries(lines)
        .map(([name, value]) => `${name}='${value}'\n`)
        .join(''),
    );
    writeFileSync(
      path.join(this.#home, 'mounts'),
      record.mounts.map(({ from, to, writable }) => `${writable ? 'rw' : 'ro'} ${from} ${to}\n`).join(''),
    );
  }

  #disk(record: DiskRecord): MachineDisk {
    return new MachineDisk({
      record,
      device: deviceOf(record),
      name: diskName(this.number, record),
      machine: this,
      server: this.#server,
      forget: () => {
        const now = this.record;
        const disks = now.disks.filter((disk) => disk.kind !== record.kind || disk.slot !== record.slot);
        this.#folder.writeMachine({ ...now, disks });
      },
    });
  }

  #mustRun(): ProcessIdentity {
    const running = this.process;
    if (running) return running;
    this.#folder.readMachine(this.number);
    throw new LabError(`${this.name} is off`, `boot it: npm run lab -- boot ${this.number}`);
  }
}

function readQuietly(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
