import { readFileSync } from 'node:fs';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { lsblkArgv, parseLsblk, parseWipefs, wipefsArgv } from './block-devices.ts';
import { readBlockNodes } from './block-sysfs.ts';
import { Containment } from './containment.ts';
import { execCommand } from './exec.ts';
import { readFacts } from './facts.ts';
import { findHolders } from './holders.ts';
import type { BlockDeviceInfo, Host, HostFacts } from './host.ts';
import { ext4HasJournal } from './journal.ts';
import { LoopHints } from './kernel/loop-hints.ts';
import { type PoolLimits, WorkerPool } from './kernel/pool.ts';
import { kernelOver } from './kernel/sync.ts';
import { defaultWorkerArgv } from './kernel/worker-argv.ts';
import { lockHolder } from './lock-holder.ts';
import { LoopReader } from './loops.ts';
import { MountinfoReader } from './mountinfo.ts';
import { ownFiles } from './own-files.ts';
import { shareNext } from './share.ts';
import { smartReader } from './smart.ts';
import { spaceGlances } from './space.ts';

const defaultDeadlineMs = 30_000;
const probeDeadlineMs = 15_000;

/**
 * The Linux machine that this process runs on.
 *
 * @param options.workerArgv how to start a helper process; defaultWorkerArgv() unless told
 * @param options.limits bounds of the helper processes, for tests
 */
export function createHost(options: {
  readonly log: Logger;
  readonly clock: Clock;
  readonly workerArgv?: readonly [string, ...string[]];
  readonly limits?: Partial<PoolLimits>;
}): Host {
  const { clock, log } = options;
  const containment = new Containment(clock);
  const argv = options.workerArgv ?? defaultWorkerArgv();
  const pool = new WorkerPool({ argv, clock, log, containment, limits: options.limits ?? {} });
  const mountinfo = new MountinfoReader();
  const loopHints = new LoopHints('/sys');
  const loopReader = new LoopReader('/sys', () => clock.nowMs());
  const exec: Host['exec'] = (command, execOptions) => execCommand({ clock, containment }, command, execOptions);
  let facts: Promise<HostFacts> | undefined;

  return {
    kernel(domain, { deadlineMs = defaultDeadlineMs } = {}) {
      return kernelOver((call, args) =>
        loopHints.run(call, args, (hinted) => pool.run(domain, call, hinted, deadlineMs)),
      );
    },
    ownFiles,
    glanceAtLoop: (file) => loopHints.glance(file),
    exec,
    hungCalls: () => containment.list(),
    mounts: shareNext(() => mountinfo.read(readFileSync('/proc/self/mountinfo', 'utf8'))),
    loops: shareNext(() => loopReader.read()),
    glanceAtSpace: spaceGlances(),
    ext4HasJournal: (deviceNumber) => ext4HasJournal(deviceNumber),
    blockNodes: async (options) => readBlockNodes('/sys', options),
    diskProblem: smartReader(exec, clock),
    lockHolder: (path) => lockHolder(path),
    blockDevices: () => readBlockDevices(exec),
    blockDevice: (path) => readBlockDevice(exec, path),
    holders: (target) => findHolders(target),
    facts() {
      facts ??= readFacts();
      return facts;
    },
    close: () => pool.close(),
  };
}

/** What lsblk knows of all devices, and what wipefs finds on each disk and partition. */
async function readBlockDevices(exec: Host['exec']): Promise<readonly BlockDeviceInfo[]> {
  // A machine may have hundreds of loop devices, and a command for each of them would take seconds.
  return Promise.all(
    (await listDevices(exec)).map((device) => (device.kind === 'other' ? device : probe(exec, device))),
  );
}

async function readBlockDevice(exec: Host['exec'], path: string): Promise<BlockDeviceInfo | undefined> {
  const device = (await listDevices(exec)).find((one) => one.path === path);
  return device === undefined ? undefined : probe(exec, device);
}

async function listDevices(exec: Host['exec']): Promise<readonly BlockDeviceInfo[]> {
  const { stdout } = await exec(lsblkArgv, { deadlineMs: probeDeadlineMs, domain: 'devices' });
  return parseLsblk(stdout);
}

/** A device that does not answer keeps what lsblk knew, or has the signature "unknown". */
async function probe(exec: Host['exec'], device: BlockDeviceInfo): Promise<BlockDeviceInfo> {
  if (device.sizeBytes === 0) return device;
  const found = await exec(wipefsArgv(device.path), {
    deadlineMs: probeDeadlineMs,
    domain: `device${device.path}`,
  }).then(
    (result) => parseWipefs(result.stdout),
    () => 'unknown',
  );
  const signature = found === 'unknown' ? (device.signature ?? found) : (found ?? device.signature);
  return signature === undefined ? device : { ...device, signature };
}
