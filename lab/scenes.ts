/**
 * Short scripts over the API that together take every step of every operation. Each makes what it needs, survives the
 * death of the daemon at any moment, checks what it was promised, and leaves nothing.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { persist } from './chaos.ts';
import { type Daemon, holdings } from './daemon.ts';
import { eventually, run } from './workbench.ts';

export interface Stage {
  readonly daemon: Daemon;
  /** A folder of the scenes' own; `pool`, `pool2` in it are mounted file systems. */
  readonly scratch: string;
}

const volumeBytes = 320 * 2 ** 20;
const deadlineMs = 90_000;

async function makeVolume(
  { daemon }: Stage,
  name: string,
  spec: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const poolName = typeof spec.poolName === 'string' ? spec.poolName : 'main';
  await persist(async () => {
    // A pool that was ready is pending again while a daemon that has just died opens it once more.
    await daemon.until('Pool', poolName, (pool) => pool?.status.phase === 'Ready', deadlineMs);
    await daemon.create('Volume', name, { sizeBytes: volumeBytes, poolName, ...spec });
  }, 'AlreadyExists');
  await daemon.until('Volume', name, (volume) => volume?.status.phase === 'Ready', deadlineMs);
}

async function mountVolume({ daemon, scratch }: Stage, name: string): Promise<string> {
  const path = `${scratch}/mnt/${name}`;
  mkdirSync(path, { recursive: true });
  await persist(() => daemon.post('Volume', name, 'mount', { path }), 'AlreadyExists');
  await eventually(() => {
    if (!holdings(scratch).mounts.includes(path)) throw new Error(`${name} is not mounted`);
  }, deadlineMs);
  await daemon.until('Volume', name, (volume) => volume?.status.attachedTo.length === 1, deadlineMs);
  return path;
}

async function unmountVolume({ daemon }: Stage, name: string): Promise<void> {
  await persist(() => daemon.post('Volume', name, 'unmount', {}), 'NotFound');
  await daemon.until('Volume', name, (volume) => volume?.status.attachedTo.length === 0, deadlineMs);
}

async function deleteVolume({ daemon }: Stage, name: string): Promise<void> {
  await persist(() => daemon.delete('Volume', name, { skipRecycleBin: true }), 'NotFound');
  await daemon.until('Volume', name, (volume) => volume === undefined, deadlineMs);
}

async function takeSnapshot({ daemon }: Stage, name: string, volumeName: string): Promise<void> {
  await persist(() => daemon.create('Snapshot', name, { volumeName }), 'AlreadyExists');
  await daemon.until('Snapshot', name, (snapshot) => snapshot?.status.readyToUse === true, deadlineMs);
}

async function deleteSnapshot({ daemon }: Stage, name: string): Promise<void> {
  await persist(() => daemon.delete('Snapshot', name), 'NotFound');
  await daemon.until('Snapshot', name, (snapshot) => snapshot === undefined, deadlineMs);
}

/** Writes through the mount, durably. */
function write(path: string, text: string): void {
  writeFileSync(`${path}/word`, text, { flush: true });
}

function mustRead(path: string, text: string): void {
  const found = readFileSync(`${path}/word`, 'utf8');
  if (found !== text) throw new Error(`${path}/word holds "${found}" instead of "${text}"`);
}

/** Create, mount, write, grow while mounted, unmount, mount again, delete. */
async function life(stage: Stage, spec: Readonly<Record<string, unknown>>): Promise<void> {
  await makeVolume(stage, 'life', spec);
  const path = await mountVolume(stage, 'life');
  write(path, 'once');
  await persist(() => stage.daemon.expand('life', 2 * volumeBytes), 'AlreadyExists');
  await stage.daemon.until('Volume', 'life', (volume) => volume?.status.sizeBytes === 2 * volumeBytes, deadlineMs);
  await unmountVolume(stage, 'life');
  await mountVolume(stage, 'life');
  mustRead(path, 'once');
  await unmountVolume(stage, 'life');
  await deleteVolume(stage, 'life');
}

async function bin(stage: Stage): Promise<void> {
  const { daemon } = stage;
  await makeVolume(stage, 'binned');
  const path = await mountVolume(stage, 'binned');
  write(path, 'kept');
  await unmountVolume(stage, 'binned');
  await persist(() => daemon.delete('Volume', 'binned'), 'NotFound');
  await daemon.until('Volume', 'binned', (volume) => volume === undefined, deadlineMs);
  await persist(() => daemon.post('RecycledVolume', 'binned', 'undelete', {}), 'NotFound');
  await daemon.until('Volume', 'binned', (volume) => volume?.status.phase === 'Ready', deadlineMs);
  await mountVolume(stage, 'binned');
  mustRead(path, 'kept');
  await unmountVolume(stage, 'binned');
  await persist(() => daemon.delete('Volume', 'binned'), 'NotFound');
  await daemon.until('Volume', 'binned', (volume) => volume === undefined, deadlineMs);
  const recycled = await eventually(() => daemon.client.list('RecycledVolume'), deadlineMs);
  for (const one of recycled) {
    await persist(() => daemon.delete('RecycledVolume', one.metadata.name), 'NotFound');
    await daemon.until('RecycledVolume', one.metadata.name, (object) => object === undefined, deadlineMs);
  }
}

/** A frozen snapshot while mounted, a clone of it, a restore in place. */
async function snapshots(stage: Stage): Promise<void> {
  const { daemon } = stage;
  await makeVolume(stage, 'origin');
  const path = await mountVolume(stage, 'origin');
  write(path, 'before');
  await takeSnapshot(stage, 'instant', 'origin');
  write(path, 'after');
  await makeVolume(stage, 'copy', { source: { kind: 'snapshot', name: 'instant' } });
  const copy = await mountVolume(stage, 'copy');
  mustRead(copy, 'before');
  await unmountVolume(stage, 'copy');
  await deleteVolume(stage, 'copy');
  await unmountVolume(stage, 'origin');
  await persist(() => daemon.post('Volume', 'origin', 'restore', { snapshotName: 'instant' }), 'AlreadyExists');
  await daemon.until(
    'Volume',
    'origin',
    (volume) =>
      volume?.status.restore?.requestId !== undefined &&
      volume.status.restore.requestId === volume.spec.restore?.requestId,
    deadlineMs,
  );
  await mountVolume(stage, 'origin');
  mustRead(path, 'before');
  await unmountVolume(stage, 'origin');
  await deleteSnapshot(stage, 'instant');
  await deleteVolume(stage, 'origin');
}

async function groups(stage: Stage): Promise<void> {
  const { daemon } = stage;
  for (const name of ['left', 'right']) {
    await makeVolume(stage, name, name === 'left' ? { filesystem: 'ext4' } : {});
    write(await mountVolume(stage, name), name);
  }
  await persist(() => daemon.create('SnapshotGroup', 'pair', { volumeNames: ['left', 'right'] }), 'AlreadyExists');
  await daemon.until('SnapshotGroup', 'pair', (group) => group?.status.phase === 'Ready', deadlineMs);
  await persist(() => daemon.delete('SnapshotGroup', 'pair'), 'NotFound');
  await daemon.until('SnapshotGroup', 'pair', (group) => group === undefined, deadlineMs);
  for (const name of ['left', 'right']) {
    write(`${stage.scratch}/mnt/${name}`, 'not frozen');
    await unmountVolume(stage, name);
    await deleteVolume(stage, name);
  }
}

/** A volume made from another one, and a raw block volume. */
async function clones(stage: Stage): Promise<void> {
  await makeVolume(stage, 'model');
  await makeVolume(stage, 'twin', { source: { kind: 'volume', name: 'model' } });
  await deleteVolume(stage, 'model');
  await deleteVolume(stage, 'twin');
}

/** A second pool in an image, a volume moved off it, and the pool removed again. */
async function pools(stage: Stage): Promise<void> {
  const { daemon, scratch } = stage;
  const source = { kind: 'image', path: `${scratch}/pool2/second.img`, sizeBytes: 2 ** 30 };
  await persist(() => daemon.create('Pool', 'second', { source, acceptNoJournal: true }), 'AlreadyExists');
  await daemon.until('Pool', 'second', (pool) => pool?.status.phase === 'Ready', deadlineMs);
  await makeVolume(stage, 'mover', { poolName: 'second' });
  const path = await mountVolume(stage, 'mover');
  write(path, 'moved');
  await unmountVolume(stage, 'mover');
  await persist(() => daemon.post('Pool', 'second', 'drain', {}), 'NotFound');
  await daemon.until(
    'Volume',
    'mover',
    (volume) => volume?.status.phase === 'Ready' && volume.status.replicas.every(({ poolName }) => poolName === 'main'),
    deadlineMs,
  );
  await mountVolume(stage, 'mover');
  mustRead(path, 'moved');
  await unmountVolume(stage, 'mover');
  await deleteVolume(stage, 'mover');
  await persist(() => daemon.delete('Pool', 'second', { destroy: true }), 'NotFound');
  await daemon.until('Pool', 'second', (pool) => pool === undefined, deadlineMs);
  run('rm', '-f', `${scratch}/pool2/second.img`);
}

async function repair(stage: Stage): Promise<void> {
  const { daemon } = stage;
  await makeVolume(stage, 'checked');
  await persist(() => daemon.post('Volume', 'checked', 'repair', {}), 'AlreadyExists');
  await daemon.until(
    'Volume',
    'checked',
    (volume) =>
      volume?.status.repair?.requestId !== undefined &&
      volume.status.repair.requestId === volume.spec.repair?.requestId,
    deadlineMs,
  );
  await deleteVolume(stage, 'checked');
}

export const scenes: Readonly<Record<string, (stage: Stage) => Promise<void>>> = {
  'thin xfs': (stage) => life(stage, { filesystem: 'xfs' }),
  'thick ext4': (stage) => life(stage, { filesystem: 'ext4', provisioning: 'thick' }),
  bin,
  snapshots,
  groups,
  clones,
  pools,
  repair,
};
