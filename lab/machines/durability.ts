/**
 * Whether what a machine acknowledged outlives a power cut: a writer that prints a line for each thing that it was
 * promised, the position of every log at that moment, and disks as the cut may have left them.
 */
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { seededRandom } from '../random.ts';
import { Replay } from '../replay.ts';
import type { RemoteProcess } from './channel.ts';
import { LabError } from './error.ts';
import type { MachineDisk } from './machine-disk.ts';

/** An instant, as one position in the log of each disk. */
export type Instant = readonly number[];

export interface Ack {
  readonly line: string;
  /** What the line promises lies below these positions. */
  readonly instant: Instant;
}

/** @throws LabError when a disk has no log */
export function instantOf(disks: readonly MachineDisk[]): Instant {
  return disks.map((disk) => disk.logPosition());
}

export class AckRecorder {
  readonly acks: Ack[] = [];
  readonly #process: RemoteProcess;
  readonly #ended: Promise<void>;
  #stderr = '';

  /**
   * @param process prints a line only after what it stands for was promised to outlive a power cut
   * @param disks all disks with a log that the promise rests on
   */
  constructor(process: RemoteProcess, disks: readonly MachineDisk[]) {
    this.#process = process;
    process.stderr.on('data', (data: Buffer) => (this.#stderr += data.toString()));
    const lines = createInterface(process.stdout);
    lines.on('line', (line) => this.acks.push({ line, instant: instantOf(disks) }));
    this.#ended = new Promise((resolve) => lines.once('close', () => resolve()));
  }

  /** Waits for so many acks. @throws LabError when the writer ends before */
  async reach(count: number): Promise<void> {
    let ended = false;
    void this.#ended.then(() => (ended = true));
    while (this.acks.length < count) {
      if (ended) throw new LabError(`the writer ended after ${this.acks.length} lines: ${this.#stderr.trim()}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Waits until the writer has ended, as it does when its machine loses its power. */
  async end(): Promise<readonly Ack[]> {
    await this.#ended;
    this.#process.kill();
    return this.acks;
  }
}

/** What had been acknowledged by an instant. */
export function acknowledgedBy(acks: readonly Ack[], instant: Instant): readonly Ack[] {
  return acks.filter((ack) => ack.instant.every((position, index) => position <= (instant[index] ?? 0)));
}

export interface CrashedDisks {
  /** One image for each disk, in the same order; to be added by `addDisk({ image })`. */
  readonly images: readonly string[];
  /** Blocks that no completed flush had covered, of all disks, and how many of them the cut has spared. */
  readonly pendingBlocks: number;
  readonly survivingBlocks: number;
}

/** Disks after a power cut at one instant after the other, from their logs. */
export class CrashReplay {
  readonly #replays: readonly Replay[];
  readonly #folder: string;
  readonly #disks: readonly MachineDisk[];

  /** @param folder on the host; takes the images. @throws LabError when a disk has no log */
  constructor(disks: readonly MachineDisk[], folder: string) {
    this.#disks = disks;
    this.#folder = folder;
    this.#replays = disks.map((disk, index) => new Replay(disk.logPath, path.join(folder, `durable-${index}`)));
  }

  /**
   * Makes images of the disks after a cut. Of the writes that no flush had covered a random part is there.
   *
   * @param instant not before that of the call before
   * @param seed the same seed makes the same images
   */
  crash(instant: Instant, seed: number): CrashedDisks {
    let pendingBlocks = 0;
    let survivingBlocks = 0;
    const images = this.#replays.map((replay, index) => {
      replay.advance(instant[index] ?? 0);
      const image = path.join(this.#folder, `crash-${seed}-${index}`);
      execFileSync('cp', ['--sparse=always', replay.durableImage, image]);
      const result = replay.crash(image, seededRandom(seed * 16 + index));
      pendingBlocks += result.pendingBlocks;
      survivingBlocks += result.survivingBlocks;
      return image;
    });
    return { images, pendingBlocks, survivingBlocks };
  }

  /** The last instant of the logs. */
  end(): Instant {
    return instantOf(this.#disks);
  }

  close(): void {
    for (const replay of this.#replays) replay.close();
  }
}
