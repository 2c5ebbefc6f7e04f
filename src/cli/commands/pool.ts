import type { Command } from 'commander';
import { AzekuraError } from '../../model/errors.ts';
import type { Pool } from '../../model/kinds.ts';
import { type DiskLayout, diskLayouts } from '../../model/pool.ts';
import { collect, parseName, parseNumber, parsePairs, parseSize } from '../arguments.ts';
import { objectPath } from '../client.ts';
import type { Context } from '../context.ts';
import { registerCordon } from '../cordon.ts';
import { describe } from '../describe.ts';
import { printDryRun } from '../dry-run.ts';
import { examples } from '../help.ts';
import { printList, printResult } from '../output.ts';
import { named, waitFor } from '../wait.ts';
import { orphanSection, registerPoolAdopt } from './pool-adopt.ts';
import { diskSection, registerPoolDisks } from './pool-disks.ts';
import { registerPoolEnd } from './pool-end.ts';

interface AddOptions {
  readonly size?: string;
  readonly confirm?: readonly string[];
  readonly name?: string;
  readonly node?: string;
  readonly deviceClass?: string;
  readonly layout?: string;
  readonly acceptNoJournal?: boolean;
  readonly reserve?: string;
  readonly overcommit?: string;
  readonly warn?: string;
  readonly engine?: string;
  readonly label?: readonly string[];
}

export function register(group: Command, context: Context): void {
  const add = group
    .command('add <name> <place...>')
    .summary('add a directory, an image file, disks or a volume group')
    .description(
      'Adds a pool: a directory on XFS, a device below /dev, or with --size an image file that is made there. With ' +
        '--engine lvm: disks, which become a volume group, or the name of a volume group that is there; the first word ' +
        'may then be the name of a node instead of that of the pool.',
    )
    .option('--size <size>', 'make an image file of this size at the place')
    .option(
      '--confirm <id>',
      'serial number or id of a device that holds something: consent to overwrite it; may be given several times',
      collect,
    )
    .option('--name <name>', 'name of the pool, when the first word is a node (<node>-<device class>)')
    .option('--node <node>', 'node of the pool (this one)')
    .option('--device-class <class>', 'kind of disks, for classes to choose by: ssd, hdd, nvme … (detected)')
    .option('--layout <layout>', `how thin volumes lie on the disks of an lvm pool: ${diskLayouts.join(', ')}`)
    .option('--accept-no-journal', 'accept a host file system that a power cut can damage')
    .option('--reserve <percent>', 'share of the capacity that is never promised (5)')
    .option('--overcommit <ratio>', 'how many times the capacity may be promised to thin volumes (2)')
    .option('--warn <percent>', 'fill from which on a warning stands (80)')
    .option('--engine <kind>', 'engine of the pool (file)')
    .option('--label <key=value>', 'label; may be given several times', collect)
    .action(async (name: string, places: readonly string[], options: AddOptions) =>
      addPool(context, name, places, options),
    );
  examples(add, [
    'pool add main /srv/azekura',
    'pool add fast /dev/sdb --confirm S4EVNX0M',
    'pool add img /var/lib/pool.img --size 50Gi',
    'pool add main /dev/sdb --dry-run',
    'pool add alpha /dev/sdb /dev/sdc --engine lvm --device-class ssd',
    'pool add old vg0 --engine lvm',
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
        ...(pool.status.disks.length > 0 ? [diskSection(pool)] : []),
        orphanSection(pool),
        { title: 'volumes', lines: replicas.map((replica) => `${replica.spec.volumeName}  ${replica.status.phase}`) },
      ]);
    });
  examples(show, ['pool show main', 'pool show main -o yaml']);

  registerCordon(group, context, 'Pool', 'main');
  registerPoolDisks(group, context);
  registerPoolAdopt(group, context);
  registerPoolEnd(group, context);
}

async function addPool(context: Context, first: string, places: readonly string[], options: AddOptions): Promise<void> {
  const source = options.engine === 'lvm' ? groupSourceOf(places, options) : fileSourceOf(places, options);
  const client = await context.client();
  const { name, nodeName } = await namesOf(client, parseName(first, 'pool'), options);
  const place = places.join(', ');
  const spec = {
    source,
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(options.deviceClass === undefined ? {} : { deviceClass: options.deviceClass }),
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

/** For an lvm pool the first word may be a node: then the pool is named after it and its class of disks. */
async function namesOf(
  client: Awaited<ReturnType<Context['client']>>,
  first: string,
  options: AddOptions,
): Promise<{ readonly name: string; readonly nodeName?: string }> {
  const { node, deviceClass, engine } = options;
  const isNode = engine === 'lvm' && (await client.list('Node')).some(({ metadata }) => metadata.name === first);
  if (!isNode) {
    if (options.name !== undefined)
      throw new AzekuraError('InvalidArgument', `--name is for when the first word is a node, which ${first} is not`);
    return { name: first, ...(node === undefined ? {} : { nodeName: node }) };
  }
  const name = options.name ?? `${first.split('.')[0] ?? first}-${deviceClass ?? 'lvm'}`;
  return { name: parseName(name, 'pool'), nodeName: first };
}

/** Disks below /dev become a volume group; a word without slashes names one that is there. */
function groupSourceOf(places: readonly string[], { confirm, layout, size }: AddOptions) {
  if (size !== undefined) throw new AzekuraError('InvalidArgument', '--size is for image files of the engine file');
  const more = layout === undefined ? {} : { layout: parseLayout(layout) };
  const [first = ''] = places;
  if (places.length === 1 && !first.includes('/')) {
    if (confirm) throw new AzekuraError('InvalidArgument', '--confirm is for disks; a volume group is taken as it is');
    return { kind: 'volumeGroup', group: first, ...more };
  }
  const stranger = places.find((place) => !place.startsWith('/dev/'));
  if (stranger !== undefined)
    throw new AzekuraError(
      'InvalidArgument',
      `"${stranger}" is neither a disk below /dev nor alone as a volume group`,
      {
        next: 'name disks such as /dev/sdb, or one volume group',
      },
    );
  return { kind: 'disks', disks: [...places], ...(confirm ? { confirmedIds: [...confirm] } : {}), ...more };
}

function parseLayout(layout: string): DiskLayout {
  const known = diskLayouts.find((one) => one === layout);
  if (known) return known;
  throw new AzekuraError('InvalidArgument', `layout "${layout}" is not one of ${diskLayouts.join(', ')}`);
}

function fileSourceOf(places: readonly string[], options: AddOptions) {
  const [place = ''] = places;
  if (places.length > 1)
    throw new AzekuraError(
      'InvalidArgument',
      `one place is enough for a pool of the engine ${options.engine ?? 'file'}`,
      {
        next: 'for several disks use --engine lvm',
      },
    );
  if (options.layout !== undefined) throw new AzekuraError('InvalidArgument', '--layout is for --engine lvm');
  return sourceOf(place, options);
}

function sourceOf(place: string, options: AddOptions) {
  const path = place.startsWith('/') ? place : `${process.cwd()}/${place}`;
  const device = path.startsWith('/dev/') && !path.startsWith('/dev/shm/');
  if (options.size !== undefined && device)
    throw new AzekuraError('InvalidArgument', '--size makes an image file, which cannot lie below /dev');
  if (options.confirm !== undefined && !device)
    throw new AzekuraError('InvalidArgument', '--confirm is for devices below /dev only');
  if (device)
    return { kind: 'device', path, ...(options.confirm?.[0] === undefined ? {} : { confirmedId: options.confirm[0] }) };
  if (options.size !== undefined) return { kind: 'image', path, sizeBytes: parseSize(options.size, '--size') };
  return { kind: 'directory', path };
}
