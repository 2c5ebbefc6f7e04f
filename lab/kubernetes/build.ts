/** Builds the lab's binaries from Go modules into the cache. What is there already costs nothing. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheRoot } from '../go.ts';
import {
  type Binary,
  binary,
  binaryFolder,
  goFlags,
  type KubernetesCommand,
  kubernetesCommands,
  kubernetesVersion,
  notBuilt,
  pauseSource,
  snapshotClientModule,
  snapshotCrds,
  toolsModule,
  toolVersion,
} from './binaries.ts';
import { run } from './exec.ts';
import { withLock } from './lock.ts';
import { buildLabtool } from './tools/csi/build.ts';

const buildTimeoutMs = 40 * 60_000;

/**
 * Builds those of the binaries that are missing; several callers at once wait for one another.
 *
 * @param say gets a line now and then, and one for each binary
 * @throws Error without Go or without the modules
 */
export async function build(names: readonly Binary[], say: (line: string) => void): Promise<void> {
  if (notBuilt(names).length === 0) return;
  await withLock(join(cacheRoot(), 'locks', 'build'), async () => {
    const missing = notBuilt(names);
    const commands = missing.filter((name): name is KubernetesCommand => name in kubernetesCommands);
    const startedMs = performance.now();
    if (missing.includes('pause')) await buildPause();
    if (missing.includes('labtool')) await buildLabtool();
    if (commands.length > 0) await buildKubernetes(commands, say);
    if (missing.length > 0) say(`built ${missing.length} binaries in ${seconds(startedMs)} s`);
  });
}

async function buildPause(): Promise<void> {
  await into('pause', (folder) =>
    run(['gcc', '-Os', '-static', '-s', '-o', join(folder, 'pause'), pauseSource]).then(() => {}),
  );
}

/** All commands by one `go build`, so that what they share is compiled once. */
async function buildKubernetes(commands: readonly KubernetesCommand[], say: (line: string) => void): Promise<void> {
  say(`building ${commands.join(' ')}`);
  const startedMs = performance.now();
  await into(commands, async (folder) => {
    const done = new Set<string>();
    const timer = setInterval(() => {
      for (const name of readdirSync(folder)) {
        if (done.has(name) || name === 'crds') continue;
        done.add(name);
        const megabytes = Math.round(statSync(join(folder, name)).size / 1e6);
        say(`${name}: ${megabytes} MB after ${seconds(startedMs)} s`);
      }
    }, 1_000);
    let packages = 0;
    let saidMs = startedMs;
    try {
      await go(
        toolsModule,
        ['build', '-v', ...goFlags, ...linkFlags(), '-o', `${folder}/`, ...commands.map((n) => kubernetesCommands[n])],
        (text) => {
          packages += text.split('\n').length - 1;
          if (performance.now() - saidMs < 60_000) return;
          saidMs = performance.now();
          say(`${packages} packages compiled after ${seconds(startedMs)} s`);
        },
      );
    } finally {
      clearInterval(timer);
    }
    // A command is named after its folder.
    if (commands.includes('etcd')) renameSync(join(folder, 'server'), join(folder, 'etcd'));
    if (commands.includes('snapshot-controller')) await copySnapshotCrds(join(folder, 'crds'));
  });
}

async function copySnapshotCrds(to: string): Promise<void> {
  const module = (await go(toolsModule, ['list', '-m', '-f', '{{.Dir}}', snapshotClientModule])).trim();
  const from = join(module, 'config', 'crd');
  mkdirSync(to);
  for (const file of readdirSync(from)) if (file.includes('snapshot')) cpSync(join(from, file), join(to, file));
}

/**
 * Without gitVersion the servers say v0.0.0-master and clients refuse them. Each command takes the last -ldflags whose
 * pattern matches it.
 */
function linkFlags(): string[] {
  const version = kubernetesVersion();
  const [major = '1', minor = '0'] = version.slice(1).split('.');
  const stamp = 'k8s.io/component-base/version';
  const flags = [
    '-ldflags=-s -w',
    `-ldflags=k8s.io/kubernetes/...=-s -w -X ${stamp}.gitVersion=${version} -X ${stamp}.gitMajor=${major} -X ${stamp}.gitMinor=${minor} -X ${stamp}.gitTreeState=clean`,
  ];
  const helm = 'helm.sh/helm/v3';
  flags.push(
    `-ldflags=${helm}/...=-s -w -X ${helm}/internal/version.version=${toolVersion(helm)} -X ${helm}/pkg/chartutil.k8sVersionMajor=${major} -X ${helm}/pkg/chartutil.k8sVersionMinor=${minor} -X ${helm}/pkg/lint/rules.k8sVersionMajor=${major} -X ${helm}/pkg/lint/rules.k8sVersionMinor=${minor}`,
  );
  for (const module of [
    'external-provisioner/v6',
    'external-attacher/v4',
    'external-resizer/v2',
    'external-snapshotter/v8',
  ].map((name) => `github.com/kubernetes-csi/${name}`)) {
    flags.push(`-ldflags=${module}/...=-s -w -X main.version=${toolVersion(module)}`);
  }
  return flags;
}

/** Lets `make` fill a new folder and moves what is in it to the binaries' places, only when all of it is there. */
async function into(names: Binary | readonly Binary[], make: (folder: string) => Promise<void>): Promise<void> {
  const list = typeof names === 'string' ? [names] : names;
  const [first] = list;
  if (first === undefined) return;
  const target = binaryFolder(first);
  mkdirSync(target, { recursive: true });
  const scratch = mkdtempSync(join(dirname(target), '.new-'));
  try {
    await make(scratch);
    const crds = join(scratch, 'crds');
    if (existsSync(crds) && !existsSync(snapshotCrds())) renameSync(crds, snapshotCrds());
    for (const name of list) renameSync(join(scratch, name), binary(name));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** No C, so that the binaries run in any image. */
function go(folder: string, args: readonly string[], onOutput?: (text: string) => void): Promise<string> {
  const env = {
    ...process.env,
    GOFLAGS: '-buildvcs=false',
    CGO_ENABLED: '0',
    GOTOOLCHAIN: 'local',
    GOGC: process.env.GOGC ?? '400',
  };
  return run(['go', ...args], { cwd: folder, env, timeoutMs: buildTimeoutMs, ...(onOutput ? { onOutput } : {}) });
}

const seconds = (sinceMs: number): number => Math.round((performance.now() - sinceMs) / 1000);
