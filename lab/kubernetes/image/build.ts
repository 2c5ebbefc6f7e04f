/**
 * Makes container images without a container engine or a registry, as docker-archives that `ctr images import` reads.
 * Programs, libraries and packages are this machine's.
 */
import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { cacheRoot } from '../../go.ts';
import { run, tryRun } from '../exec.ts';
import { pruneArchives } from './prune.ts';
import { Tar } from './tar.ts';

/** One layer. Layers that stay the same are unpacked once by a node, however often the others change. */
export interface Layer {
  /** busybox with all its applets, /etc/passwd and /tmp. */
  readonly busybox?: boolean;
  /** Programs of this machine, by name or path, with the libraries that they load. */
  readonly programs?: readonly string[];
  /** All files of installed Debian packages but documents, with the libraries that their programs load. */
  readonly packages?: readonly string[];
  /** Of packages: what lies at or below these paths is left out. */
  readonly without?: readonly string[];
  /** Files and folders of this machine: destination by source. */
  readonly files?: Readonly<Record<string, string>>;
  /** Symbolic links: target by path. */
  readonly links?: Readonly<Record<string, string>>;
  /** Files by content. */
  readonly texts?: Readonly<Record<string, string>>;
}

export interface Image {
  /** Such as "localhost/pause:1". */
  readonly reference: string;
  readonly layers: readonly Layer[];
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly user?: string;
  readonly workingFolder?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

const searchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Makes an image's archive, unless it is there for exactly these sources.
 *
 * @returns its path, which is named by what is in it
 */
export async function buildImage(image: Image): Promise<string> {
  const plans = await Promise.all(image.layers.map(planLayer));
  const key = createHash('sha256').update(JSON.stringify(image)).update(process.arch);
  for (const plan of plans) for (const [path, source] of plan) key.update(`${path}\0${fingerprint(source)}\n`);
  const name = image.reference.replaceAll(/[^a-z0-9.]+/g, '-');
  const folder = join(cacheRoot(), 'images');
  const file = join(folder, `${name}-${key.digest('hex').slice(0, 12)}.tar`);
  if (existsSync(file)) {
    // What is used stays: see pruneArchives.
    utimesSync(file, new Date(), new Date());
    return file;
  }
  mkdirSync(folder, { recursive: true });
  const scratch = `${file}.${process.pid}`;
  writeFileSync(scratch, archive(image, plans.map(tarOf)));
  renameSync(scratch, file);
  pruneArchives(folder, name);
  return file;
}

/** What goes to a path: a file, link or folder of this machine, a link, or a text. */
type Source =
  | { readonly copy: string }
  | { readonly link: string }
  | { readonly text: string }
  | { readonly folder: number };

/** What a layer holds, in order; of two for the same path the first counts. */
type Step = readonly [path: string, source: Source];
type Plan = readonly Step[];

async function planLayer(layer: Layer): Promise<Plan> {
  const plan: Step[] = [];
  for (const [path, text] of Object.entries(layer.texts ?? {})) plan.push([path, { text }]);
  for (const [path, link] of Object.entries(layer.links ?? {})) plan.push([path, { link }]);
  for (const program of layer.programs ?? []) {
    const path = await locate(program);
    plan.push([program.startsWith('/') ? program : `/usr/bin/${program}`, { copy: path }]);
    for (const library of await libraries(path)) plan.push([library, { copy: realpathSync(library) }]);
  }
  if (layer.packages) plan.push(...(await planPackages(layer.packages, layer.without ?? [])));
  // What programs are named comes first: busybox must not hide it.
  if (layer.busybox) {
    plan.push(['/tmp', { folder: 0o1777 }]);
    plan.push(['/etc/passwd', { text: 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' }]);
    plan.push(['/etc/group', { text: 'root:x:0:\nnogroup:x:65534:\n' }]);
    const busybox = await locate('busybox');
    plan.push(['/bin/busybox', { copy: busybox }]);
    for (const applet of (await run([busybox, '--list'])).trim().split('\n'))
      if (applet !== 'busybox') plan.push([`/bin/${applet}`, { link: 'busybox' }]);
  }
  for (const [source, path] of Object.entries(layer.files ?? {})) plan.push([path, { copy: realpathSync(source) }]);
  return plan;
}

const documents = /^\/usr\/share\/(doc|doc-base|man|info|locale|lintian|bug)\//;

async function planPackages(packages: readonly string[], without: readonly string[]): Promise<Plan> {
  const plan: Step[] = [];
  const listed = (await run(['dpkg', '-L', ...packages])).split('\n');
  const paths = [...new Set(listed)].filter((path) => path.startsWith('/') && !documents.test(path)).sort();
  const needed = new Set<string>();
  for (const path of paths) {
    if (!existsSync(path) || without.some((each) => path === each || path.startsWith(`${each}/`))) continue;
    const stat = lstatSync(path);
    // /lib and its like are links where the host has merged them into /usr; in the image they are folders.
    if (stat.isDirectory() || /^\/[^/]+$/.test(path)) continue;
    plan.push([path, { copy: path }]);
    if (stat.isFile() && (stat.mode & 0o111 || path.includes('.so')))
      for (const library of await libraries(path)) needed.add(library);
  }
  for (const library of needed) plan.push([library, { copy: realpathSync(library) }]);
  return plan;
}

async function locate(program: string): Promise<string> {
  if (program.startsWith('/')) return realpathSync(program);
  const folder = `${process.env.PATH ?? ''}:${searchPath}`.split(':').find((path) => existsSync(join(path, program)));
  if (folder === undefined) throw new Error(`no program ${program} on this machine`);
  return realpathSync(join(folder, program));
}

/** What the dynamic linker would load for a program: ldd's answer. None for what is static or no program. */
async function libraries(file: string): Promise<string[]> {
  const magic = readFileSync(file).subarray(0, 4).toString('latin1');
  if (magic !== '\x7fELF') return [];
  const { code, stdout } = await tryRun(['ldd', file]);
  return code === 0 ? [...stdout.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1] ?? '') : [];
}

/** Changes when what would be copied changes. */
function fingerprint(source: Source): string {
  if (!('copy' in source)) return JSON.stringify(source);
  const stat = lstatSync(source.copy);
  if (!stat.isDirectory()) return `${source.copy} ${stat.size} ${stat.mtimeMs} ${stat.mode}`;
  return readdirSync(source.copy)
    .sort()
    .map((name) => `${name} ${fingerprint({ copy: join(source.copy, name) })}`)
    .join('\n');
}

function tarOf(plan: Plan): Buffer {
  const tar = new Tar();
  for (const [path, source] of plan) {
    if ('text' in source) tar.file(path, Buffer.from(source.text));
    else if ('link' in source) tar.link(path, source.link);
    else if ('folder' in source) tar.folder(path, source.folder);
    else tar.copy(source.copy, path);
  }
  return tar.bytes();
}

/** docker-archive: https://github.com/moby/docker-image-spec/blob/main/spec.md, "Combined Image JSON + Filesystem". */
function archive(image: Image, layers: readonly Buffer[]): Buffer {
  const digests = layers.map(sha256);
  const config = Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: {
        Env: Object.entries({ PATH: searchPath, ...image.environment }).map(([name, value]) => `${name}=${value}`),
        Entrypoint: image.entrypoint,
        Cmd: image.command,
        User: image.user,
        WorkingDir: image.workingFolder,
      },
      rootfs: { type: 'layers', diff_ids: digests.map((digest) => `sha256:${digest}`) },
      history: digests.map(() => ({ created_by: 'azekura lab' })),
    }),
  );
  const configName = `${sha256(config)}.json`;
  const tar = new Tar();
  tar.file(configName, config);
  for (const [i, layer] of layers.entries()) tar.file(`${digests[i]}/layer.tar`, layer);
  const paths = digests.map((digest) => `${digest}/layer.tar`);
  const manifest = [{ Config: configName, RepoTags: [image.reference], Layers: paths }];
  tar.file('manifest.json', Buffer.from(JSON.stringify(manifest)));
  return tar.bytes();
}

const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
