import { resolve } from 'node:path';
import type { Command } from 'commander';
import { AzekuraError } from '../../model/errors.ts';
import type { Volume } from '../../model/kinds.ts';
import { collect, parseName, parsePairs, parseSize } from '../arguments.ts';
import { objectPath } from '../client.ts';
import type { Context } from '../context.ts';
import { describe } from '../describe.ts';
import { printDryRun } from '../dry-run.ts';
import { examples } from '../help.ts';
import { printList, printResult } from '../output.ts';
import { attachmentsOf, volumeChanged } from '../volumes.ts';
import { named, waitFor } from '../wait.ts';
import { registerVolumeDelete } from './volume-delete.ts';
import { registerVolumeUse } from './volume-use.ts';

interface CreateOptions {
  readonly size?: string;
  readonly class?: string;
  readonly thick?: boolean;
  readonly block?: boolean;
  readonly filesystem?: string;
  readonly encrypt?: boolean;
  readonly keyFile?: string;
  readonly discard?: boolean;
  readonly fromSnapshot?: string;
  readonly fromVolume?: string;
  readonly pool?: string;
  readonly label?: readonly string[];
  readonly parameter?: readonly string[];
}

export function register(group: Command, context: Context): void {
  registerCreate(group, context);
  registerRead(group, context);
  registerChange(group, context);
  registerVolumeUse(group, context);
  registerVolumeDelete(group, context);
}

function registerCreate(group: Command, context: Context): void {
  const command = group
    .command('create <name>')
    .summary('make a volume')
    .description('Makes a volume: new, from a snapshot, or as a clone of another volume.')
    .option('--size <size>', 'for example 10Gi; may be left out with a source')
    .option('--class <class>', 'class of the volume (the default class)')
    .option('--thick', 'allocate everything at once: immune to a full pool')
    .option('--block', 'a raw block device instead of a file system')
    .option('--filesystem <type>', 'xfs or ext4, instead of what the class says')
    .option('--encrypt', 'encrypt it (LUKS2); its key is what --key-file or the class names')
    .option('--key-file <file>', 'file on the node with the key; encrypts the volume')
    .option('--no-discard', 'keep unused space of an encrypted volume: the pool does not see what is unused')
    .option('--from-snapshot <snapshot>', 'start from a snapshot')
    .option('--from-volume <volume>', 'start as a clone of a volume')
    .option('--pool <pool>', 'in this pool and no other')
    .option('--label <key=value>', 'label; may be given several times', collect)
    .option('--parameter <key=value>', "the engine's own parameter; may be given several times", collect)
    .action(async (name: string, options: CreateOptions) => {
      const body = createBody(parseName(name, 'volume'), options);
      const client = await context.client();
      const { dryRun } = context.globals();
      const answer = await client.call('POST', objectPath('Volume'), { body, query: dryRun ? { dryRun } : {} });
      if (dryRun) return printDryRun(context, answer, `make volume ${name}`);
      const [volume = answer as Volume] = await waitFor(context, client, {
        kind: 'Volume',
        query: named(name),
        done: ([object]) => object?.status.phase === 'Ready',
        what: `volume ${name} to be ready`,
        subject: name,
      });
      const pools = volume.status.replicas.map((replica) => replica.poolName).join(', ');
      return printResult(
        context,
        `volume/${name} ${context.globals().wait ? `is ready${pools ? ` in pool ${pools}` : ''}` : 'is being made'}`,
        volume,
      );
    });
  examples(command, [
    'volume create db --size 10Gi',
    'volume create wal --size 2Gi --class local-ext4 --thick',
    'volume create db2 --from-snapshot before-upgrade',
    'volume create db --size 1Ti --dry-run',
  ]);
}

function createBody(name: string, options: CreateOptions) {
  if (options.fromSnapshot !== undefined && options.fromVolume !== undefined) {
    throw new AzekuraError('InvalidArgument', '--from-snapshot and --from-volume exclude each other');
  }
  if (options.size === undefined && options.fromSnapshot === undefined && options.fromVolume === undefined) {
    throw new AzekuraError('InvalidArgument', 'a new volume needs --size', { next: 'add for example --size 10Gi' });
  }
  if (options.block && options.filesystem !== undefined)
    throw new AzekuraError('InvalidArgument', '--block and --filesystem exclude each other');
  const encrypt = options.encrypt || options.keyFile !== undefined;
  return {
    kind: 'Volume',
    metadata: { name, ...(options.label ? { labels: parsePairs(options.label, '--label') } : {}) },
    spec: {
      ...(options.size === undefined ? {} : { sizeBytes: parseSize(options.size, '--size') }),
      ...(options.class === undefined ? {} : { className: parseName(options.class, 'class') }),
      ...(options.thick ? { provisioning: 'thick' } : {}),
      ...(options.block ? { mode: 'block' } : {}),
      ...(options.filesystem === undefined ? {} : { filesystem: options.filesystem }),
      ...(encrypt ? { encryption: 'luks2' } : {}),
      ...(options.keyFile === undefined ? {} : { encryptionKeyFile: resolve(options.keyFile) }),
      ...(options.discard === false ? { encryptionDiscard: false } : {}),
      ...(options.fromSnapshot === undefined
        ? {}
        : { source: { kind: 'snapshot', name: parseName(options.fromSnapshot, 'snapshot') } }),
      ...(options.fromVolume === undefined
        ? {}
        : { source: { kind: 'volume', name: parseName(options.fromVolume, 'volume') } }),
      ...(options.pool === undefined ? {} : { poolName: parseName(options.pool, 'pool') }),
      ...(options.parameter ? { parameters: parsePairs(options.parameter, '--parameter') } : {}),
    },
  };
}

function registerRead(group: Command, context: Context): void {
  const list = group
    .command('list')
    .alias('ls')
    .summary('list volumes')
    .description('Lists volumes, or with --recycled what rests in the recycle bin.')
    .option('--recycled', 'the recycle bin')
    .option('-l, --selector <key=value,…>', 'only those with these labels')
    .action(async (options: { readonly recycled?: boolean; readonly selector?: string }) => {
      const client = await context.client();
      if (options.recycled) return printList(context, 'RecycledVolume', await client.list('RecycledVolume'));
      return printList(context, 'Volume', await client.list('Volume', { labelSelector: options.selector }));
    });
  examples(list, ['volume list', 'volume list -o wide', 'volume list --selector app=shop', 'volume list --recycled']);

  const show = group
    .command('show <name>')
    .summary('show one volume')
    .description('Shows everything about one volume: where it is, where it is mounted, its snapshots, what is wrong.')
    .action(async (name: string) => {
      const client = await context.client();
      const volume = await client.get('Volume', parseName(name, 'volume'));
      if (['json', 'yaml', 'name'].includes(context.format())) return describe(context, volume);
      const [attachments, snapshots] = await Promise.all([
        attachmentsOf(client, name),
        client.list('Snapshot', { fieldSelector: `spec.volumeName=${name}` }),
      ]);
      return describe(context, volume, [
        {
          title: 'mounted',
          lines: attachments.flatMap(({ spec, status }) =>
            status.published.map((path) => `${spec.nodeName}:${path}  (${status.devicePath ?? 'no device'})`),
          ),
        },
        {
          title: 'layers',
          lines: attachments.flatMap(({ status }) =>
            status.layers.map((layer) => `${layer.kind}: ${layer.name}${layer.target ? ` → ${layer.target}` : ''}`),
          ),
        },
        {
          title: 'snapshots',
          lines: snapshots.map(
            (snapshot) => `${snapshot.metadata.name}  ${snapshot.status.cutAt ?? snapshot.status.phase}`,
          ),
        },
      ]);
    });
  examples(show, ['volume show db', 'volume show db -o yaml']);
}

function registerChange(group: Command, context: Context): void {
  const expand = group
    .command('expand <name>')
    .summary('grow a volume')
    .description('Grows a volume, also while it is mounted and written. Volumes never shrink.')
    .requiredOption('--size <size>', 'the new size')
    .action(async (name: string, options: { readonly size: string }) => {
      const sizeBytes = parseSize(options.size, '--size');
      await volumeChanged(context, parseName(name, 'volume'), {
        method: 'PATCH',
        body: { spec: { sizeBytes } },
        would: `grow volume ${name}`,
        done: (volume) =>
          volume.status.phase === 'Ready' &&
          volume.status.sizeBytes >= sizeBytes &&
          volume.status.observedGeneration >= volume.metadata.generation,
        what: `volume ${name} to grow`,
        sentence: ({ status }) => {
          const blocked = status.causes.find(({ code }) => code === 'FilesystemGrowthBlocked');
          if (!blocked) return `volume/${name} has grown to ${options.size}`;
          const { problem } = blocked.evidence;
          return `volume/${name} has grown to ${options.size}, its mounted file system not yet (${problem}): ${blocked.nextStep}`;
        },
      });
    });
  examples(expand, ['volume expand db --size 20Gi']);

  const label = group
    .command('label <name> <labels...>')
    .summary('set or remove labels')
    .description('Sets labels (key=value) or removes them (key-).')
    .action(async (name: string, texts: string[]) => {
      const client = await context.client();
      const labels = parsePairs(texts, 'label', true);
      const volume = (await client.call('PATCH', objectPath('Volume', parseName(name, 'volume')), {
        body: { metadata: { labels } },
      })) as Volume;
      await printResult(context, `volume/${name} is labelled`, volume);
    });
  examples(label, ['volume label db app=shop tier=gold', 'volume label db tier-']);
}
