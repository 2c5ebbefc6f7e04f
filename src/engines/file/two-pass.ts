import type { Kernel } from '../../host/kernel.ts';

/** 8 MiB at a time hold the writer back for some 50 ms at worst, where the whole file at once takes seconds (measured). */
const pieceBytes = 8 * 2 ** 20;
const budgetMs = 200;

/**
 * The first pass of a two-pass clone: shares most blocks piece by piece while the file is written, so that the second
 * pass, one whole clone over the same file, finds nearly all of them shared already and is short. Only XFS skips what
 * is shared; elsewhere this does nothing.
 */
export async function clonePieces(kernel: Kernel, from: string, to: string): Promise<void> {
  if ((await kernel.statfs(from)).type !== 'xfs') return;
  for (let offsetBytes = 0, done = false; !done; ) {
    const piece = await kernel.cloneRange(from, to, { offsetBytes, pieceBytes, budgetMs });
    offsetBytes = piece.nextOffsetBytes;
    done = piece.done;
  }
}
