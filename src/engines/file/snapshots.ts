import { makeCause } from '../../model/cause.ts';
import { hasCode } from '../../model/errors.ts';
import type { EngineDiff, EngineSnapshots, SnapshotIdentity, SnapshotRef } from '../contract.ts';
import { runPlan, runStep } from './apply.ts';
import {
  blamePoolFull,
  type FileContext,
  lookIn,
  requireDetached,
  requirePool,
  snapshotMissing,
  volumeMissing,
} from './context.ts';
import { step } from './effects.ts';
import { decodeSnapshot, decodeVolume } from './format.ts';
import { recycledPlace, snapshotPlace, type VolumePlace, volumePlace, workPlace } from './layout.ts';
import { planCommit, planDeleteSnapshot, planRestore } from './plan.ts';
import { clonePieces } from './two-pass.ts';

/** A clone of a badly fragmented file takes seconds: 10 µs for each extent. */
const cutDeadlineMs = 60_000;

/** Snapshots of file volumes: a clone that is cut in the pool's tmp folder and moved into place when it is durable. */
export function fileSnapshots(context: FileContext): Required<EngineSnapshots> {
  return {
    prepare: (snapshot) => prepare(context, snapshot),
    cut: (snapshot) => cut(context, snapshot),
    commit: (snapshot, identity) => commit(context, snapshot, identity),
    abandon: (snapshot) => abandon(context, snapshot),
    observe: (snapshot) => observe(context, snapshot),
    usage: (snapshot) => usage(context, snapshot),
    delete: (snapshot) => remove(context, snapshot),
    restore: (snapshot) => restore(context, snapshot),
  };
}

/** Changed and allocated ranges: only between kept snapshots, since a live file's map is not the truth. */
export function fileDiff(context: FileContext): EngineDiff {
  return {
    allocated: async (snapshot, { fromBytes, limit }) => {
      const data = await committedData(context, snapshot);
      return context.volumeKernel(snapshot).allocatedRanges(data, { fromBytes, limit });
    },
    changed: async (base, target, { fromBytes, limit }) => {
      const [baseData, targetData] = await Promise.all([committedData(context, base), committedData(context, target)]);
      return context.volumeKernel(target).changedRanges(baseData, targetData, { fromBytes, limit });
    },
  };
}

interface Places {
  readonly path: string;
  readonly volume: VolumePlace;
  readonly snapshot: VolumePlace;
  readonly work: VolumePlace;
}

function places(context: FileContext, { pool, volumeId, snapshotId }: SnapshotRef): Places {
  const path = context.poolPath(pool);
  const volume = volumePlace(path, volumeId);
  return { path, volume, snapshot: snapshotPlace(volume, snapshotId), work: workPlace(path, 'snapshot', snapshotId) };
}

async function prepare(context: FileContext, snapshot: SnapshotRef): Promise<void> {
  const { volume, snapshot: place, work } = places(context, snapshot);
  const kernel = context.volumeKernel(snapshot, { deadlineMs: cutDeadlineMs });
  const [source, committed] = await lookIn(context, snapshot.pool, kernel, [
    { call: 'stat', args: [volume.data] },
    { call: 'stat', args: [place.folder] },
  ]);
  if (committed) return;
  if (!source) throw volumeMissing(snapshot);
  await context.deps.steps.run('file.snapshot.prepare', async () => {
    try {
      await kernel.makeDirectory(work.folder);
      await clonePieces(kernel, volume.data, work.data);
    } catch (error) {
      throw blamePoolFull(error, snapshot.pool);
    }
  });
}

async function cut(context: FileContext, snapshot: SnapshotRef): Promise<void> {
  const { volume, snapshot: place, work } = places(context, snapshot);
  const kernel = context.volumeKernel(snapshot, { deadlineMs: cutDeadlineMs });
  const [committed] = await lookIn(context, snapshot.pool, kernel, [{ call: 'stat', args: [place.folder] }]);
  if (committed) return;
  const clone = () => kernel.clone(volume.data, work.data, { sync: false });
  await context.deps.steps.run('file.snapshot.cut', async () => {
    try {
      await clone();
    } catch (error) {
      if (!hasCode(error, 'NotFound')) throw blamePoolFull(error, snapshot.pool);
      if (!(await kernel.stat(volume.data))) throw volumeMissing(snapshot);
      await kernel.makeDirectory(work.folder);
      await clone();
    }
  });
}

async function commit(context: FileContext, snapshot: SnapshotRef, identity: SnapshotIdentity): Promise<void> {
  const { path, snapshot: place, work } = places(context, snapshot);
  const kernel = context.volumeKernel(snapshot, { deadlineMs: cutDeadlineMs });
  const [committed, data] = await lookIn(context, snapshot.pool, kernel, [
    { call: 'stat', args: [place.folder] },
    { call: 'stat', args: [work.data] },
  ]);
  const plan = planCommit(path, identity, { committed: committed !== undefined, cut: data !== undefined });
  await runPlan(context, snapshot.pool, kernel, plan);
}

async function abandon(context: FileContext, snapshot: SnapshotRef): Promise<void> {
  const { work } = places(context, snapshot);
  const kernel = context.volumeKernel(snapshot);
  const [leftover] = await lookIn(context, snapshot.pool, kernel, [{ call: 'stat', args: [work.folder] }]);
  if (!leftover) return;
  await runStep(context, snapshot.pool, kernel, step('snapshot.abandon', { do: 'remove', path: work.folder }));
}

async function observe(context: FileContext, snapshot: SnapshotRef) {
  const { snapshot: place } = places(context, snapshot);
  const kernel = context.volumeKernel(snapshot);
  const [folder, data, text] = await lookIn(context, snapshot.pool, kernel, [
    { call: 'stat', args: [place.folder] },
    { call: 'stat', args: [place.data] },
    { call: 'readTextFile', args: [place.identity] },
  ]);
  if (!folder) return { present: false, sizeBytes: 0, causes: [] };
  const identity = decodeSnapshot(text);
  const volume = `${snapshot.volumeId}, snapshot ${snapshot.snapshotId}`;
  return {
    present: true,
    sizeBytes: data?.sizeBytes ?? 0,
    ...(identity.ok ? { identity: identity.value } : {}),
    causes: [
      ...(data ? [] : [makeCause('BackingMissing', { volume, path: place.data })]),
      ...(identity.ok
        ? []
        : [makeCause('IdentityDamaged', { volume, problem: identity.problem, path: place.identity })]),
    ],
  };
}

async function usage(context: FileContext, snapshot: SnapshotRef) {
  const data = await committedData(context, snapshot);
  const { exclusiveBytes, sharedBytes } = await context.volumeKernel(snapshot).extentUsage(data);
  return { exclusiveBytes, sharedBytes };
}

/** The data file of a committed snapshot, also of a volume in the recycle bin. @throws AzekuraError NotFound */
async function committedData(context: FileContext, snapshot: SnapshotRef): Promise<string> {
  const path = await requirePool(context, snapshot.pool);
  const kernel = context.volumeKernel(snapshot);
  for (const volume of [volumePlace(path, snapshot.volumeId), recycledPlace(path, snapshot.volumeId)]) {
    const { data } = snapshotPlace(volume, snapshot.snapshotId);
    if (await kernel.stat(data)) return data;
  }
  throw snapshotMissing(snapshot);
}

async function remove(context: FileContext, snapshot: SnapshotRef): Promise<void> {
  const { path, snapshot: place } = places(context, snapshot);
  const kernel = context.volumeKernel(snapshot);
  const leftover = workPlace(path, 'delete-snapshot', snapshot.snapshotId);
  const [present, left] = await lookIn(context, snapshot.pool, kernel, [
    { call: 'stat', args: [place.folder] },
    { call: 'stat', args: [leftover.folder] },
  ]);
  const plan = planDeleteSnapshot(path, snapshot.volumeId, snapshot.snapshotId, {
    present: present !== undefined,
    leftover: left !== undefined,
  });
  await runPlan(context, snapshot.pool, kernel, plan);
}

async function restore(context: FileContext, snapshot: SnapshotRef): Promise<void> {
  const { path, volume, snapshot: place } = places(context, snapshot);
  const kernel = context.volumeKernel(snapshot, { deadlineMs: cutDeadlineMs });
  const [live, source, text, leftover] = await lookIn(context, snapshot.pool, kernel, [
    { call: 'stat', args: [volume.data] },
    { call: 'stat', args: [place.data] },
    { call: 'readTextFile', args: [volume.identity] },
    { call: 'stat', args: [workPlace(path, 'restore', snapshot.volumeId).folder] },
  ]);
  if (!source) throw snapshotMissing(snapshot);
  await requireDetached(context, snapshot);
  const identity = decodeVolume(text);
  const plan = planRestore(path, snapshot.volumeId, {
    snapshotData: place.data,
    snapshotBytes: source.sizeBytes,
    volumeBytes: live?.sizeBytes ?? source.sizeBytes,
    thick: identity.ok && identity.value.provisioning === 'thick',
    leftover: leftover !== undefined,
  });
  await runPlan(context, snapshot.pool, kernel, plan);
}
