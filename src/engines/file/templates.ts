import { ext4OptionsBefore147, knowsPrezeroed, mkfsOptions } from '../../host/mkfs.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed, hasCode } from '../../model/errors.ts';
import type { PoolRef } from '../contract.ts';
import { blamePoolFull, type FileContext } from './context.ts';
import { templatePath, templatesFolder, temporaryFolder } from './layout.ts';
import { templateName } from './template-options.ts';

/** Templates that a pool keeps; the one that was not cloned for the longest time goes first. An empty ext4 of 20 GiB takes 5 MiB, any XFS 64 MiB of log. */
const maximumTemplates = 24;
const mkfsDeadlineMs = 120_000;

/**
 * Makes the empty file system of that kind and size, unless it is there. Volumes are clones of it: less than a
 * millisecond instead of a run of mkfs.
 *
 * @throws AzekuraError FailedPrecondition with blame ToolMissing; ResourceExhausted with blame PoolFull
 */
export async function ensureTemplate(
  context: FileContext,
  pool: PoolRef,
  filesystem: 'xfs' | 'ext4',
  sizeBytes: number,
): Promise<void> {
  const name = templateName(filesystem, sizeBytes);
  const path = context.poolPath(pool);
  const kernel = context.poolKernel(pool, { deadlineMs: mkfsDeadlineMs });
  await context.deps.locks.run(`file/template/${path}/${name}`, async () => {
    if (await kernel.stat(templatePath(path, name))) return;
    const unfinished = `${path}/${temporaryFolder}/template-${name}`;
    await kernel.removeTree(unfinished);
    await dropOldTemplates(context, pool);
    try {
      await kernel.createSparse(unfinished, sizeBytes);
      await makeFilesystem(context, pool, filesystem, unfinished);
      await kernel.sync(unfinished);
      await kernel.rename(unfinished, templatePath(path, name), { replace: true });
    } catch (error) {
      await kernel.removeTree(unfinished);
      throw blamePoolFull(error, pool, sizeBytes);
    }
  });
}

/** Runs mkfs on a file. */
export async function makeFilesystem(
  context: FileContext,
  pool: PoolRef,
  filesystem: 'xfs' | 'ext4',
  file: string,
): Promise<void> {
  const { host } = context.deps;
  const tool = `mkfs.${filesystem}`;
  const options: string[] = [...mkfsOptions[filesystem]];
  try {
    if (filesystem === 'ext4' && !(await knowsPrezeroed(host)))
      options.splice(options.length - 1, 1, ext4OptionsBefore147);
    await host.exec([tool, ...options, file], { deadlineMs: mkfsDeadlineMs, domain: `pool/${pool.name}` });
  } catch (error) {
    throw explainMkfs(error, tool, filesystem);
  }
}

/** What a failed mkfs means to the user. */
export function explainMkfs(error: unknown, tool: string, filesystem: 'xfs' | 'ext4'): unknown {
  if (hasCode(error, 'NotFound') || (error instanceof AzekuraError && error.details.errno === 'ENOENT')) {
    const cause = makeCause('ToolMissing', { tool, package: filesystem === 'xfs' ? 'xfsprogs' : 'e2fsprogs' });
    return blamed('FailedPrecondition', cause, { cause: error });
  }
  return error instanceof AzekuraError && /no space left/i.test(error.message)
    ? new AzekuraError('ResourceExhausted', error.message, { cause: error })
    : error;
}

async function dropOldTemplates(context: FileContext, pool: PoolRef): Promise<void> {
  const kernel = context.poolKernel(pool);
  const folder = `${context.poolPath(pool)}/${templatesFolder}`;
  const names = (await kernel.listDirectory(folder)) ?? [];
  if (names.length < maximumTemplates) return;
  const dated: { readonly name: string; readonly usedMs: number }[] = [];
  for (const name of names) dated.push({ name, usedMs: (await kernel.stat(`${folder}/${name}`))?.modifiedMs ?? 0 });
  dated.sort((a, b) => a.usedMs - b.usedMs);
  for (const { name } of dated.slice(0, names.length - maximumTemplates + 1))
    await kernel.removeTree(`${folder}/${name}`);
}
