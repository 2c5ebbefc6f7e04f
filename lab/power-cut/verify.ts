/** Looks at one crash image through all layers and compares it with what was acknowledged before the cut. */
import type { PoolRef, VolumeOnDisk, VolumeRef } from '../../src/engines/contract.ts';
import type { LabEngine } from '../engine.ts';
import { seededRandom } from '../random.ts';
import { Cleanup, run, unmount, withCleanup } from '../workbench.ts';
import { type Verdict, verifyRecords } from './records.ts';
import { type EngineAck, type History, type HostFilesystem, volumeBytes } from './scenario.ts';
import { verifyStore } from './store-writer.ts';

export interface CutResult {
  readonly records: number;
  readonly snapshots: number;
  readonly snapshotsMounted: number;
  readonly operations: number;
  readonly storeWrites: number;
  /** Each acknowledged thing that is not there, and each check of a file system that complained. */
  readonly problems: readonly string[];
}

const snapshotsMountedPerCut = 2;

/** What the looks at the parts of an image add to. */
interface Findings {
  records: number;
  snapshots: number;
  snapshotsMounted: number;
  operations: number;
  storeWrites: number;
  problems: string[];
}

export async function verifyCut(
  lab: LabEngine,
  image: string,
  position: number,
  history: History,
  hostFilesystem: HostFilesystem,
): Promise<CutResult> {
  const findings: Findings = {
    records: 0,
    snapshots: 0,
    snapshotsMounted: 0,
    operations: 0,
    storeWrites: 0,
    problems: [],
  };
  try {
    await withCleanup(async (cleanup) => {
      const device = cleanup.loop(image, { directIo: false });
      await withCleanup((layers) => verifyLayers(lab, device, position, history, findings, layers));
      findings.problems.push(
        ...(hostFilesystem === 'ext4' ? check('e2fsck', '-f', '-n', device) : check('xfs_repair', '-n', device)),
      );
    });
  } catch (error) {
    findings.problems.push(`could not go on: ${messageOf(error)}`);
  }
  return findings;
}

async function verifyLayers(
  lab: LabEngine,
  device: string,
  position: number,
  history: History,
  findings: Findings,
  layers: Cleanup,
): Promise<void> {
  const { problems } = findings;
  layers.mount(device, history.places.host);
  const pool = await lab.pool(history.pool.name, history.pool.source, layers);
  const operations = verifyOperations(await lab.engine.pools.list(pool), history, position);
  findings.operations = operations.checked;
  problems.push(...operations.problems);
  for (const { volume, filesystem, acks } of history.volumes) {
    const look = (directory: string) => verifyRecords(directory, acks, position);
    const { verdict, complaints } = await lookInto(lab, { pool, volumeId: volume.volumeId }, filesystem, history, look);
    findings.records += verdict?.checked ?? 0;
    problems.push(...[...(verdict?.lost ?? []), ...complaints].map((problem) => `${filesystem} volume: ${problem}`));
  }
  await verifySnapshots(lab, pool, position, history, findings);
  const store = await verifyStore(history.places.store, history.storeAcks, position);
  findings.storeWrites = store.checked;
  problems.push(...store.problems);
  await lab.engine.pools.close(pool);
  problems.push(...check('xfs_repair', '-n', '-f', history.places.image));
}

/** Mounts clones of some of the snapshots that must be there: each has what was acknowledged before it, and nothing newer. */
async function verifySnapshots(
  lab: LabEngine,
  pool: PoolRef,
  position: number,
  history: History,
  findings: Findings,
): Promise<void> {
  const present = presentSnapshots(history, position);
  findings.snapshots = present.length;
  const random = seededRandom(position);
  for (let count = 0; count < snapshotsMountedPerCut && present.length > 0; count++) {
    const ack = present.splice(random.below(present.length), 1)[0];
    const source = history.volumes.find(({ volume }) => volume.volumeId === ack?.volumeId);
    if (!ack || !source) continue;
    const from = { pool, volumeId: ack.volumeId, snapshotId: ack.snapshotId };
    const clone = await lab.createVolume(pool, { sizeBytes: volumeBytes, filesystem: source.filesystem, from });
    const look = (directory: string) => verifyRecords(directory, source.acks, ack.from);
    const { verdict, complaints } = await lookInto(lab, clone, source.filesystem, history, look);
    findings.snapshotsMounted++;
    const problems = [...(verdict?.lost ?? []), ...complaints];
    if (verdict && verdict.newestSeq > ack.maxSeq)
      problems.push(`has record ${verdict.newestSeq}, which is newer than it (${ack.maxSeq})`);
    findings.problems.push(...problems.map((problem) => `snapshot of ${source.filesystem}: ${problem}`));
    await lab.engine.volumes.delete(clone);
  }
}

/** Attaches, mounts, looks, unmounts, checks the file system, detaches. What fails on the way is a complaint. */
async function lookInto(
  lab: LabEngine,
  volume: VolumeRef,
  filesystem: 'xfs' | 'ext4',
  history: History,
  look: (directory: string) => Verdict,
): Promise<{ readonly verdict?: Verdict; readonly complaints: readonly string[] }> {
  const layers = new Cleanup();
  try {
    const device = await lab.attach(volume);
    layers.add(() => lab.engine.volumes.detach(volume));
    const directory = history.places.volume(volume.volumeId);
    layers.mount(device, directory);
    const verdict = look(directory);
    await unmount(directory);
    const complaints = filesystem === 'ext4' ? check('e2fsck', '-f', '-n', device) : check('xfs_repair', '-n', device);
    return { verdict, complaints };
  } catch (error) {
    return { complaints: [messageOf(error)] };
  } finally {
    await layers.run();
  }
}

/** A file-system check that changes nothing; its complaint when it has one. */
function check(command: string, ...args: string[]): string[] {
  try {
    run(command, ...args);
    return [];
  } catch (error) {
    return [messageOf(error).slice(0, 400)];
  }
}

/** Snapshots that were acknowledged before the cut and whose deletion was not even asked for. */
function presentSnapshots(history: History, position: number): Extract<EngineAck, { kind: 'snapshot' }>[] {
  return history.engineAcks.filter(
    (ack): ack is Extract<EngineAck, { kind: 'snapshot' }> =>
      ack.kind === 'snapshot' &&
      ack.position <= position &&
      !history.engineAcks.some(
        (other) => other.kind === 'snapshotDeleted' && other.snapshotId === ack.snapshotId && other.askedAt <= position,
      ),
  );
}

function verifyOperations(
  onDisk: readonly VolumeOnDisk[],
  history: History,
  position: number,
): { readonly checked: number; readonly problems: readonly string[] } {
  const problems: string[] = [];
  const volumes = new Map(onDisk.map((volume) => [volume.volumeId, volume]));
  for (const volume of onDisk) {
    if (volume.problem) problems.push(`volume ${volume.volumeId}: ${volume.problem}`);
    for (const snapshot of volume.snapshots)
      if (snapshot.problem) problems.push(`snapshot ${snapshot.snapshotId}: ${snapshot.problem}`);
  }
  const due = history.engineAcks.filter((ack) => ack.position <= position);
  const hasSnapshot = (volumeId: string, snapshotId: string) =>
    volumes.get(volumeId)?.snapshots.some((one) => one.snapshotId === snapshotId) ?? false;
  const recycleAsked = (volumeId: string) =>
    history.engineAcks.some((ack) => ack.kind === 'recycled' && ack.volumeId === volumeId && ack.askedAt <= position);
  for (const ack of due) {
    const volume = volumes.get(ack.volumeId);
    if (ack.kind === 'created' && !volume) problems.push(`volume ${ack.volumeId} was created and is not there`);
    if (ack.kind === 'created' && volume?.recycled && !recycleAsked(ack.volumeId))
      problems.push(`volume ${ack.volumeId} is in the bin though nobody asked`);
    if (ack.kind === 'recycled' && !volume?.recycled)
      problems.push(`volume ${ack.volumeId} was recycled and is not in the bin`);
    if (ack.kind === 'snapshotDeleted' && hasSnapshot(ack.volumeId, ack.snapshotId))
      problems.push(`snapshot ${ack.snapshotId} was deleted and is there`);
  }
  for (const ack of presentSnapshots(history, position)) {
    if (!hasSnapshot(ack.volumeId, ack.snapshotId))
      problems.push(`snapshot ${ack.snapshotId} was committed and is not there`);
  }
  return { checked: due.length, problems };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
