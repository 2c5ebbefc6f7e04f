import type { BatchCall, ByteRange, Kernel } from '../../host/kernel.ts';

/** Copies between pools, which share no blocks with their source. */

/** How long one call works before it reports and goes on. */
const budgetMs = 500;
/** Changed ranges that are copied in one round trip, and how large one of them may be. */
const rangesAtOnce = 64;
const largestPieceBytes = 32 * 2 ** 20;
/** What is copied between two notes is copied again after an interruption. */
const leastNotedBytes = 128 * 2 ** 20;
const mostNotes = 64;

type Hint = { readonly extentSizeBytes?: number };
type Progress = (doneBytes: number, totalBytes: number) => void;

/** A whole copy: holes stay holes. */
export async function copyFile(
  kernel: Kernel,
  file: { readonly from: string; readonly to: string; readonly sizeBytes: number },
  hint: Hint,
  progress: Progress,
): Promise<void> {
  await kernel.createSparse(file.to, file.sizeBytes, hint);
  for (let offsetBytes = 0, done = false; !done; ) {
    const piece = await kernel.copyRange(file.from, file.to, { offsetBytes, budgetMs });
    offsetBytes = piece.nextOffsetBytes;
    done = piece.done;
    progress(offsetBytes, file.sizeBytes);
  }
}

/**
 * A whole copy of a file that stays as it is, which may be ended at any moment and goes on where it was noted last.
 *
 * @param file.fromBytes where to go on; 0 begins anew
 * @param note makes it durable that so many bytes are copied
 */
export async function copyOn(
  kernel: Kernel,
  file: { readonly from: string; readonly to: string; readonly sizeBytes: number; readonly fromBytes: number },
  hint: Hint,
  progress: Progress,
  note: (copiedBytes: number) => Promise<void>,
): Promise<void> {
  const { from, to, sizeBytes } = file;
  const noteEveryBytes = Math.max(leastNotedBytes, Math.ceil(sizeBytes / mostNotes));
  if (file.fromBytes === 0) await kernel.createSparse(to, sizeBytes, hint);
  let unnotedBytes = 0;
  for (let offsetBytes = file.fromBytes, done = false; !done; ) {
    // A fast disk would copy more in one call than may be lost without a note.
    const endBytes = Math.min(sizeBytes, offsetBytes + noteEveryBytes);
    const piece = await kernel.copyRange(from, to, { offsetBytes, endBytes, budgetMs });
    offsetBytes = piece.nextOffsetBytes;
    done = piece.done && (endBytes === sizeBytes || offsetBytes < endBytes);
    unnotedBytes += piece.copiedBytes;
    progress(offsetBytes, sizeBytes);
    if (done || unnotedBytes < noteEveryBytes) continue;
    await kernel.sync(to);
    await note(offsetBytes);
    unnotedBytes = 0;
  }
  await note(sizeBytes);
}

/**
 * A copy of a file of which a similar one has been copied before: a clone of that copy, and what differs. Nobody may
 * write to the files meanwhile.
 *
 * @param file.base the similar file
 * @param file.previous its copy
 */
export async function copyChanges(
  kernel: Kernel,
  file: {
    readonly base: string;
    readonly previous: string;
    readonly from: string;
    readonly to: string;
    readonly sizeBytes: number;
  },
  hint: Hint,
  progress: Progress,
): Promise<void> {
  await kernel.clone(file.previous, file.to, { sync: false, ...hint });
  await catchUp(kernel, file, progress);
}

/**
 * Brings over what differs between two similar files, of which the first has been copied.
 *
 * @param file.base the first
 * @param file.from the second
 * @param file.to the copy of the first, which becomes one of the second
 */
export async function catchUp(
  kernel: Kernel,
  file: { readonly base: string; readonly from: string; readonly to: string; readonly sizeBytes: number },
  progress: Progress,
): Promise<void> {
  const { base, from, to, sizeBytes } = file;
  // What was written and not yet placed on the disk would be missing in the maps of the files.
  for (const path of [base, from]) await kernel.sync(path);
  await kernel.truncate(to, sizeBytes);
  for (let fromBytes: number | undefined = 0; fromBytes !== undefined; ) {
    const page: Awaited<ReturnType<Kernel['changedRanges']>> = await kernel.changedRanges(base, from, {
      fromBytes,
      limit: rangesAtOnce,
    });
    const calls = page.ranges
      .flatMap((range) => pieces(range, sizeBytes))
      .map(({ offsetBytes, lengthBytes }): BatchCall => {
        const endBytes = offsetBytes + lengthBytes;
        return {
          call: 'copyRange',
          args: [from, to, { offsetBytes, endBytes, overwrite: true, budgetMs: Number.MAX_SAFE_INTEGER }],
        };
      });
    for (let at = 0; at < calls.length; at += rangesAtOnce) await kernel.batch(calls.slice(at, at + rangesAtOnce));
    fromBytes = page.nextBytes;
    progress(fromBytes ?? sizeBytes, sizeBytes);
  }
  await kernel.sync(to);
}

/** No piece is so large that a call could take long; nothing behind the end of the file. */
function pieces({ offsetBytes, lengthBytes }: ByteRange, sizeBytes: number): ByteRange[] {
  const end = Math.min(offsetBytes + lengthBytes, sizeBytes);
  const found: ByteRange[] = [];
  for (let at = offsetBytes; at < end; at += largestPieceBytes) {
    found.push({ offsetBytes: at, lengthBytes: Math.min(largestPieceBytes, end - at) });
  }
  return found;
}
