/** What the lab needs of the machine: Debian packages, and empty folders on which the nodes put their own. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { run, tryRun } from './exec.ts';
import { imagePackages } from './image/azekura.ts';
import { nodeFolders } from './node.ts';

const labPackages: readonly string[] = [
  ...['containerd', 'runc', 'containernetworking-plugins'],
  ...['nftables', 'iptables', 'conntrack', 'ethtool', 'iproute2'], // kube-proxy, the CNI plugins, the wiring
  ...['util-linux', 'mount', 'procps', 'openssl'], // unshare, nsenter, flock, losetup; certificates
  ...['busybox-static', 'gcc', 'libc6-dev'], // images: busybox, and pause, which is compiled here
];

/**
 * Why this machine cannot run a lab; undefined when it can. Missing packages are no reason where they can be installed.
 */
export function whyNoLab(): string | undefined {
  if (process.platform !== 'linux') return 'needs Linux';
  if (process.getuid?.() !== 0) return 'needs root';
  return undefined;
}

/** Installs what is missing. Does nothing when all is there. @throws Error when it cannot be installed */
export async function setUpMachine(say: (line: string) => void): Promise<void> {
  // The image of this project is made from the machine's packages.
  const packages = [...new Set([...labPackages, ...imagePackages()])];
  for (const folder of nodeFolders) mkdirSync(folder, { recursive: true });
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders
  const { stdout } = await tryRun([...['dpkg-query', '-W', '-f', '${Package} ${db:Status-Status}\n'], ...packages]);
  const installed = new Set(stdout.split('\n').flatMap((line) => line.match(/^(\S+) installed$/)?.[1] ?? []));
  const missing = packages.filter((name) => !installed.has(name));
  if (missing.length > 0) await install(missing, say);
}

async function install(missing: readonly string[], say: (line: string) => void): Promise<void> {
  say(`installing ${missing.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  // A package must not start its daemon: the lab starts its own. See invoke-rc.d(8).
  const policy = '/usr/sbin/policy-rc.d';
  const ours = !existsSync(policy);
  if (ours) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    const argv = ['apt-get', 'install', '-y', '-qq', '--no-install-recommends', ...missing];
    const first = await tryRun(argv, { env, timeoutMs: 600_000 });
    if (first.code === 0) return;
    await run(['apt-get', 'update', '-qq'], { env, timeoutMs: 600_000 });
    await run(argv, { env, timeoutMs: 600_000 });
  } finally {
    if (ours) rmSync(policy, { force: true });
  }
}
