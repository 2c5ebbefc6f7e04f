import type { Command } from 'commander';
import { AzekuraError } from '../../model/errors.ts';
import type { Snapshot, SnapshotGroup } from '../../model/kinds.ts';
import { collect, parseName, parsePairs } from '../arguments.ts';
import { objectPath } from '../client.ts';
import type { Context } from '../context.ts';
import { describe } from '../describe.ts';
import { printDryRun } from '../dry-run.ts';
import { examples } from '../help.ts';
import { printList, printResult } from '../output.ts';
import { restoreVolume } from '../volumes.ts';
import { named, waitFor } from '../wait.ts';

interface CreateOptions {
  readonly group?: string;
  readonly freeze: boolean;
  readonly label?: readonly string[];
}

export function register(group: Command, context: Context): void {
  const create = group
    .command('create <names...>')
    .usage('[options] <volume> <snapshot>\n       azekura snapshot create --group <group> <volumes...>')
    .summary('take a snapshot, or one of several volumes at one instant')
    .description('Takes a snapshot of a volume, or with --group of several volumes at one instant.')
    .option('--group <name>', 'all the volumes named, at one instant')
    .option('--no-freeze', 'do not freeze the file system: consistent as after a power cut')
    .option('--label <key=value>', 'label; may be given several times', collect)
    .action(async (names: string[], options: CreateOptions) => {
      if (options.group !== undefined) return createGroup(context, options.group, names, options);
      const [volume, name, ...more] = names;
      if (volume === undefined || name === undefined || more.length > 0) {
        throw new AzekuraError('InvalidArgument', 'a snapshot needs the name of a volume and a name of its own', {
          next: 'write `azekura snapshot create VOLUME SNAPSHOT`, or --group GROUP with several volumes',
        });
      }
      return createOne(context, parseName(volume, 'volume'), parseName(name, 'snapshot'), options);
    });
  examples(create, [
    'snapshot create db before-upgrade',
    'snapshot create --group nightly db wal',
    'snapshot create db quick --no-freeze',
  ]);
  registerRead(group, context);

  const restore = group
    .command('restore <name>')
    .summary('put a snapshot back in place of its volume')
    .description('Replaces the bytes of the volume, which must not be mounted, by those of the snapshot.')
    .action(async (name: string) => {
      const client = await context.client();
      const snapshot = await client.get('Snapshot', parseName(name, 'snapshot'));
      await restoreVolume(context, snapshot.spec.volumeName, name);
    });
  examples(restore, ['snapshot restore before-upgrade']);

  const remove = group
    .command('delete <name>')
    .alias('rm')
    .summary('delete a snapshot')
    .description('Deletes a snapshot, or with --group a group with all its members.')
    .option('--group', 'the name is that of a group')
    .action(async (name: string, options: { readonly group?: boolean }) => {
      const kind = options.group ? 'SnapshotGroup' : 'Snapshot';
      const client = await context.client();
      const { dryRun, wait } = context.globals();
      const answer = await client.call('DELETE', objectPath(kind, parseName(name, 'snapshot')), {
        query: dryRun ? { dryRun } : {},
      });
      if (dryRun) return printDryRun(context, answer, `delete snapshot ${name}`);
      await waitFor(context, client, {
        kind,
        query: named(name),
        done: (objects) => objects.length === 0,
        what: `${name} to go`,
        subject: name,
      });
      return printResult(context, `${kind.toLowerCase()}/${name} is ${wait ? '' : 'being '}deleted`, undefined);
    });
  examples(remove, ['snapshot delete before-upgrade', 'snapshot delete --group nightly']);
}

function registerRead(group: Command, context: Context): void {
  const list = group
    .command('list')
    .alias('ls')
    .summary('list snapshots')
    .option('--groups', 'snapshot groups instead')
    .option('--volume <volume>', 'only those of one volume')
    .action(async (options: { readonly groups?: boolean; readonly volume?: string }) => {
      const client = await context.client();
      if (options.groups) return printList(context, 'SnapshotGroup', await client.list('SnapshotGroup'));
      const query =
        options.volume === undefined ? {} : { fieldSelector: `spec.volumeName=${parseName(options.volume, 'volume')}` };
      return printList(context, 'Snapshot', await client.list('Snapshot', query));
    });
  examples(list, ['snapshot list', 'snapshot list --volume db', 'snapshot list --groups']);

  const show = group
    .command('show <name>')
    .summary('show one snapshot')
    .option('--group', 'the name is that of a group')
    .action(async (name: string, options: { readonly group?: boolean }) => {
      const client = await context.client();
      await describe(
        context,
        await client.get(options.group ? 'SnapshotGroup' : 'Snapshot', parseName(name, 'snapshot')),
      );
    });
  examples(show, ['snapshot show before-upgrade', 'snapshot show --group nightly -o yaml']);
}

async function createOne(context: Context, volumeName: string, name: string, options: CreateOptions): Promise<void> {
  const client = await context.client();
  const { dryRun, wait } = context.globals();
  const labels = options.label ? { labels: parsePairs(options.label, '--label') } : {};
  const body = { kind: 'Snapshot', metadata: { name, ...labels }, spec: { volumeName, freeze: options.freeze } };
  const answer = await client.call('POST', objectPath('Snapshot'), { body, query: dryRun ? { dryRun } : {} });
  if (dryRun) return printDryRun(context, answer, `take snapshot ${name} of volume ${volumeName}`);
  const [snapshot = answer as Snapshot] = await waitFor(context, client, {
    kind: 'Snapshot',
    query: named(name),
    done: ([object]) => object?.status.readyToUse === true,
    what: `snapshot ${name} to be ready`,
    subject: name,
  });
  return printResult(
    context,
    `snapshot/${name} of volume ${volumeName} is ${wait ? 'ready' : 'being taken'}`,
    snapshot,
  );
}

async function createGroup(
  context: Context,
  name: string,
  volumeNames: readonly string[],
  options: CreateOptions,
): Promise<void> {
  if (options.label) throw new AzekuraError('InvalidArgument', '--label and --group exclude each other');
  const client = await context.client();
  const { dryRun, wait } = context.globals();
  const spec = { volumeNames: volumeNames.map((each) => parseName(each, 'volume')), freeze: options.freeze };
  const body = { kind: 'SnapshotGroup', metadata: { name: parseName(name, 'group') }, spec };
  const answer = await client.call('POST', objectPath('SnapshotGroup'), { body, query: dryRun ? { dryRun } : {} });
  if (dryRun) return printDryRun(context, answer, `take snapshot group ${name} of volumes ${volumeNames.join(', ')}`);
  const [taken = answer as SnapshotGroup] = await waitFor(context, client, {
    kind: 'SnapshotGroup',
    query: named(name),
    done: ([object]) => object?.status.phase === 'Ready',
    what: `snapshot group ${name} to be ready`,
    subject: name,
  });
  const members = taken.status.snapshotNames.join(', ');
  return printResult(context, `snapshotgroup/${name} is ${wait ? `ready: ${members}` : 'being taken'}`, taken);
}
