import { rmSync } from 'node:fs';
import { LabEngine } from '../engine.ts';
import { seededRandom } from '../random.ts';
import { Replay } from '../replay.ts';
import { Cleanup, run } from '../workbench.ts';
import { chooseCuts } from './moments.ts';
import type { History, HostFilesystem } from './scenario.ts';
import { verifyCut } from './verify.ts';

/** The sum over all cuts; a record counts once at each cut at which it was due. */
export interface Tally {
  cuts: number;
  records: number;
  snapshots: number;
  snapshotsMounted: number;
  operations: number;
  storeWrites: number;
  /** Blocks that were written before the cut, were not flushed, and did not reach the medium. */
  droppedBlocks: number;
  problems: string[];
}

export interface CutOptions {
  readonly history: History;
  readonly directory: string;
  readonly hostFilesystem: HostFilesystem;
  readonly cuts: number;
  readonly seed: number;
}

/** Cuts the power at random moments of the log and looks at each image through all layers. */
export async function cutAtRandom({ history, directory, hostFilesystem, cuts, seed }: CutOptions): Promise<Tally> {
  const random = seededRandom(seed);
  const positions = chooseCuts(history.logPath, history, cuts, random);
  const tally: Tally = {
    cuts: 0,
    records: 0,
    snapshots: 0,
    snapshotsMounted: 0,
    operations: 0,
    storeWrites: 0,
    droppedBlocks: 0,
    problems: [],
  };
  const replay = new Replay(history.logPath, `${directory}/durable`);
  const image = `${directory}/crashed`;
  const cleanup = new Cleanup();
  const lab = LabEngine.open(history.places.runtime, cleanup);
  try {
    for (const position of positions) {
      replay.advance(position);
      run('cp', '--sparse=always', replay.durableImage, image);
      const { pendingBlocks, survivingBlocks } = replay.crash(image, random);
      const result = await verifyCut(lab, image, position, history, hostFilesystem);
      rmSync(image);
      tally.cuts++;
      tally.records += result.records;
      tally.snapshots += result.snapshots;
      tally.snapshotsMounted += result.snapshotsMounted;
      tally.operations += result.operations;
      tally.storeWrites += result.storeWrites;
      tally.droppedBlocks += pendingBlocks - survivingBlocks;
      tally.problems.push(...result.problems.map((problem) => `${problem} (cut ${tally.cuts} at ${position})`));
    }
  } finally {
    replay.close();
    await cleanup.run();
  }
  return tally;
}
