/** What the machines are made of, and the name of the folder that holds it. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { runProgram } from '../command.ts';
import { LabError } from '../error.ts';

/** Raised when the way of putting it together changes. */
const layout = 1;

/** The Debian suite of the kernel: older User Mode Linux kernels do not run on every processor. */
export const kernelSuite = 'sid';

/** Unpacked into the machines whether or not the host has them, from the host's own suite. */
export const machinePackages: readonly string[] = [
  'btrfs-progs',
  'cryptsetup-bin',
  'dmsetup',
  'drbd-utils',
  'dropbear-bin',
  'e2fsprogs',
  'iproute2',
  'iputils-ping',
  'kmod',
  'lvm2',
  'mdadm',
  'nbd-client',
  'nbd-server',
  'nfs-common',
  'nfs-kernel-server',
  'nftables',
  'open-iscsi',
  'smartmontools',
  'socat',
  'thin-provisioning-tools',
  'xfsprogs',
];

/** Seen in the machines through the host's files where the host has them, else unpacked too. */
export const hostPackages: readonly string[] = [
  'fio',
  'openssh-client',
  'postgresql',
  'postgresql-contrib',
  'procps',
  'util-linux',
];

/** Dependencies that have no place in an unpacked tree. */
export const leftOut = /^(systemd.*|libnss-systemd|libpam-systemd|libsystemd-shared|udev|logsave|locales)$/;

/** Everything that the lab keeps; see `lab/sanity` for others that live there. */
export function cacheRoot(): string {
  const root = process.env.AZEKURA_CACHE_DIR ?? path.join(homedir(), '.cache', 'azekura');
  if (!path.isAbsolute(root) || /[\s,:]/.test(root))
    throw new LabError(
      `the lab's cache folder ${root} must be an absolute path without blanks, commas or colons`,
      'set AZEKURA_CACHE_DIR to another folder',
    );
  return root;
}

/**
 * The folder of a complete set of machine files. Its name holds the host's distribution and a hash of the recipe and of
 * which host packages there are, because what the host lacks is unpacked.
 */
export async function buildFolder(): Promise<string> {
  const release = osRelease();
  const { stdout } = await runProgram(
    ['dpkg-query', '-W', '-f', `\${Package} \${Version} \${db:Status-Status}\n`, 'libc6', ...hostPackages],
    { deadlineMs: 10_000 },
  );
  const hash = createHash('sha256')
    .update(JSON.stringify([layout, kernelSuite, machinePackages, hostPackages, release, stdout]))
    .digest('hex')
    .slice(0, 12);
  return path.join(cacheRoot(), `machines-${release.ID}${release.VERSION_ID}-${hash}`);
}

export interface OsRelease {
  readonly ID: string;
  readonly VERSION_ID: string;
  readonly VERSION_CODENAME: string;
}

export function osRelease(): OsRelease {
  const text = readFileSync('/etc/os-release', 'utf8');
  const value = (name: string) => new RegExp(`^${name}="?([^"\n]*)"?$`, 'm').exec(text)?.[1] ?? '';
  return { ID: value('ID'), VERSION_ID: value('VERSION_ID'), VERSION_CODENAME: value('VERSION_CODENAME') };
}
