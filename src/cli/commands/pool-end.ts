import type { Command } from 'commander';
import type { Pool } from '../../model/kinds.ts';
import { parseName } from '../arguments.ts';
import { objectPath } from '../client.ts';
import type { Context } from '../context.ts';
import { type DryRun, printDryRun } from '../dry-run.ts';
import { examples } from '../help.ts';
import { printResult } from '../output.ts';
import { named, waitFor } from '../wait.ts';

/** Verbs that end the use of a pool: drain and remove. */
export function registerPoolEnd(group: Command, context: Context): void {
  const drain = group
    .command('drain <name>')
    .summary('move every volume to other pools')
    .description(
      'Moves every volume to other pools of the machine, in use where the kernel allows it; says what cannot move and why.',
    )
    .option('--cancel', 'end a drain; what has moved stays where it is')
    .action(async (name: string, options: { readonly cancel?: boolean }) => {
      const client = await context.client();
      const { dryRun, wait } = context.globals();
      const body = options.cancel ? { cancel: true } : {};
      const answer = (await client.call('POST', objectPath('Pool', parseName(name, 'pool'), 'drain'), {
        body,
        query: dryRun ? { dryRun } : {},
      })) as DryRun & Pool;
      if (dryRun) return printDryRun(context, answer, `drain pool ${name}`);
      if (options.cancel) return printResult(context, `pool/${name} is no longer drained`, answer);
      await waitFor(context, client, {
        kind: 'Pool',
        query: named(name),
        done: ([pool]) => pool?.status.volumes === 0,
        what: `pool ${name} to be empty`,
        subject: name,
      });
      return printResult(context, `pool/${name} is ${wait ? 'empty' : 'being drained'}`, answer);
    });
  examples(drain, ['pool drain main --dry-run', 'pool drain main', 'pool drain main --cancel']);

  const remove = group
    .command('remove <name>')
    .alias('rm')
    .summary('forget an empty pool')
    .description('Forgets a pool that holds no volume. Its place stays as it is, unless --destroy.')
    .option('--destroy', "remove the pool's own files too, such as its image")
    .action(async (name: string, options: { readonly destroy?: boolean }) => {
      const client = await context.client();
      const { dryRun, wait } = context.globals();
      const query = { ...(dryRun ? { dryRun } : {}), ...(options.destroy ? { destroy: true } : {}) };
      const answer = await client.call('DELETE', objectPath('Pool', parseName(name, 'pool')), { query });
      if (dryRun) return printDryRun(context, answer, `remove pool ${name}${options.destroy ? ' and its files' : ''}`);
      await waitFor(context, client, {
        kind: 'Pool',
        query: named(name),
        done: (objects) => objects.length === 0,
        what: `pool ${name} to go`,
        subject: name,
      });
      return printResult(
        context,
        `pool/${name} is ${wait ? '' : 'being '}removed${options.destroy ? ' with its files' : '; its files stay'}`,
        undefined,
      );
    });
  examples(remove, ['pool remove old', 'pool remove trial --destroy']);
}
