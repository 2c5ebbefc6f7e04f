/**
 * systemd as the first process of a PID namespace, with a root of its own over the machine's files: what a unit file really
 * does, without a machine of its own. Loop devices are the machine's: whoever uses some gives them back before the end.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { eventually } from '../workbench.ts';

const init = '/lib/systemd/systemd';

/** Why it cannot run here; undefined when it can. */
export const whyNoSystemd = process.getuid?.() !== 0 ? 'needs root' : existsSync(init) ? undefined : `needs ${init}`;

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export class Systemd {
  readonly #folder: string;
  readonly #holder: ChildProcess;
  readonly #pid: number;

  private constructor(folder: string, holder: ChildProcess, pid: number) {
    this.#folder = folder;
    this.#holder = holder;
    this.#pid = pid;
  }

  /**
   * @param options.unit a unit file, which is started
   * @param options.settings lines of /etc/default/azekura
   */
  static async start(options: { readonly unit: string; readonly settings: readonly string[] }): Promise<Systemd> {
    const folder = mkdtempSync(join(tmpdir(), 'azekura-systemd-'));
    for (const name of ['space', 'root', 'units']) mkdirSync(join(folder, name));
    copyFileSync(options.unit, join(folder, 'units', basename(options.unit)));
    writeFileSync(join(folder, 'units', 'azekura-lab.target'), `[Unit]\nWants=${basename(options.unit)}\n`);
    writeFileSync(join(folder, 'default'), `${options.settings.join('\n')}\n`);
    const enter = [join(import.meta.dirname, 'enter.sh'), folder, resolve('.'), process.execPath, 'azekura-lab.target'];
    const namespaces = ['--mount', '--pid', '--uts', '--ipc', '--cgroup', '--fork', '--kill-child=SIGKILL'];
    const holder = spawn('unshare', [...namespaces, ...enter], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    holder.stderr?.on('data', (chunk) => {
      said += chunk;
    });
    try {
      const pid = await eventually(async () => {
        if (holder.exitCode !== null) throw new Error(`systemd has not started: ${said}`);
        const child = firstChild(holder.pid ?? 0);
        if (child === undefined || !readFileSync(`/proc/${child}/cmdline`, 'utf8').startsWith(init))
          throw new Error(`systemd has not started yet: ${said}`);
        return child;
      }, 20_000);
      const started = new Systemd(folder, holder, pid);
      await eventually(async () => started.ok('systemctl', 'show', '--property=Version'), 20_000);
      return started;
    } catch (error) {
      holder.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Runs a command there. */
  run(command: string, ...args: readonly string[]): Outcome {
    const enter = ['-t', String(this.#pid), '-m', '-p', '-u', '-i', '-C', '-r', '-w'];
    const { status, stdout, stderr } = spawnSync('nsenter', [...enter, command, ...args], { encoding: 'utf8' });
    return { code: status ?? -1, out: stdout, err: stderr };
  }

  /** @throws unless it ends with 0 */
  ok(command: string, ...args: readonly string[]): string {
    const { code, out, err } = this.run(command, ...args);
    if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${out}${err}`);
    return out.trim();
  }

  /** A property of a unit, for example MainPID. */
  property(unit: string, name: string): string {
    return this.ok('systemctl', 'show', '--value', `--property=${name}`, unit);
  }

  /** Ends all of it at once; its mounts go with it. */
  async end(): Promise<void> {
    const ended = new Promise((done) => this.#holder.once('close', done));
    process.kill(this.#pid, 'SIGKILL');
    await ended;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function firstChild(pid: number): number | undefined {
  for (const task of existsSync(`/proc/${pid}/task`) ? readdirSync(`/proc/${pid}/task`) : []) {
    const [child] = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' ');
    if (child) return Number(child);
  }
  return undefined;
}
