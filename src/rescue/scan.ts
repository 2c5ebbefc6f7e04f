import { toAzekuraError } from '../model/errors.ts';
import { findCandidates } from './find.ts';
import { checkInterrupted } from './interrupt.ts';
import { listPool } from './inventory.ts';
import { markNewest } from './newest.ts';
import { journalWarning, openPool } from './place.ts';
import type { RescueDeps, RescuedPool, RescuedVolume, RescueReport, ScanOptions } from './report.ts';
import { beginSession, releaseAfterFailure, releaseLeftovers } from './session.ts';
import type { PoolContents, PoolView } from './view.ts';

/**
 * Lists what is on the named places. A place that cannot be read costs a warning, not the list of the others.
 *
 * @throws AzekuraError the first problem, when no place could be read at all; the signal's reason when it is aborted
 */
export async function scan(options: ScanOptions): Promise<RescueReport> {
  await releaseLeftovers(options);
  const pools: RescuedPool[] = [];
  const volumes: RescuedVolume[] = [];
  const warnings: string[] = [];
  const seen = new Set<string>();
  let problem: unknown;
  for (const path of options.paths) {
    try {
      await visitPools(path, { ...options, seen }, warnings, async (_view, contents) => {
        pools.push(contents.pool);
        volumes.push(...contents.volumes);
      });
    } catch (error) {
      checkInterrupted(options.signal);
      problem ??= error;
      warnings.push(toAzekuraError(error).message);
    }
  }
  if (pools.length === 0 && problem !== undefined) throw problem;
  return { pools, volumes: markNewest(volumes), warnings };
}

/**
 * Opens each pool at a path in turn, hands it to the visitor and closes it again. A pool is seen once, however many
 * ways lead to it.
 *
 * @param deps.seen where pools were found before; those of this path are added
 * @param warnings what cannot be read is added here
 */
export async function visitPools(
  path: string,
  deps: RescueDeps & { readonly seen: Set<string> },
  warnings: string[],
  visit: (view: PoolView, contents: PoolContents) => Promise<void>,
): Promise<void> {
  const found = await findCandidates(deps.host, path);
  warnings.push(...found.warnings);
  let problem: unknown;
  let readable = 0;
  for (const candidate of found.candidates) {
    checkInterrupted(deps.signal);
    const session = beginSession(deps);
    try {
      const view = await openPool(candidate, session, deps);
      if (deps.seen.has(view.root)) {
        readable++;
        continue;
      }
      deps.seen.add(view.root);
      const contents = await listPool(view, deps);
      if (contents === undefined) {
        warnings.push(`${candidate.place} ${noPool(view)}`);
        continue;
      }
      readable++;
      warnings.push(...contents.warnings, ...(view.journalDirty ? [journalWarning(view)] : []));
      await visit(view, contents);
    } catch (error) {
      checkInterrupted(deps.signal);
      problem ??= error;
      warnings.push(`${candidate.place}: ${toAzekuraError(error).message}`);
    } finally {
      await releaseAfterFailure(session, deps.log);
    }
  }
  if (readable === 0 && problem !== undefined) throw problem;
}

function noPool({ group }: PoolView): string {
  return group
    ? `is part of volume group ${group.group.name}, which is no pool of Azekura`
    : 'holds a file system, but no pool of Azekura';
}
