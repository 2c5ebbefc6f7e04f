/** A real `azekura up` with one pool on a disk of its own, and a CSI client: what the tests and benchmarks of CSI use. */
import { mkdirSync } from 'node:fs';
import { csiSocketPath } from '../../src/csi/index.ts';
import { VolumeCapability_AccessMode_Mode as Mode } from '../../src/gen/csi/csi_pb.js';
import type { Attachment, Volume } from '../../src/model/kinds.ts';
import { Daemon, holdings } from '../daemon.ts';
import { type Cleanup, eventually, run } from '../workbench.ts';
import { type CsiClient, connectCsi } from './client.ts';

export interface Instance {
  readonly daemon: Daemon;
  readonly client: CsiClient;
  readonly scratch: string;
  readonly nodeId: string;
}

/** @param options.disk size of the pool's disk, as truncate(1) reads it; the file is sparse */
export async function startInstance(
  cleanup: Cleanup,
  options: { readonly disk?: string; readonly arguments?: readonly string[] } = {},
): Promise<Instance> {
  const scratch = cleanup.directory('/dev/shm/azekura-csi-');
  run('truncate', '--size', options.disk ?? '64G', `${scratch}/disk`);
  const device = cleanup.loop(`${scratch}/disk`);
  run('mkfs.xfs', '-q', '-K', '-m', 'reflink=1', '-s', 'size=4096', device);
  cleanup.mount(device, `${scratch}/pool`);
  // What a failed test left mounted must not keep the disk from going.
  cleanup.add(() => releaseRest(scratch));
  const daemon = await Daemon.start({ dataDir: `${scratch}/data`, arguments: options.arguments ?? [] });
  cleanup.add(() => daemon.stop());
  await daemon.create('Pool', 'main', { source: { kind: 'directory', path: `${scratch}/pool` } });
  await daemon.until('Pool', 'main', (pool) => pool?.status.phase === 'Ready');
  const client = connectCsi(csiSocketPath(daemon.dataDir));
  cleanup.add(() => client.close());
  const { nodeId } = await client.node.nodeGetInfo({});
  for (const folder of ['staging', 'target']) mkdirSync(`${scratch}/${folder}`);
  return { daemon, client, scratch, nodeId };
}

/** Unmounts and detaches what volumes below the folder still hold. */
function releaseRest(scratch: string): void {
  for (const target of [...holdings(scratch).mounts].reverse()) if (target !== `${scratch}/pool`) run('umount', target);
  const listed = run('losetup', '--noheadings', '--raw', '--output', 'NAME,BACK-FILE');
  for (const line of listed.split('\n')) {
    const [device = '', file = ''] = line.split(' ');
    if (file.startsWith(`${scratch}/pool/`)) run('losetup', '--detach', device);
  }
}

/** A capability for a mounted file system. */
export function mountCapability(options: { mode?: Mode; fsType?: string; mountFlags?: string[] } = {}) {
  const { mode = Mode.SINGLE_NODE_MULTI_WRITER, fsType = '', mountFlags = [] } = options;
  return { accessType: { case: 'mount' as const, value: { fsType, mountFlags } }, accessMode: { mode } };
}

/** A capability for a raw block device. */
export function blockCapability(mode = Mode.SINGLE_NODE_MULTI_WRITER) {
  return { accessType: { case: 'block' as const, value: {} }, accessMode: { mode } };
}

/** Waits until nothing of CSI is left in the store. @throws with what is left */
export async function nothingLeft(daemon: Daemon, deadlineMs = 30_000): Promise<void> {
  await eventually(async () => {
    const left: string[] = [];
    for (const kind of ['Volume', 'Attachment', 'Snapshot', 'SnapshotGroup', 'Replica', 'RecycledVolume'] as const)
      for (const { metadata, status } of await daemon.client.list(kind))
        left.push(
          `${kind} ${metadata.name} ${JSON.stringify((status as Volume['status'] | Attachment['status']).phase)}`,
        );
    if (left.length > 0) throw new Error(`left over: ${left.join(', ')}`);
  }, deadlineMs);
}
