import { type Chosen, choose } from './choose.ts';
import { findCandidates } from './find.ts';
import type { Session } from './holdings.ts';
import { listPool } from './inventory.ts';
import { markNewest } from './newest.ts';
import { journalWarning, openPool } from './place.ts';
import type { RescueDeps, VolumeChoice } from './report.ts';
import { scan } from './scan.ts';
import { beginSession, releaseAfterFailure, releaseLeftovers } from './session.ts';
import type { PoolView } from './view.ts';

export interface Opened {
  readonly view: PoolView;
  readonly chosen: Chosen;
  readonly session: Session;
  readonly warnings: string[];
}

/**
 * Finds the chosen volume at a place, opens the pool that holds its newest copy, and runs the work on it. The pool is
 * closed afterwards, unless the work succeeded and wants it kept.
 *
 * @param options.keep whether what the session holds stays when the work has succeeded
 */
export async function withChosen<T>(
  options: RescueDeps & VolumeChoice & { readonly keep?: boolean },
  work: (opened: Opened) => Promise<T>,
): Promise<T> {
  await releaseLeftovers(options);
  const report = await scan({ ...options, paths: [options.path] });
  const { volume } = choose(report.volumes, options);
  const candidates = (await findCandidates(options.host, options.path)).candidates;
  const candidate = candidates.find(({ place }) => place === volume.place);
  if (!candidate) throw new Error(`${volume.place} has gone while it was looked at`);

  const session = beginSession(options);
  try {
    const view = await openPool(candidate, session, options);
    const contents = await listPool(view, options);
    const chosen = choose(markNewest((contents?.volumes ?? []).filter(({ file }) => file === volume.file)), {
      ...options,
      volume: volume.volumeId,
    });
    const warnings = view.journalDirty ? [journalWarning(view)] : [];
    const result = await work({ view, chosen, session, warnings });
    if (options.keep !== true) await session.release();
    return result;
  } catch (error) {
    await releaseAfterFailure(session, options.log);
    throw error;
  }
}
