import type { Random } from '../random.ts';
import { LogReader } from '../write-log.ts';

interface Moment {
  /** Just before the flush: everything of this stretch is written, nothing of it is covered. */
  readonly position: number;
  readonly pendingBytes: number;
}

/**
 * Chooses where in a log the power is cut. Half of the cuts fall anywhere. A program that flushes after each write has
 * hardly anything pending then, so the other half falls just before a flush, the likelier the more it would have covered.
 *
 * @returns ascending positions
 */
export function chooseCuts(
  logPath: string,
  range: { readonly from: number; readonly to: number },
  count: number,
  random: Random,
): readonly number[] {
  const moments = momentsBeforeFlush(logPath).filter(({ position }) => position >= range.from && position <= range.to);
  const total = moments.reduce((sum, { pendingBytes }) => sum + pendingBytes, 0);
  const positions = Array.from({ length: count }, (_, n) =>
    n % 2 === 0 || total === 0
      ? range.from + random.below(range.to - range.from)
      : weighted(moments, random.below(total)),
  );
  return positions.sort((a, b) => a - b);
}

function momentsBeforeFlush(logPath: string): readonly Moment[] {
  const reader = new LogReader(logPath);
  const moments: Moment[] = [];
  let pendingBytes = 0;
  let position = 0;
  try {
    for (let record = reader.next(); record; record = reader.next()) {
      if (record.kind === 'write') {
        pendingBytes += record.data.length;
        position = record.endPosition;
      } else if (record.kind === 'flush') {
        if (pendingBytes > 0) moments.push({ position, pendingBytes });
        pendingBytes = 0;
      }
    }
  } finally {
    reader.close();
  }
  return moments;
}

function weighted(moments: readonly Moment[], at: number): number {
  let left = at;
  for (const { position, pendingBytes } of moments) {
    if (left < pendingBytes) return position;
    left -= pendingBytes;
  }
  return moments.at(-1)?.position ?? 0;
}
