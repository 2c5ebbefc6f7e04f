import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { AdoptAnswer, Adopted, NotAdopted } from '../../control/operations.ts';
import { formatBytes } from '../../lib/quantity.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { Pool } from '../../model/kinds.ts';
import { parseName } from '../arguments.ts';
import { objectPath } from '../client.ts';
import type { Context } from '../context.ts';
import type { Section } from '../describe.ts';
import { examples } from '../help.ts';
import { printData } from '../output.ts';
import { printableText } from '../table.ts';

/** Each turn takes what a Pool object can list; a pool with more is taken over in several. */
const mostTurns = 1_000;

interface AdoptOptions {
  readonly all?: boolean;
  readonly as?: string;
  readonly keyFile?: string;
}

/** The verb that makes objects again of what lies on a pool without any. */
export function registerPoolAdopt(group: Command, context: Context): void {
  const adopt = group
    .command('adopt <name> [volume...]')
    .summary('make objects again of volumes that lie on a pool without any')
    .description(
      'Makes objects again of volumes and snapshots that lie on a pool without any: after an uninstall, on a pool from another machine, or when objects were deleted without consent to destroy their data. Names, ids and claims stay; nothing is copied.',
    )
    .option('--all', 'all that the pool holds')
    .option('--as <name>', 'under this name, when its own is taken or lost; for one volume')
    .option('--key-file <file>', 'file on the node with the key of encrypted volumes (what stands beside the data)')
    .action(async (name: string, volumes: string[], options: AdoptOptions) => {
      const body = {
        ...(volumes.length > 0 ? { volumes } : {}),
        ...(options.all ? { all: true } : {}),
        ...(options.as === undefined ? {} : { as: parseName(options.as, 'volume') }),
        ...(options.keyFile === undefined ? {} : { keyFile: resolve(options.keyFile) }),
      };
      return adoptAll(context, parseName(name, 'pool'), body);
    });
  examples(adopt, [
    'pool adopt main --all --dry-run',
    'pool adopt main --all',
    'pool adopt main db wal',
    'pool adopt main db --as db-before',
    'pool adopt main db --key-file /etc/azekura/keys/db',
  ]);
}

async function adoptAll(context: Context, pool: string, body: { readonly all?: boolean }): Promise<void> {
  const client = await context.client();
  const { dryRun } = context.globals();
  const adopted: Adopted[] = [];
  let conflicts: readonly NotAdopted[] = [];
  let unlisted = 0;
  for (let turn = 0; turn < mostTurns; turn++) {
    const answer = (await client.call('POST', objectPath('Pool', pool, 'adopt'), {
      body,
      query: dryRun ? { dryRun } : {},
    })) as AdoptAnswer;
    adopted.push(...answer.adopted);
    ({ conflicts, unlisted } = answer);
    if (dryRun || !body.all || unlisted === 0 || answer.adopted.length === 0) break;
  }
  const format = context.format();
  if (format === 'json' || format === 'yaml') await printData(context, { pool, adopted, conflicts, unlisted });
  else print(context, pool, { adopted, conflicts, unlisted, dryRun: dryRun === true });
  if (conflicts.length > 0)
    throw new AzekuraError(
      'AlreadyExists',
      `${conflicts.length} ${conflicts.length === 1 ? 'volume' : 'volumes'} on pool ${pool} cannot be adopted as asked`,
      { next: 'see what stands in the way of each of them above' },
    );
}

function print(
  context: Context,
  pool: string,
  answer: Pick<AdoptAnswer, 'adopted' | 'conflicts' | 'unlisted'> & { readonly dryRun: boolean },
): void {
  const { out } = context.terminal;
  const line = (text: string) => out(`${printableText(text)}\n`);
  const { adopted, conflicts, unlisted, dryRun } = answer;
  for (const { volume, volumeId, sizeBytes, recycled, snapshots } of adopted) {
    const what =
      sizeBytes === 0
        ? `snapshots of volume/${volume}`
        : `volume/${volume} (${formatBytes(sizeBytes)}, id ${volumeId})`;
    const where = recycled ? ' into the recycle bin' : '';
    const with_ = snapshots.length > 0 ? `: ${sizeBytes === 0 ? '' : 'with '}snapshot ${snapshots.join(', ')}` : '';
    line(`${dryRun ? 'would adopt' : 'adopted'} ${what}${where}${with_}`);
  }
  for (const { volume, volumeId, problem, next } of conflicts) {
    line(`not adopted: ${volume}${volume === volumeId ? '' : ` (id ${volumeId})`}: ${problem}`);
    line(`  next: ${next}`);
  }
  if (adopted.length + conflicts.length === 0) line(`pool/${pool} holds nothing without objects`);
  if (unlisted > 0) line(`${unlisted} more are on the pool`);
  if (dryRun) line('Nothing was changed.');
}

/** What lies on a pool without objects, for `pool show`. */
export function orphanSection({ metadata, status }: Pool): Section {
  const { orphans } = status;
  if (!orphans || orphans.volumeCount + orphans.snapshotCount === 0) return { title: 'without objects', lines: [] };
  const lines = orphans.volumes.map((volume) =>
    [
      volume.name ?? volume.volumeId,
      formatBytes(volume.sizeBytes),
      `id ${volume.volumeId}`,
      ...(volume.recycled ? ['recycled'] : []),
      ...(volume.problem === undefined ? [] : [volume.problem]),
    ].join('  '),
  );
  for (const snapshot of orphans.snapshots)
    lines.push(`snapshot ${snapshot.name ?? snapshot.snapshotId}  of volume id ${snapshot.volumeId}`);
  const unlisted = orphans.volumeCount - orphans.volumes.length + (orphans.snapshotCount - orphans.snapshots.length);
  if (unlisted > 0) lines.push(`and ${unlisted} more`);
  lines.push(`next: azekura pool adopt ${metadata.name} --all`);
  return { title: 'without objects', lines };
}
