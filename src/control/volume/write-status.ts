import type { Volume } from '../../model/kinds.ts';
import { changeStatus } from '../../store/change.ts';
import type { StatusChange } from '../../store/store.ts';
import type { ControlContext } from '../context.ts';

/**
 * Writes a Volume's status like changeStatus(), and notes it before, so that nobody wakes up when the view hears of it.
 * Another's write is still noticed: that of a leader that does not know yet that it has been replaced, or somebody's own.
 *
 * @throws AzekuraError as changeStatus() does
 */
export async function writeVolumeStatus(
  { deps, writtenStatuses }: ControlContext,
  name: string,
  edit: (stored: Volume) => StatusChange<'Volume'> | undefined,
): Promise<Volume | undefined> {
  let before: Volume | undefined;
  let written: Volume | undefined;
  try {
    written = await changeStatus(deps.store, 'Volume', name, (stored) => {
      before = stored;
      const edited = edit(stored);
      if (edited) writtenStatuses.set(name, { ...stored.status, ...edited });
      return edited;
    });
    return written;
  } finally {
    // Nothing was written, so nothing will be heard of.
    if (written === undefined || written === before) writtenStatuses.delete(name);
  }
}
