// What start and test need on the machine before anything of ours can run. Plain Node without dependencies, since
// node_modules may not exist yet.
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));

/** Programs that `azekura up` calls, with the Debian package of each. */
export const runtimeTools = {
  'mkfs.xfs': 'xfsprogs',
  xfs_repair: 'xfsprogs',
  'mkfs.ext4': 'e2fsprogs',
  e2fsck: 'e2fsprogs',
  resize2fs: 'e2fsprogs',
  lsblk: 'util-linux',
  blkid: 'util-linux',
};

/** What the tests call beyond that. Paths are for programs that Debian keeps out of PATH. */
export const testTools = {
  ...runtimeTools,
  fio: 'fio',
  git: 'git',
  zsh: 'zsh',
  fish: 'fish',
};

/** Ends the program with one sentence and, where there is one, the next step. */
export function fail(message, next) {
  console.error(`Error: ${message}`);
  if (next) console.error(`Next: ${next}`);
  process.exit(1);
}

/** Fails unless this Node can run us. */
export function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 20)) {
    fail(`Node.js ${process.versions.node} is too old`, 'install Node.js 20.20 or newer (20, 22 and 24 are tested)');
  }
  if (process.platform !== 'linux') fail(`Azekura runs on Linux, not on ${process.platform}`);
}

/** Whether a program is on PATH or in one of the folders for administrators. */
export function hasProgram(name) {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return folders.some((folder) => folder && existsSync(path.join(folder, name)));
}

/** Installs the packages of missing programs by apt; where there is no apt, says which are missing. */
export function requireTools(tools) {
  const missing = Object.keys(tools).filter((tool) => !hasProgram(tool));
  if (missing.length === 0) return;
  installPackages([...new Set(missing.map((tool) => tools[tool]))]);
}

/** Installs Debian packages; fails with the list where that is not possible. */
export function installPackages(packages) {
  const list = packages.join(' ');
  if (!hasProgram('apt-get'))
    fail(`these packages are missing: ${list}`, 'install them with your package manager, then try again');
  if (process.getuid?.() !== 0) fail(`these packages are missing: ${list}`, `run as root: apt-get install ${list}`);
  console.log(`Installing ${list} …`);
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const install = () =>
    run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], { env: environment, quiet: true });
  if (install() !== 0) {
    run('apt-get', ['update', '-qq'], { env: environment, quiet: true });
    if (install() !== 0)
      fail(
        `apt-get could not install ${list}`,
        `run "apt-get update && apt-get install ${list}" and read what it says`,
      );
  }
}

/** Installs the npm packages of the lock file, unless that was done since it changed. */
export function requireNodeModules() {
  const lock = path.join(root, 'package-lock.json');
  const mark = path.join(root, 'node_modules', '.package-lock.json');
  if (existsSync(mark) && statSync(mark).mtimeMs >= statSync(lock).mtimeMs) return;
  const modules = path.join(root, 'node_modules');
  // npm would empty the folder that the link leads to, which belongs to another checkout.
  if (lstatSync(modules, { throwIfNoEntry: false })?.isSymbolicLink())
    fail(
      'node_modules is a link to another checkout, whose packages are older',
      'remove the link, or update them there',
    );
  console.log('Installing npm packages …');
  if (run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']) !== 0)
    fail('npm ci failed', 'read its output above');
}

/** Runs a program in the project's folder; returns its exit code. Quiet output is shown only when it fails. */
export function run(program, args, { env = process.env, quiet = false } = {}) {
  const result = spawnSync(program, args, {
    cwd: root,
    env,
    stdio: quiet ? ['ignore', 'pipe', 'pipe'] : ['ignore', 'inherit', 'inherit'],
  });
  if (quiet && result.status !== 0) process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`);
  return result.status ?? 1;
}

export const version = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')).version;
