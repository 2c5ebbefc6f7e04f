import type { AgentContext } from '../context.ts';

const pieceMs = 1_000;
/** Of one piece: the time that a device may need for it, not the piece's own. */
const deadlineMs = 120_000;

/**
 * Gives the file system that is mounted at `root` to a group, in pieces, so that what hangs is told from what is long.
 * One look when it belongs to the group already.
 *
 * @throws AzekuraError Unavailable with blame HungCall; HostFailure
 */
export async function giveToGroup(context: AgentContext, volumeId: string, root: string, gid: number): Promise<void> {
  const kernel = context.deps.host.kernel(`volume/${volumeId}`, { deadlineMs });
  const total = { changed: 0, skipped: 0 };
  let after: readonly string[] | undefined;
  for (;;) {
    const piece = await kernel.giveToGroup(root, gid, { budgetMs: pieceMs, ...(after ? { after } : {}) });
    total.changed += piece.changed;
    total.skipped += piece.skipped;
    if (piece.done) break;
    after = piece.after ?? [];
  }
  if (total.changed > 0) context.deps.log.info({ volumeId, gid, ...total }, 'the volume was given to a group');
}
