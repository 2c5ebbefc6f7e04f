/**
 * The run that is cut: a host file system on the fuse disk, a pool image on it, volumes with writers, and engine and
 * store operations beside them. Leaves the log of the disk and everything that was acknowledged.
 */
import { statSync } from 'node:fs';
import type { PoolRef, VolumeRef } from '../../src/engines/contract.ts';
import { LabEngine } from '../engine.ts';
import { FuseDisk } from '../fuse-disk/client.ts';
import { type Cleanup, run, sleep, withCleanup } from '../workbench.ts';
import type { Ack } from './records.ts';
import { type StoreAck, StoreWriter } from './store-writer.ts';
import { RecordWriter } from './writers.ts';

export const diskBytes = 3 * 2 ** 30;
const poolImageBytes = 2 * 2 ** 30;
export const volumeBytes = 512 * 2 ** 20;

export type HostFilesystem = 'ext4' | 'xfs';

export interface ScenarioOptions {
  /** A folder in memory, of this scenario's own. */
  readonly directory: string;
  readonly hostFilesystem: HostFilesystem;
  readonly seconds: number;
  readonly seed: number;
  /** Mount the ext4 volume without barriers: then loss is due. */
  readonly barriers: boolean;
}

export interface VolumeHistory {
  readonly volume: VolumeRef;
  readonly filesystem: 'xfs' | 'ext4';
  readonly acks: readonly Ack[];
}

/** An acknowledged operation of the engine, and the length of the log when it was answered. */
export type EngineAck = { readonly position: number; readonly askedAt: number; readonly volumeId: string } & (
  | { readonly kind: 'created' | 'recycled' }
  /** Everything that was acknowledged before `from` is in it, and nothing newer than `maxSeq`. */
  | { readonly kind: 'snapshot'; readonly snapshotId: string; readonly from: number; readonly maxSeq: number }
  | { readonly kind: 'snapshotDeleted'; readonly snapshotId: string }
);

export interface History {
  readonly logPath: string;
  readonly places: Places;
  readonly pool: PoolRef;
  /** Cuts make sense between these positions of the log. */
  readonly from: number;
  readonly to: number;
  readonly volumes: readonly VolumeHistory[];
  readonly engineAcks: readonly EngineAck[];
  readonly storeAcks: readonly StoreAck[];
  readonly flushes: number;
}

export interface Places {
  readonly host: string;
  readonly image: string;
  readonly store: string;
  readonly runtime: string;
  volume(volumeId: string): string;
}

export function placesIn(directory: string): Places {
  return {
    host: `${directory}/host`,
    image: `${directory}/host/pool.img`,
    store: `${directory}/host/state`,
    runtime: `${directory}/run`,
    volume: (volumeId) => `${directory}/volume-${volumeId}`,
  };
}

export function recordHistory(options: ScenarioOptions): Promise<History> {
  return withCleanup((cleanup) => record(options, cleanup));
}

async function record(options: ScenarioOptions, cleanup: Cleanup): Promise<History> {
  const { directory } = options;
  const places = placesIn(directory);
  const logPath = `${directory}/log`;
  const position = () => statSync(logPath).size;
  const disk = await FuseDisk.start({ directory, sizeBytes: diskBytes, logPath });
  cleanup.add(() => disk.stop());
  const device = cleanup.loop(disk.path);
  run(
    `mkfs.${options.hostFilesystem}`,
    '-q',
    ...(options.hostFilesystem === 'xfs' ? ['-K'] : ['-F', '-E', 'nodiscard']),
    device,
  );
  cleanup.mount(device, places.host);
  const lab = LabEngine.open(places.runtime, cleanup);
  const pool = await lab.pool('cut', { kind: 'image', path: places.image, sizeBytes: poolImageBytes }, cleanup);
  const store = await StoreWriter.open(places.store, position);
  cleanup.add(() => store.close());

  const volumes: { volume: VolumeRef; filesystem: 'xfs' | 'ext4'; writer: RecordWriter }[] = [];
  for (const filesystem of ['xfs', 'ext4'] as const) {
    const volume = await lab.createVolume(pool, {
      name: filesystem,
      sizeBytes: volumeBytes,
      filesystem,
      provisioning: filesystem === 'xfs' ? 'thin' : 'thick',
    });
    const attached = await lab.attach(volume);
    cleanup.add(() => lab.engine.volumes.detach(volume));
    const barrier = filesystem === 'ext4' && !options.barriers ? ['barrier=0'] : [];
    cleanup.mount(attached, places.volume(volume.volumeId), ...barrier);
    const acksPath = `${directory}/acks-${filesystem}`;
    const writer = new RecordWriter({
      directory: places.volume(volume.volumeId),
      logPath,
      acksPath,
      seed: options.seed,
    });
    cleanup.add(() => writer.kill());
    volumes.push({ volume, filesystem, writer });
  }
  while (volumes.some(({ writer }) => writer.acks().length === 0)) await sleep(50);
  run('sync');
  const from = position();
  const engineAcks: EngineAck[] = [];
  const end = performance.now() + options.seconds * 1_000;
  for (let turn = 0; performance.now() < end; turn++) {
    const subject = volumes[turn % volumes.length];
    if (subject) await engineTurn(lab, pool, subject, turn, engineAcks, position);
    await store.turn();
    await sleep(20);
  }
  const to = position();
  const histories = await Promise.all(
    volumes.map(async ({ volume, filesystem, writer }) => ({ volume, filesystem, acks: await writer.stop() })),
  );
  const { flushes } = await disk.status();
  return { logPath, places, pool, from, to, volumes: histories, engineAcks, storeAcks: store.acks, flushes };
}

/** A snapshot of a volume that is being written, the deletion of an older one, and a volume's whole short life. */
async function engineTurn(
  lab: LabEngine,
  pool: PoolRef,
  subject: { readonly volume: VolumeRef; readonly writer: RecordWriter },
  turn: number,
  acks: EngineAck[],
  position: () => number,
): Promise<void> {
  const { volume, writer } = subject;
  const { volumeId } = volume;
  const askedAt = position();
  const snapshot = await lab.snapshot(volume);
  // The writer has at most one record under way beyond what it has acknowledged.
  const maxSeq = (writer.acks().at(-1)?.seq ?? 0) + 1;
  acks.push({
    kind: 'snapshot',
    volumeId,
    snapshotId: snapshot.snapshotId,
    from: askedAt,
    maxSeq,
    askedAt,
    position: position(),
  });

  const kept = acks.filter((ack) => ack.kind === 'snapshot' && ack.volumeId === volumeId);
  const deleted = new Set(acks.flatMap((ack) => (ack.kind === 'snapshotDeleted' ? [ack.snapshotId] : [])));
  const oldest = kept.find((ack) => ack.kind === 'snapshot' && !deleted.has(ack.snapshotId));
  if (kept.length - deleted.size / 2 > 4 && oldest?.kind === 'snapshot') {
    const deleteAskedAt = position();
    await lab.engine.snapshots?.delete({ ...volume, snapshotId: oldest.snapshotId });
    acks.push({
      kind: 'snapshotDeleted',
      volumeId,
      snapshotId: oldest.snapshotId,
      askedAt: deleteAskedAt,
      position: position(),
    });
  }

  const createAskedAt = position();
  const other = await lab.createVolume(pool, {
    sizeBytes: 320 * 2 ** 20,
    ...(turn % 2 ? { filesystem: 'xfs' as const } : {}),
  });
  acks.push({ kind: 'created', volumeId: other.volumeId, askedAt: createAskedAt, position: position() });
  if (turn % 3 === 0 && lab.engine.volumes.recycle) {
    const recycleAskedAt = position();
    const deletedAt = new Date();
    await lab.engine.volumes.recycle(other, {
      deletedAt: deletedAt.toISOString(),
      expiresAt: new Date(deletedAt.getTime() + 3_600_000).toISOString(),
    });
    acks.push({ kind: 'recycled', volumeId: other.volumeId, askedAt: recycleAskedAt, position: position() });
  }
}
