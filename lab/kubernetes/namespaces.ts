/**
 * One member of a lab: the control plane or a node, as a set of Linux namespaces with `pause` as process 1. Killing that
 * ends everything in them, like a power cut. All that is known of a member lies in its folder, so that any process can
 * take over.
 */
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { cacheRoot } from '../go.ts';
import { binary } from './binaries.ts';
import { CommandFailed, type RunOptions, type RunResult, run, sleep, tryRun, until } from './exec.ts';
import { labSources, projectRoot } from './paths.ts';
import { isRunning, killRecorded, recordedProcess, recordProcess } from './process-record.ts';

export const inside = (script: string): string => join(labSources, 'inside', script);

export interface MemberOptions {
  /** cp, node1, … */
  readonly name: string;
  /** Everything of this member lies in here: log/, pid/, cmd/, root/. */
  readonly folder: string;
  /** Without it the member shares the host's network. */
  readonly ownNetwork: boolean;
  /** Folders that the member has of its own, kept in root/. They must exist on the host. */
  readonly ownFolders: readonly string[];
}

/** A command line that stays: kept in a file, so that it can be started again. */
interface Command {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Started by the lab itself, not again by whoever starts the node again. */
  readonly own: boolean;
}

export class Member {
  readonly name: string;
  readonly folder: string;
  readonly #options: MemberOptions;

  constructor(options: MemberOptions) {
    this.name = options.name;
    this.folder = options.folder;
    this.#options = options;
  }

  /** Whether it is a machine: what its kernel has not written is lost at a power cut. */
  get ownKernel(): boolean {
    return false;
  }

  path(...parts: readonly string[]): string {
    return join(this.folder, ...parts);
  }

  /** The process 1 of the namespaces, as the host counts; undefined when the member is down. */
  get holder(): number | undefined {
    return recordedProcess(this.path('holder'));
  }

  /** The folders that the host has of it; of processes that ran before nothing is known any more. */
  protected prepareFolder(): void {
    for (const folder of ['log', 'pid', 'cmd']) mkdirSync(this.path(folder), { recursive: true });
    rmSync(this.path('pid'), { recursive: true });
    mkdirSync(this.path('pid'));
  }

  /** Makes the namespaces. @throws Error when they do not come up */
  async start(): Promise<void> {
    this.prepareFolder();
    const { ownNetwork, ownFolders } = this.#options;
    const log = openSync(this.path('log', 'holder.log'), 'w');
    const argv = [
      ...['--mount', ...(ownNetwork ? ['--net'] : []), '--uts', '--ipc', '--pid', '--fork', '--kill-child'],
      ...['--mount-proc', '--propagation', 'private'],
      ...[inside('holder.sh'), binary('pause'), this.path('root'), ...ownFolders],
    ];
    const needed = [projectRoot, realpathSync(join(projectRoot, 'node_modules')), cacheRoot(), process.execPath];
    const env = { ...process.env, NODE: this.name, OWN_NETWORK: ownNetwork ? '1' : '', NEEDED: needed.join(':') };
    const outer = spawn('unshare', argv, { detached: true, stdio: ['ignore', log, log], env });
    outer.unref();
    const outerPid = outer.pid;
    if (outerPid === undefined) throw new Error(`${this.name}: unshare cannot be started`);
    recordProcess(this.path('outer'), outerPid);
    await until(`${this.name}: namespaces`, 20_000, () => {
      if (!isRunning(outerPid)) throw new Error(readFileSync(this.path('log', 'holder.log'), 'utf8'));
      const child = Number(readFileSync(`/proc/${outerPid}/task/${outerPid}/children`, 'utf8').split(' ')[0]);
      if (!child || readFileSync(`/proc/${child}/comm`, 'utf8').trim() !== 'pause') return false;
      recordProcess(this.path('holder'), child);
      return true;
    });
  }

  /** As if the power went: everything in the namespaces ends at once. Returns when it has. */
  async kill(): Promise<void> {
    const { holder } = this;
    killRecorded(this.path('holder'));
    killRecorded(this.path('outer'));
    // The kernel lets process 1 end only after all others of its namespace.
    if (holder !== undefined) await until(`${this.name}: the end of its processes`, 30_000, () => !isRunning(holder));
  }

  /** The argument list that runs a command in all namespaces of this member. */
  entering(argv: readonly string[], env: Readonly<Record<string, string>> = {}): string[] {
    const holder = this.holder;
    if (holder === undefined) throw new Error(`${this.name} is not running`);
    const namespaces = ['-m', '-u', '-i', '-p', ...(this.#options.ownNetwork ? ['-n'] : [])];
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    return ['nsenter', '-t', String(holder), ...namespaces, '--wd=/', '--', 'env', ...variables, ...argv];
  }

  /** Runs a command inside to its end. */
  async tryExec(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return tryRun(this.entering(argv), options);
  }

  /** @throws CommandFailed */
  async exec(argv: readonly string[], options: RunOptions = {}): Promise<string> {
    const result = await this.tryExec(argv, options);
    if (result.code !== 0) throw new CommandFailed([`${this.name}:`, ...argv], result);
    return result.stdout;
  }

  /** Starts a process inside that stays; its output goes to log/NAME.log. @throws Error when it runs already */
  async spawn(
    name: string,
    argv: readonly string[],
    { env = {}, own = false }: { readonly env?: Readonly<Record<string, string>>; readonly own?: boolean } = {},
  ): Promise<void> {
    if (this.runs(name)) throw new Error(`${name} runs already on ${this.name}`);
    const command: Command = { argv, env, own };
    writeFileSync(this.path('cmd', name), JSON.stringify(command), { mode: 0o600 });
    const script = [inside('spawn.sh'), this.path('pid', name), this.path('log', `${name}.log`)];
    await run(this.entering([...script, ...argv], env));
  }

  /** Whether a process that was spawned is there. */
  runs(name: string): boolean {
    const holder = this.holder;
    if (holder === undefined || !existsSync(this.path('pid', name))) return false;
    // The member's own /proc counts as the member does.
    const pid = readFileSync(this.path('pid', name), 'utf8').trim();
    return pid !== '' && this.hasProcess(holder, pid);
  }

  /** Whether a process is there, as the member counts. */
  protected hasProcess(holder: number, pid: string): boolean {
    return existsSync(`/proc/${holder}/root/proc/${pid}`);
  }

  /** Names of all processes that were spawned and not stopped. */
  get processes(): readonly string[] {
    return existsSync(this.path('pid')) ? readdirSync(this.path('pid')) : [];
  }

  /**
   * Ends a process: SIGTERM, and SIGKILL after graceSeconds. With 0 it is killed at once.
   * `forget` also removes its command line, so that it does not come back with the node.
   */
  async stop(name: string, { graceSeconds = 5, forget = false } = {}): Promise<void> {
    if (this.holder !== undefined && existsSync(this.path('pid', name)))
      await this.tryExec(
        graceSeconds === 0
          ? [
              'bash',
              '-c',
              'kill -9 "$(<"$1")"; while [[ -d /proc/$(<"$1") ]]; do sleep 0.02; done; rm "$1"',
              '-',
            ].concat(this.path('pid', name))
          : [inside('stop.sh'), this.path('pid', name), String(graceSeconds)],
      );
    if (forget) rmSync(this.path('cmd', name), { force: true });
  }

  /** Sends a signal to a process and does not wait, such as SIGSTOP. */
  async signal(name: string, signal: string): Promise<void> {
    await this.exec(['kill', '-s', signal.replace(/^SIG/, ''), readFileSync(this.path('pid', name), 'utf8').trim()]);
  }

  /** Starts a process again as it was started before, with more arguments. It is stopped first if it runs. */
  async again(name: string, more: readonly string[] = []): Promise<void> {
    if (!existsSync(this.path('cmd', name))) throw new Error(`no process ${name} on ${this.name}`);
    const { argv, env, own } = JSON.parse(readFileSync(this.path('cmd', name), 'utf8')) as Command;
    await this.stop(name, { graceSeconds: 2 });
    await this.spawn(name, [...argv, ...more], { env, own });
  }

  /** Starts what was spawned here, by others than the lab, before the power went. */
  async revive(): Promise<void> {
    for (const name of readdirSync(this.path('cmd'))) {
      const { own } = JSON.parse(readFileSync(this.path('cmd', name), 'utf8')) as Command;
      if (!own) await this.again(name);
    }
  }

  log(name: string): string {
    return readFileSync(this.path('log', `${name}.log`), 'utf8');
  }

  /** Waits for something that a process shall do; fails at once when the process is gone. */
  async waitFor(
    name: string,
    timeoutMs: number,
    ready: () => Promise<boolean> | boolean,
    everyMs = this.ownKernel ? 500 : 50,
  ): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    for (;;) {
      if (await Promise.resolve(ready()).catch(() => false)) return;
      const gone = !this.runs(name);
      if (gone || performance.now() > endMs) {
        const last = this.log(name).trim().split('\n').slice(-5).join('\n');
        throw new Error(
          `${this.name}: ${name} ${gone ? 'ended' : `was not ready after ${timeoutMs / 1000} s`}:\n${last}`,
        );
      }
      await sleep(everyMs);
    }
  }
}
