/** The process that holds a lab's namespaces, and programs that run in them. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Writable } from 'node:stream';
import type { Build } from './build/build.ts';
import { type CommandOptions, command, isAlive, type ProcessIdentity, processIdentity, waitUntil } from './command.ts';
import { LabError } from './error.ts';

export const guestFolder = path.join(import.meta.dirname, 'guest');

/** Upper limit of all machines' memory together; it is taken only as they use it. */
const sharedMemory = '16G';

export interface StartedKeeper {
  readonly identity: ProcessIdentity;
  /** The lab outlives this program from now on. */
  readonly keep: () => void;
}

/**
 * Makes the namespaces of a lab. They live until the keeper is killed or this program ends, however it ends, unless
 * `keep` was called.
 *
 * @throws LabError when the host does not allow it
 */
export async function startKeeper(labFolder: string): Promise<StartedKeeper> {
  const errors = openSync(path.join(labFolder, 'keeper.log'), 'a');
  const child = spawn(
    'unshare',
    [
      ...['--net', '--pid', '--mount', '--propagation', 'slave', '--fork', '--kill-child=KILL', '--'],
      ...['sh', path.join(guestFolder, 'keeper'), labFolder, sharedMemory],
    ],
    { detached: true, stdio: ['pipe', 'pipe', errors], cwd: '/' },
  );
  closeSync(errors);
  const { stdin, stdout } = child;
  if (!stdin || !stdout) throw new LabError('the keeper has no pipes');
  const failed = (cause: unknown) =>
    new LabError(
      `the lab cannot make namespaces: ${String(cause)}`,
      'run as root, where unshare, mount and network namespaces are allowed',
    );
  const pid = await new Promise<number>((resolve, reject) => {
    child.once('error', (error) => reject(failed(error.message)));
    child.once('exit', (code) => reject(failed(`unshare ended with ${code}`)));
    createInterface(stdout).once('line', (line) => resolve(Number(line.split(' ')[1])));
  });
  const identity = processIdentity(pid);
  if (!identity) throw failed('the keeper is gone');
  stdin.on('error', () => undefined);
  // Neither the process nor its pipes hold up the end of this program.
  child.unref();
  (stdin as Writable & { unref?: () => void }).unref?.();
  stdout.destroy();
  return { identity, keep: () => stdin.write('keep\n') };
}

/** Ends everything that lives in the namespaces, and waits until it is gone. */
export async function endKeeper(keeper: ProcessIdentity | undefined): Promise<void> {
  if (!keeper || !isAlive(keeper)) return;
  process.kill(keeper.pid, 'SIGKILL');
  await waitUntil(
    () => !isAlive(keeper),
    20_000,
    () => `process ${keeper.pid} of the lab does not end`,
  );
}

/** Starts of a command line that run in the lab's network, or in all of its namespaces. */
export function inNetwork(keeper: ProcessIdentity): readonly string[] {
  return ['nsenter', `--net=/proc/${keeper.pid}/ns/net`, '--'];
}

export function inNamespaces(keeper: ProcessIdentity): readonly string[] {
  return ['nsenter', '--target', String(keeper.pid), '--net', '--pid', '--mount', '--'];
}

/** A program of the host, or where the host lacks it, the one that was fetched for the machines. */
export function hostProgram(
  build: Pick<Build, 'root'>,
  name: string,
): { readonly path: string; readonly env: Record<string, string> } {
  const folders = ['usr/sbin', 'usr/bin'];
  const own = folders.map((folder) => path.join('/', folder, name)).find((file) => existsSync(file));
  if (own) return { path: own, env: {} };
  const fetched = folders.map((folder) => path.join(build.root, folder, name)).find((file) => existsSync(file));
  if (!fetched) throw new LabError(`the program ${name} is missing`, `install ${name}`);
  return { path: fetched, env: { LD_LIBRARY_PATH: path.join(build.root, 'usr/lib/x86_64-linux-gnu') } };
}

/** Runs such a program in the lab's network. */
export async function runInNetwork(
  keeper: ProcessIdentity,
  build: Pick<Build, 'root'>,
  argv: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const [name = '', ...args] = argv;
  const program = hostProgram(build, name);
  return command([...inNetwork(keeper), program.path, ...args], {
    ...options,
    env: { ...program.env, ...options.env },
  });
}
