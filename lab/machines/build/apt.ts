/**
 * An apt of the lab's own: it reads the host's sources and what the host has installed, and writes its lists and
 * packages into a scratch folder, so that the host's apt does not change.
 */
import { cp, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { command } from '../command.ts';
import { LabError } from '../error.ts';
import { osRelease } from './recipe.ts';

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

export class Apt {
  readonly #config: string;

  private constructor(config: string) {
    this.#config = config;
  }

  /** Of the host's own suite and sources. @param folder is made */
  static async ofHost(folder: string): Promise<Apt> {
    const apt = await Apt.#make(folder, 'Dir::State::status "/var/lib/dpkg/status";');
    // The host's lists, if there are any, save most of the fetching.
    await cp('/var/lib/apt/lists', path.join(folder, 'state', 'lists'), { recursive: true, force: false }).catch(
      () => undefined,
    );
    return apt;
  }

  /** Of another suite of the mirror that the host uses; knows of no installed package. @param folder is made */
  static async ofSuite(folder: string, suite: string, mirror: string): Promise<Apt> {
    const etc = path.join(folder, 'etc');
    await mkdir(etc, { recursive: true });
    await mkdir(path.join(etc, 'apt.conf.d'));
    await writeFile(path.join(etc, 'sources.list'), `deb [signed-by=${keyring}] ${mirror} ${suite} main\n`);
    return Apt.#make(
      folder,
      `Dir::State::status "/dev/null"; Dir::Etc "${etc}"; Dir::Etc::sourcelist "sources.list"; ` +
        'Dir::Etc::sourceparts "/dev/null"; Dir::Etc::preferences "/dev/null"; Dir::Etc::preferencesparts "/dev/null";',
    );
  }

  static async #make(folder: string, settings: string): Promise<Apt> {
    for (const name of ['state/lists/partial', 'cache/archives/partial'])
      await mkdir(path.join(folder, name), { recursive: true });
    const config = path.join(folder, 'apt.conf');
    // What the host says about fetching (proxy, checks of dates) holds here too.
    const host = (await command(['apt-config', 'dump']))
      .split('\n')
      .filter((line) => /^(Acquire|APT::Arch)/.test(line));
    await writeFile(
      config,
      `${host.filter((line) => !line.startsWith('Acquire::IndexTargets')).join('\n')}\n${settings}\nDir::State "${folder}/state"; Dir::Cache "${folder}/cache";\n` +
        'APT::Sandbox::User "root"; Acquire::Languages "none"; Acquire::Retries "3";\n',
    );
    return new Apt(config);
  }

  /** Fetches the lists; again a few times, because a mirror may be busy. */
  async update(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#run(['apt-get', '-qq', 'update'], 300_000);
        return;
      } catch (error) {
        if (attempt === 5) throw error;
        await new Promise((resolve) => setTimeout(resolve, 3_000));
      }
    }
  }

  /** What installing these packages would install. @throws LabError when apt knows one of them not */
  async closure(packages: readonly string[]): Promise<readonly string[]> {
    const plan = await this.#run(['apt-get', '-s', '--no-install-recommends', 'install', ...packages], 60_000);
    return plan
      .split('\n')
      .filter((line) => line.startsWith('Inst '))
      .map((line) => line.split(' ')[1] ?? '');
  }

  /** Puts the packages' files into a folder. */
  async download(packages: readonly string[], folder: string): Promise<void> {
    await mkdir(folder, { recursive: true });
    await this.#run(['apt-get', '-qq', 'download', ...packages], 900_000, folder);
  }

  #run(argv: readonly string[], deadlineMs: number, cwd?: string): Promise<string> {
    return command(argv, { deadlineMs, env: { APT_CONFIG: this.#config }, ...(cwd ? { cwd } : {}) });
  }
}

/** The address of the Debian mirror that the host's apt reads its own suite from. */
export async function hostMirror(): Promise<string> {
  const codename = osRelease().VERSION_CODENAME;
  const targets = await command([
    'apt-get',
    'indextargets',
    '--format',
    '$(REPO_URI) $(RELEASE) $(COMPONENT)',
    'Identifier: Packages',
  ]);
  const found = targets
    .split('\n')
    .map((line) => line.split(' '))
    .find(([, release, component]) => release === codename && component === 'main');
  if (!found?.[0])
    throw new LabError(
      'the Debian mirror of this machine is not in its apt configuration',
      'look at apt-get indextargets',
    );
  return found[0];
}
