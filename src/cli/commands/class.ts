import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Class } from '../../model/kinds.ts';
import { collect, parseDuration, parseName, parseNumber, parsePairs } from '../arguments.ts';
import { objectPath } from '../client.ts';
import type { Context } from '../context.ts';
import { describe } from '../describe.ts';
import { examples } from '../help.ts';
import { printList, printResult } from '../output.ts';

interface PolicyOptions {
  readonly engine?: string;
  readonly thick?: boolean;
  readonly thin?: boolean;
  readonly filesystem?: string;
  readonly encryption?: string;
  readonly keyFile?: string;
  readonly discard?: boolean;
  readonly replicas?: string;
  readonly mountOption?: string[];
  readonly pool?: string[];
  readonly deviceClass?: string;
  readonly poolLabel?: string[];
  readonly parameter?: string[];
  readonly recycle?: string;
  readonly trim?: string;
  readonly default?: boolean;
  readonly description?: string;
}

export function register(group: Command, context: Context): void {
  const list = group
    .command('list')
    .alias('ls')
    .summary('list classes')
    .action(async () => printList(context, 'Class', await (await context.client()).list('Class')));
  examples(list, ['class list', 'class list -o yaml']);

  const show = group
    .command('show <name>')
    .summary('show one class')
    .action(async (name: string) =>
      describe(context, await (await context.client()).get('Class', parseName(name, 'class'))),
    );
  examples(show, ['class show local-xfs']);

  const create = policyOptions(group.command('create <name>'))
    .summary('make a class')
    .description('Makes a class: a named policy that volumes are made by.')
    .option('--default', 'for volumes that name no class')
    .action(async (name: string, options: PolicyOptions) => {
      const body = { kind: 'Class', metadata: { name: parseName(name, 'class') }, spec: specOf(options) };
      const query = context.globals().dryRun ? { dryRun: true } : {};
      const made = (await (await context.client()).call('POST', objectPath('Class'), { body, query })) as Class;
      await printResult(context, `class/${name} is made`, made);
    });
  examples(create, [
    'class create gold --thick --filesystem ext4 --recycle 7d',
    'class create ssd --pool-label tier=ssd --default',
    'class create sealed --encryption luks2 --key-file /etc/azekura/keys/sealed',
  ]);

  const update = policyOptions(group.command('update <name>'))
    .summary('change a class; its volumes stay as they are')
    .description('Changes what is named of a class. Volumes that exist keep what they were made with.')
    .option('--thin', 'allocate as it is written')
    .action(async (name: string, options: PolicyOptions) => {
      const query = context.globals().dryRun ? { dryRun: true } : {};
      const body = { spec: specOf(options) };
      const changed = (await (
        await context.client()
      ).call('PATCH', objectPath('Class', parseName(name, 'class')), { body, query })) as Class;
      await printResult(context, `class/${name} is changed`, changed);
    });
  examples(update, ['class update gold --recycle 14d', 'class update gold --thin']);

  const setDefault = group
    .command('set-default <name>')
    .summary('make a class the default')
    .action(async (name: string) => {
      const changed = (await (
        await context.client()
      ).call('PATCH', objectPath('Class', parseName(name, 'class')), { body: { spec: { isDefault: true } } })) as Class;
      await printResult(context, `class/${name} is the default`, changed);
    });
  examples(setDefault, ['class set-default gold']);

  const remove = group
    .command('delete <name>')
    .alias('rm')
    .summary('delete a class; its volumes stay')
    .action(async (name: string) => {
      const query = context.globals().dryRun ? { dryRun: true } : {};
      await (await context.client()).call('DELETE', objectPath('Class', parseName(name, 'class')), { query });
      await printResult(context, `class/${name} is deleted`, undefined);
    });
  examples(remove, ['class delete gold']);
}

/** What `class create` and `class update` have in common. */
function policyOptions(command: Command): Command {
  return command
    .option('--engine <kind>', 'engine (file)')
    .option('--thick', 'allocate everything at once')
    .option('--filesystem <type>', 'xfs or ext4 (xfs)')
    .option('--encryption <kind>', 'luks2, or none (none)')
    .option('--key-file <file>', 'file on the nodes with the key of encrypted volumes')
    .option('--no-discard', 'keep unused space of encrypted volumes: the pool does not see what is unused')
    .option('--replicas <count>', 'copies on different nodes (1)')
    .option('--mount-option <option>', 'mount option; may be given several times', collect)
    .option('--pool <name>', 'only this pool; may be given several times', collect)
    .option('--pool-label <key=value>', 'only pools with this label; may be given several times', collect)
    .option('--device-class <class>', 'only pools of this class of disks: ssd, hdd, nvme or one of your own')
    .option('--parameter <key=value>', "the engine's own parameter; may be given several times", collect)
    .option('--recycle <duration>', 'time in the recycle bin, 0 for none (24h)')
    .option('--trim <duration>', 'how often unused space goes back to the pool, 0 for never (7d)')
    .option('--description <text>', 'one line');
}

function specOf(options: PolicyOptions) {
  const names = options.pool?.map((name) => parseName(name, 'pool'));
  const labels = options.poolLabel ? parsePairs(options.poolLabel, '--pool-label') : undefined;
  return {
    ...(options.engine === undefined ? {} : { engine: options.engine }),
    ...(options.thick ? { provisioning: 'thick' } : options.thin ? { provisioning: 'thin' } : {}),
    ...(options.filesystem === undefined ? {} : { filesystem: options.filesystem }),
    ...(options.encryption === undefined ? {} : { encryption: options.encryption }),
    ...(options.keyFile === undefined ? {} : { encryptionKeyFile: resolve(options.keyFile) }),
    ...(options.discard === false ? { encryptionDiscard: false } : {}),
    ...(options.replicas === undefined ? {} : { replicas: parseNumber(options.replicas, '--replicas', 1, 3) }),
    ...(options.mountOption ? { mountOptions: options.mountOption } : {}),
    ...(names || labels ? { poolSelector: { ...(names ? { names } : {}), ...(labels ? { labels } : {}) } } : {}),
    ...(options.deviceClass === undefined ? {} : { deviceClass: options.deviceClass }),
    ...(options.parameter ? { parameters: parsePairs(options.parameter, '--parameter') } : {}),
    ...(options.recycle === undefined ? {} : { recycleMs: parseDuration(options.recycle, '--recycle') }),
    ...(options.trim === undefined ? {} : { trimMs: parseDuration(options.trim, '--trim') }),
    ...(options.default ? { isDefault: true } : {}),
    ...(options.description === undefined ? {} : { description: options.description }),
  };
}
