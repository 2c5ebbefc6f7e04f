import type { Command } from 'commander';
import { formatBytes } from '../../lib/quantity.ts';
import type { Pool } from '../../model/kinds.ts';
import { collect, parseName } from '../arguments.ts';
import { objectPath } from '../client.ts';
import type { Context } from '../context.ts';
import type { Section } from '../describe.ts';
import { printDryRun } from '../dry-run.ts';
import { examples } from '../help.ts';
import { printResult } from '../output.ts';
import { named, waitFor } from '../wait.ts';

/** The disks of a pool, for `pool show`. */
export function diskSection({ status }: Pool): Section {
  return {
    title: 'disks',
    lines: status.disks.map(
      ({ path, serial, sizeBytes, usedBytes, state }) =>
        `${path}  ${serial ?? 'no serial'}  ${formatBytes(usedBytes)} of ${formatBytes(sizeBytes)}  ${state}`,
    ),
  };
}

/** Verbs that change the disks of a pool. */
export function registerPoolDisks(group: Command, context: Context): void {
  const add = group
    .command('add-disk <name> <disk...>')
    .summary('add disks to a pool of the engine lvm')
    .description('Adds disks to the volume group of a pool, while everything runs.')
    .option(
      '--confirm <id>',
      'serial number of a disk that holds something: consent to overwrite it; may be given several times',
      collect,
    )
    .action(async (name: string, disks: readonly string[], options: { readonly confirm?: readonly string[] }) => {
      const body = { add: disks, ...(options.confirm ? { confirmedIds: options.confirm } : {}) };
      const there = (pool: Pool) => disks.every((path) => pool.status.disks.some((disk) => disk.path === path));
      await change(context, name, body, `add ${disks.join(', ')} to pool ${name}`, there, 'has its new disks');
    });
  examples(add, ['pool add-disk main /dev/sdc', 'pool add-disk main /dev/sdc --confirm S4EVNX0M --dry-run']);

  const replace = group
    .command('replace-disk <name> <old> <new>')
    .summary('add a disk and move to it what lies on another')
    .description(
      'Adds a disk, moves what lies on the old one to it and to the others while volumes stay in use, and takes the old one ' +
        'out. A thin pool takes the room of a disk that is only added, and never gives it back.',
    )
    .option('--confirm <id>', 'serial number of the new disk when it holds something: consent to overwrite it', collect)
    .action(async (name: string, old: string, fresh: string, options: { readonly confirm?: readonly string[] }) => {
      const body = { add: [fresh], remove: [old], ...(options.confirm ? { confirmedIds: options.confirm } : {}) };
      await change(
        context,
        name,
        body,
        `replace ${old} of pool ${name} by ${fresh}`,
        without([old]),
        'has let go of it',
      );
    });
  examples(replace, ['pool replace-disk main /dev/sdb /dev/sdc --dry-run', 'pool replace-disk main S4EVNX0M /dev/sdc']);

  const remove = group
    .command('remove-disk <name> <disk...>')
    .summary('empty disks of a pool and take them out')
    .description(
      'Moves what lies on the disks to the others of the pool while volumes stay in use, and takes them out. Disks are ' +
        'named by path, serial number or id.',
    )
    .action(async (name: string, disks: readonly string[]) => {
      await change(
        context,
        name,
        { remove: disks },
        `take ${disks.join(', ')} out of pool ${name}`,
        without(disks),
        'has let go of them',
      );
    });
  examples(remove, ['pool remove-disk main /dev/sdb --dry-run', 'pool remove-disk main S4EVNX0M --timeout 6h']);
}

/** Whether the pool has none of the disks any more. */
function without(disks: readonly string[]): (pool: Pool) => boolean {
  return ({ status }) =>
    !status.disks.some(({ path, id, serial }) => [path, id, serial].some((word) => word && disks.includes(word)));
}

async function change(
  context: Context,
  name: string,
  body: object,
  sentence: string,
  done: (pool: Pool) => boolean,
  result: string,
): Promise<void> {
  const client = await context.client();
  const { dryRun, wait } = context.globals();
  const path = objectPath('Pool', parseName(name, 'pool'), 'disks');
  const answer = await client.call('POST', path, { body, query: dryRun ? { dryRun } : {} });
  if (dryRun) return printDryRun(context, answer, sentence);
  const [pool = answer as Pool] = await waitFor(context, client, {
    kind: 'Pool',
    query: named(name),
    done: ([object]) => object !== undefined && done(object),
    what: `pool ${name} to ${sentence.split(' ')[0] === 'add' ? 'take' : 'let go of'} the disks`,
    subject: name,
  });
  return printResult(context, wait ? `pool/${name} ${result}` : `pool/${name} is being changed`, pool);
}
