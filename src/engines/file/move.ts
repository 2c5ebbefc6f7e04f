/**
 * How a move to another pool survives an interruption: the volume is cloned within its own pool first, which takes
 * milliseconds, and that clone stays as it is while it is copied. Beside the copy stands how far it is. Who comes after a
 * crash goes on there, and brings over what has changed in the volume since the clone was made.
 */
import { newUid } from '../../lib/id.ts';
import { hasCode } from '../../model/errors.ts';
import type { VolumeRef } from '../contract.ts';
import type { FileContext } from './context.ts';
import { isId, moveNote, movePlace, workPlace } from './layout.ts';
import { decodeNote } from './move-note.ts';
import type { CreateSource, FixedSource } from './plan-create.ts';

/**
 * Finds the clone that an earlier attempt has begun to copy, or makes one.
 *
 * @param from the volume where it is now
 * @param to the same volume in its new pool
 * @returns undefined where no clone can be made, because the pool is full or read-only: then the volume itself is copied,
 *   and an interruption begins anew
 */
export async function fixSource(
  context: FileContext,
  from: VolumeRef,
  to: VolumeRef,
  source: Extract<CreateSource, { kind: 'move' }>,
): Promise<FixedSource | undefined> {
  const base = movePlace(context.poolPath(from.pool), from.volumeId);
  const work = workPlace(context.poolPath(to.pool), 'create', to.volumeId);
  const kernel = context.volumeKernel(from);
  const [token, stat] = await kernel.batch([
    { call: 'readTextFile', args: [base.token] },
    { call: 'stat', args: [base.data] },
  ]);
  const [noteText, copy, begun] = await context.volumeKernel(to).batch([
    { call: 'readTextFile', args: [moveNote(work)] },
    { call: 'stat', args: [work.data] },
    { call: 'listDirectory', args: [work.snapshots] },
  ]);
  const note = decodeNote(noteText);
  const fixed = { folder: base.folder, data: base.data };
  if (stat && copy && note && note.token === token) {
    const { copiedBytes, snapshotIds } = note;
    context.deps.log.info({ volumeId: from.volumeId, copiedBytes, snapshotIds }, 'a move goes on where it ended');
    const begunIds = (begun ?? []).filter(isId);
    return { ...fixed, sizeBytes: stat.sizeBytes, token, copiedBytes, snapshotIds, begunIds };
  }
  const fresh = newUid();
  try {
    await context.deps.steps.run('file.create.move-base', () =>
      kernel.batch([
        { call: 'removeTree', args: [base.folder] },
        { call: 'makeDirectory', args: [base.folder, 0o755] },
        { call: 'clone', args: [source.data, base.data] },
        { call: 'writeTextFile', args: [base.token, fresh] },
      ]),
    );
  } catch (error) {
    if (!hasCode(error, 'ResourceExhausted', 'FailedPrecondition')) throw error;
    context.deps.log.warn(
      { err: error, volumeId: from.volumeId },
      'the volume is copied as it is: if that is interrupted, it begins anew',
    );
    return undefined;
  }
  return { ...fixed, sizeBytes: source.sizeBytes, token: fresh, copiedBytes: 0, snapshotIds: [], begunIds: [] };
}
