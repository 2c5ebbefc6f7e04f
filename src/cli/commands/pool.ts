import type { Command } from 'commander';
import { AzekuraError } from '../../model/errors.ts';
import type { Pool } from '../../model/kinds.ts';
import { collect, parseName, parseNumber, parsePairs, parseSize } from '../arguments.ts';
import { objectPath } from '../client.ts';
import type { Context } from '../context.ts';
import { registerCordon } from '../cordon.ts';
import { describe } from '../describe.ts';
import { printDryRun } from '../dry-run.ts';
import { examples } from '../help.ts';
import { printList, printResult } from '../output.ts';
import { named, waitFor } from '../wait.ts';
import { registerPoolEnd } from './pool-end.ts';

interface AddOptions {
  readonly size?: string;
  readonly confirm?: string;
  readonly acceptNoJournal?: boolean;
  readonly reserve?: string;
  readonly overcommit?: string;
  readonly warn?: string;
  readonly engine?: string;
  readonly label?: readonly string[];
}

export function register(group: Command, context: Context): void {
  const add = group
    .command('add <name> <place>')
    .summary('add a directory, an image file, a disk or a partition')
    .description(
      'Adds a pool: a directory on XFS, a device below /dev, or with --size an image file that is made there.',
    )
    .option('--size <size>', 'make an image file of this size at the place')
    .option('--confirm <id>', 'serial number or id of a device that holds something: consent to overwrite it')
    .option('--accept-no-journal', 'accept a host file system that a power cut can damage')
    .option('--reserve <percent>', 'share of the capacity that is never promised (5)')
    .option('--overcommit <ratio>', 'how many times the capacity may be promised to thin volumes (2)')
    .option('--warn <percent>', 'fill from which on a warning stands (80)')
    .option('--engine <kind>', 'engine of the pool (file)')
    .option('--label <key=value>', 'label; may be given several times', collect)
    .action(async (name: string, place: string, options: AddOptions) =>
      addPool(context, parseName(name, 'pool'), place, options),
    );
  examples(add, [
    'pool add main /srv/azekura',
    'pool add fast /dev/sdb --confirm S4EVNX0M',
    'pool add img /var/lib/pool.img --size 50Gi',
    'pool add main /dev/sdb --dry-run',
  ]);

  const list = group
    .command('list')
    .alias('ls')
    .summary('list pools')
    .option('-l, --selector <key=value,…>', 'only those with these labels')
    .action(async (options: { readonly selector?: string }) =>
      printList(context, 'Pool', await (await context.client()).list('Pool', { labelSelector: options.selector })),
    );
  examples(list, ['pool list', 'pool list -o wide']);

  const show = group
    .command('show <name>')
    .summary('show one pool')
    .action(async (name: string) => {
      const client = await context.client();
      const pool = await client.get('Pool', parseName(name, 'pool'));
      const replicas = await client.list('Replica', { fieldSelector: `spec.poolName=${name}` });
      return describe(context, pool, [
        { title: 'volumes', lines: replicas.map((replica) => `${replica.spec.volumeName}  ${replica.status.phase}`) },
      ]);
    });
  examples(show, ['pool show main', 'pool show main -o yaml']);

  registerCordon(group, context, 'Pool', 'main');
  registerPoolEnd(group, context);
}

async function addPool(context: Context, name: string, place: string, options: AddOptions): Promise<void> {
  const spec = {
    source: sourceOf(place, options),
    ...(options.engine === undefined ? {} : { engine: options.engine }),
    ...(options.acceptNoJournal ? { acceptNoJournal: true } : {}),
    ...(options.reserve === undefined ? {} : { reservePercent: parseNumber(options.reserve, '--reserve', 0, 50) }),
    ...(options.overcommit === undefined
      ? {}
      : { overcommitRatio: parseNumber(options.overcommit, '--overcommit', 1, 100) }),
    ...(options.warn === undefined ? {} : { warnPercent: parseNumber(options.warn, '--warn', 1, 100) }),
  };
  const body = {
    kind: 'Pool',
    metadata: { name, ...(options.label ? { labels: parsePairs(options.label, '--label') } : {}) },
    spec,
  };
  const client = await context.client();
  const { dryRun, wait } = context.globals();
  const answer = await client.call('POST', objectPath('Pool'), { body, query: dryRun ? { dryRun } : {} });
  if (dryRun) return printDryRun(context, answer, `add pool ${name} at ${place}`);
  const [pool = answer as Pool] = await waitFor(context, client, {
    kind: 'Pool',
    query: named(name),
    done: ([object]) => object?.status.phase === 'Ready',
    what: `pool ${name} to be ready`,
    subject: name,
  });
  return printResult(context, `pool/${name} is ${wait ? 'ready' : 'being added'}`, pool);
}

function sourceOf(place: string, options: AddOptions) {
  const path = place.startsWith('/') ? place : `${process.cwd()}/${place}`;
  const device = path.startsWith('/dev/') && !path.startsWith('/dev/shm/');
  if (options.size !== undefined && device)
    throw new AzekuraError('InvalidArgument', '--size makes an image file, which cannot lie below /dev');
  if (options.confirm !== undefined && !device)
    throw new AzekuraError('InvalidArgument', '--confirm is for devices below /dev only');
  if (device)
    return { kind: 'device', path, ...(options.confirm === undefined ? {} : { confirmedId: options.confirm }) };
  if (options.size !== undefined) return { kind: 'image', path, sizeBytes: parseSize(options.size, '--size') };
  return { kind: 'directory', path };
}
