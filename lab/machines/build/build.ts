/**
 * Puts the machines' files together from Debian packages, once: kernel, its modules, the programs, and the lab's keys.
 *
 *   linux     the User Mode Linux kernel, made to run with the C library beside it
 *   libc/     that library
 *   root/     what a machine sees over the host's files
 *   keys/     of the machines and of the login
 *   versions  the packages
 */
import { chmod, cp, mkdir, mkdtemp, readdir, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { command, runProgram } from '../command.ts';
import { LabError } from '../error.ts';
import { Apt, hostMirror } from './apt.ts';
import { buildFolder, cacheRoot, hostPackages, kernelSuite, leftOut, machinePackages } from './recipe.ts';

const libraries = 'usr/lib/x86_64-linux-gnu';
/** Folders of other recipes that nobody has used for this long are removed. */
const unusedMs = 14 * 24 * 3_600_000;

export interface Build {
  readonly folder: string;
  readonly kernel: string;
  readonly root: string;
  readonly keys: string;
}

/** The files of a folder that is there. */
export function buildIn(folder: string): Build {
  return {
    folder,
    kernel: path.join(folder, 'linux'),
    root: path.join(folder, 'root'),
    keys: path.join(folder, 'keys'),
  };
}

/**
 * The machines' files, built when they are not in the cache (20 to 60 seconds).
 *
 * @param report takes one line for each step of a build
 * @throws LabError on a machine that is not Debian on amd64, or without its mirror
 */
export async function machineFiles(report: (line: string) => void = () => undefined): Promise<Build> {
  const folder = await buildFolder();
  const build = buildIn(folder);
  if (await exists(path.join(folder, 'versions'))) {
    const now = new Date();
    await utimes(folder, now, now).catch(() => undefined);
    return build;
  }
  await requireDebian();
  await mkdir(cacheRoot(), { recursive: true });
  const scratch = await mkdtemp(`${folder}.new-`);
  const started = performance.now();
  try {
    await assemble(scratch, folder, report);
    // Whoever renames first wins; the other's is the same.
    await rename(path.join(scratch, 'new'), folder).catch(async (error: unknown) => {
      if (!(await exists(path.join(folder, 'versions')))) throw error;
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  const kernelVersion = (await command([build.kernel, '--version'])).trim();
  report(`built ${folder} in ${Math.round((performance.now() - started) / 1000)} s, kernel ${kernelVersion}`);
  await removeUnused(folder);
  return build;
}

async function assemble(scratch: string, folder: string, report: (line: string) => void): Promise<void> {
  const made = path.join(scratch, 'new');
  const root = path.join(made, 'root');
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    await mkdir(path.join(root, 'usr', name), { recursive: true });
    await symlink(`usr/${name}`, path.join(root, name));
  }
  await mkdir(path.join(made, 'libc'));
  await mkdir(path.join(made, 'keys'), { mode: 0o700 });

  report(`fetching the kernel from Debian ${kernelSuite} and the packages of the machines`);
  const kernelDebs = path.join(scratch, 'kernel-debs');
  const debs = path.join(scratch, 'debs');
  const mirror = await hostMirror();
  const fetchKernel = async () => {
    const apt = await Apt.ofSuite(path.join(scratch, 'apt-kernel'), kernelSuite, mirror);
    await apt.update();
    await apt.download(['user-mode-linux', 'libc6'], kernelDebs);
  };
  const fetchPackages = async () => {
    const apt = await Apt.ofHost(path.join(scratch, 'apt'));
    await apt.update();
    const closure = await apt.closure([...machinePackages, ...hostPackages]);
    const wanted = new Set([...machinePackages, ...closure].filter((name) => !leftOut.test(name)));
    await apt.download([...wanted].sort(), debs);
    await apt.download(['patchelf'], path.join(scratch, 'tool-debs'));
  };
  // Both to their end: what one still writes must not outlive the scratch folder.
  for (const result of await Promise.allSettled([fetchKernel(), fetchPackages()]))
    if (result.status === 'rejected') throw result.reason;

  report('unpacking');
  const kernelTree = path.join(scratch, 'kernel');
  const toolTree = path.join(scratch, 'tool');
  for (const deb of await filesIn(kernelDebs)) await command(['dpkg-deb', '-x', deb, kernelTree]);
  for (const deb of await filesIn(path.join(scratch, 'tool-debs'))) await command(['dpkg-deb', '-x', deb, toolTree]);
  for (const deb of await filesIn(debs)) await unpack(deb, root, path.join(scratch, 'unpacked'));

  await cp(path.join(kernelTree, libraries), path.join(made, 'libc'), { recursive: true, verbatimSymlinks: true });
  const kernel = path.join(made, 'linux');
  await cp(path.join(kernelTree, 'usr/bin/linux.uml'), kernel);
  await chmod(kernel, 0o755);
  await command([
    path.join(toolTree, 'usr/bin/patchelf'),
    '--set-interpreter',
    path.join(folder, 'libc/ld-linux-x86-64.so.2'),
    '--set-rpath',
    path.join(folder, 'libc'),
    kernel,
  ]);
  await cp(path.join(kernelTree, 'usr/lib/uml/modules'), path.join(root, 'usr/lib/modules'), {
    recursive: true,
    verbatimSymlinks: true,
  });

  const env = { LD_LIBRARY_PATH: path.join(root, libraries) };
  await command([path.join(root, 'usr/bin/dropbearkey'), '-t', 'ed25519', '-f', path.join(made, 'keys/host')], { env });
  const keygen = (await exists('/usr/bin/ssh-keygen')) ? '/usr/bin/ssh-keygen' : path.join(root, 'usr/bin/ssh-keygen');
  await command([keygen, '-q', '-t', 'ed25519', '-N', '', '-C', 'azekura-lab', '-f', path.join(made, 'keys/id')], {
    env,
  });
  await writeFile(
    path.join(made, 'versions'),
    await versions([...(await filesIn(kernelDebs)), ...(await filesIn(debs))]),
  );
}

/** Unpacks one package into a tree whose /bin, /lib … are links into /usr, without its documents. */
async function unpack(deb: string, root: string, scratch: string): Promise<void> {
  await command(['dpkg-deb', '--extract', deb, scratch]);
  for (const name of ['doc', 'man', 'locale'])
    await rm(path.join(scratch, 'usr/share', name), { recursive: true, force: true });
  // dpkg-deb would replace the links by folders of that name; tar goes through them.
  await command(['tar', '-c', '-f', `${scratch}.tar`, '-C', scratch, '.']);
  await command(['tar', '-x', '--keep-directory-symlink', '--no-same-owner', '-f', `${scratch}.tar`, '-C', root]);
  await rm(scratch, { recursive: true });
}

async function versions(debs: readonly string[]): Promise<string> {
  const lines: string[] = [];
  for (const deb of debs) lines.push(await command(['dpkg-deb', '-W', `--showformat=\${Package} \${Version}\n`, deb]));
  return lines.sort().join('');
}

async function requireDebian(): Promise<void> {
  const next = 'run the lab on Debian, amd64';
  const { stdout } = await runProgram(['dpkg', '--print-architecture']).catch(() => ({ stdout: '' }));
  if (stdout.trim() !== 'amd64') throw new LabError('the lab needs Debian on amd64', next);
  if (!(await exists('/usr/share/keyrings/debian-archive-keyring.gpg')))
    throw new LabError('the keys of the Debian archive are missing', 'apt-get install debian-archive-keyring');
}

async function removeUnused(current: string): Promise<void> {
  for (const name of await readdir(cacheRoot())) {
    const folder = path.join(cacheRoot(), name);
    if (!name.startsWith('machines-') || folder === current) continue;
    const { mtimeMs } = await stat(folder);
    if (Date.now() - mtimeMs > unusedMs) await rm(folder, { recursive: true, force: true });
  }
}

async function filesIn(folder: string): Promise<readonly string[]> {
  return (await readdir(folder)).sort().map((name) => path.join(folder, name));
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}
