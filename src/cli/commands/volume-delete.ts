import type { Command } from 'commander';
import type { Volume } from '../../model/kinds.ts';
import { parseName } from '../arguments.ts';
import { objectPath } from '../client.ts';
import type { Context } from '../context.ts';
import { printDryRun } from '../dry-run.ts';
import { examples } from '../help.ts';
import { printResult } from '../output.ts';
import { named, waitFor } from '../wait.ts';

/** Verbs of the recycle bin: delete, undelete, purge. */
export function registerVolumeDelete(group: Command, context: Context): void {
  const remove = group
    .command('delete <name>')
    .alias('rm')
    .summary('delete a volume, into the recycle bin')
    .description('Deletes a volume that is not mounted. It rests in the recycle bin for the time that its class says.')
    .option('--skip-recycle-bin', 'for good, at once')
    .action(async (name: string, options: { readonly skipRecycleBin?: boolean }) => {
      const client = await context.client();
      const { dryRun, wait } = context.globals();
      const query = { ...(dryRun ? { dryRun } : {}), ...(options.skipRecycleBin ? { skipRecycleBin: true } : {}) };
      const answer = await client.call('DELETE', objectPath('Volume', parseName(name, 'volume')), { query });
      if (dryRun) return printDryRun(context, answer, `delete volume ${name}`);
      await waitFor(context, client, {
        kind: 'Volume',
        query: named(name),
        done: (objects) => objects.length === 0,
        what: `volume ${name} to go`,
        subject: name,
      });
      const kept = options.skipRecycleBin ? '' : `; \`azekura volume undelete ${name}\` brings it back`;
      return printResult(context, `volume/${name} is ${wait ? '' : 'being '}deleted${kept}`, undefined);
    });
  examples(remove, ['volume delete db', 'volume delete db --skip-recycle-bin', 'volume delete db --dry-run']);

  const undelete = group
    .command('undelete <name>')
    .summary('take a volume out of the recycle bin')
    .description(
      'Brings back the newest deleted volume of this name, or the one of this name in `volume list --recycled`.',
    )
    .option('--as <name>', 'under another name')
    .action(async (name: string, options: { readonly as?: string }) => {
      const client = await context.client();
      const { dryRun } = context.globals();
      const body = options.as === undefined ? {} : { as: parseName(options.as, 'volume') };
      const answer = await client.call('POST', objectPath('RecycledVolume', parseName(name, 'volume'), 'undelete'), {
        body,
        query: dryRun ? { dryRun } : {},
      });
      if (dryRun) return printDryRun(context, answer, `bring back volume ${name}`);
      const back = (answer as Volume).metadata.name;
      const [volume = answer as Volume] = await waitFor(context, client, {
        kind: 'Volume',
        query: named(back),
        done: ([object]) => object?.status.phase === 'Ready',
        what: `volume ${back} to be ready`,
        subject: back,
      });
      return printResult(context, `volume/${back} is back`, volume);
    });
  examples(undelete, ['volume undelete db', 'volume undelete db --as db-old']);

  const purge = group
    .command('purge <name>')
    .summary('remove a deleted volume for good')
    .description('Removes a volume from the recycle bin before its time. The name is that in `volume list --recycled`.')
    .action(async (name: string) => {
      const client = await context.client();
      await client.call('DELETE', objectPath('RecycledVolume', parseName(name, 'recycled volume')), {
        query: context.globals().dryRun ? { dryRun: true } : {},
      });
      await waitFor(context, client, {
        kind: 'RecycledVolume',
        query: named(name),
        done: (objects) => objects.length === 0,
        what: `recycled volume ${name} to go`,
        subject: name,
      });
      await printResult(context, `recycledvolume/${name} is removed for good`, undefined);
    });
  examples(purge, ['volume list --recycled', 'volume purge db-3f9k2m']);
}
