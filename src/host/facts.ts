import { readFile } from 'node:fs/promises';
import { hostname, release } from 'node:os';
import type { HostFacts } from './host.ts';

/** include/uapi/linux/capability.h, by bit. */
const capabilityNames = (
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE ' +
  'NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN ' +
  'SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE ' +
  'MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'
).split(' ');

/** Names of the effective capabilities in the text of /proc/self/status. */
export function parseCapabilities(status: string): readonly string[] {
  const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return capabilityNames.filter((_, bit) => (mask >> BigInt(bit)) & 1n).map((name) => `CAP_${name}`);
}

/** File systems that the kernel has (/proc/filesystems) or can load (modules.dep of its release). */
export function parseFilesystems(filesystems: string, modules: string): readonly string[] {
  const names = new Set<string>();
  for (const line of filesystems.split('\n')) {
    const name = line.split('\t').at(-1)?.trim();
    if (name) names.add(name);
  }
  for (const [, name] of modules.matchAll(/^kernel\/fs\/[\w/-]*?([\w-]+)\.ko/gm)) if (name) names.add(name);
  return [...names].sort();
}

/** Reads what does not change while the machine is up. */
export async function readFacts(): Promise<HostFacts> {
  const kernelRelease = release();
  const [bootId, status, filesystems, modules, builtin] = await Promise.all([
    text('/proc/sys/kernel/random/boot_id'),
    text('/proc/self/status'),
    text('/proc/filesystems'),
    text(`/lib/modules/${kernelRelease}/modules.dep`),
    text(`/lib/modules/${kernelRelease}/modules.builtin`),
  ]);
  return {
    kernelRelease,
    hostName: hostname(),
    bootId: bootId.trim(),
    isRoot: process.geteuid?.() === 0,
    capabilities: parseCapabilities(status),
    filesystems: parseFilesystems(filesystems, `${modules}\n${builtin}`),
  };
}

async function text(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
