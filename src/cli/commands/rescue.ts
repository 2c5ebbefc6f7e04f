import { resolve } from 'node:path';
import type { Command } from 'commander';
import { silentLogger } from '../../lib/log.ts';
import { formatBytes } from '../../lib/quantity.ts';
import type { RescueDeps, RescueReport } from '../../rescue/index.ts';
import { age } from '../columns.ts';
import type { Context } from '../context.ts';
import { examples } from '../help.ts';
import { printData } from '../output.ts';
import { formatTable, printableText } from '../table.ts';

interface Options {
  readonly snapshot?: string;
  readonly keyFile?: string;
  readonly replay?: boolean;
  readonly writable?: boolean;
  readonly force?: boolean;
}

export function register(group: Command, context: Context): void {
  group.description('Reads volumes with no daemon and no state: what is on the disk is all that is needed.');
  const list = group
    .command('list <paths...>')
    .summary('list the volumes in folders, pool images and disks')
    .option('--writable', 'allow changes of the place: replays the journal of its file system')
    .action(async (paths: string[], options: Options) =>
      withRescue(context, options, async (rescue, deps) =>
        printReport(context, await rescue.scan({ ...deps, paths: paths.map((path) => resolve(path)) })),
      ),
    );
  examples(list, ['rescue list /var/lib/azekura', 'rescue list /dev/sdb /mnt/old/pool.img', 'rescue list /dev']);

  const mount = group
    .command('mount <path> <volume> <target>')
    .summary('mount a volume or snapshot read-only')
    .option('--snapshot <snapshot>', 'a snapshot of the volume')
    .option('--key-file <file>', 'the key of an encrypted volume')
    .option('--replay', 'replay the journal on a copy; the original stays as it is')
    .option('--writable', 'allow changes of the place: replays the journal of its file system')
    .action(async (path: string, volume: string, target: string, options: Options) =>
      withRescue(context, options, async (rescue, deps) => {
        const result = await rescue.mountVolume({
          ...deps,
          path: resolve(path),
          volume,
          target: resolve(target),
          ...(options.snapshot ? { snapshot: options.snapshot } : {}),
          ...(options.keyFile ? { keyFile: resolve(options.keyFile) } : {}),
          ...(options.replay ? { replay: true } : {}),
        });
        if (isData(context)) return printData(context, result);
        warn(context, result.warnings);
        context.terminal.out(
          `${volume} is mounted read-only at ${result.target}; end with \`azekura rescue umount ${result.target}\`\n`,
        );
      }),
    );
  examples(mount, [
    'rescue mount /var/lib/azekura db /mnt/look',
    'rescue mount /dev/sdb db /mnt/look --snapshot before-upgrade',
  ]);

  const umount = group
    .command('umount <target>')
    .alias('unmount')
    .summary('end a rescue mount')
    .action(async (target: string) =>
      withRescue(context, {}, async (rescue, deps) => {
        await rescue.unmount({ ...deps, target: resolve(target) });
        context.terminal.out(`${resolve(target)} is unmounted\n`);
      }),
    );
  examples(umount, ['rescue umount /mnt/look']);

  const exporting = group
    .command('export <path> <volume> <file>')
    .summary('write a volume or snapshot to a raw image file')
    .option('--snapshot <snapshot>', 'a snapshot of the volume')
    .option('--key-file <file>', 'the key of an encrypted volume')
    .option('--force', 'replace the file when it is there')
    .option('--writable', 'allow changes of the place: replays the journal of its file system')
    .action(async (path: string, volume: string, file: string, options: Options) =>
      withRescue(context, options, async (rescue, deps) => {
        const { terminal } = context;
        const onProgress = (done: number, total: number) =>
          terminal.err(`\r\u001b[2K${formatBytes(done)} of ${formatBytes(total)}`);
        const result = await rescue.exportVolume({
          ...deps,
          path: resolve(path),
          volume,
          to: resolve(file),
          ...(options.snapshot ? { snapshot: options.snapshot } : {}),
          ...(options.keyFile ? { keyFile: resolve(options.keyFile) } : {}),
          ...(options.force ? { force: true } : {}),
          ...(terminal.errIsTty ? { onProgress } : {}),
        });
        if (terminal.errIsTty) terminal.err('\r\u001b[2K');
        if (isData(context)) return printData(context, result);
        warn(context, result.warnings);
        terminal.out(
          `${volume} is written to ${result.to}: ${formatBytes(result.dataBytes)} of data, size ${formatBytes(result.sizeBytes)}, checksum ${result.checksum}\n`,
        );
      }),
    );
  examples(exporting, [
    'rescue export /var/lib/azekura db /backup/db.img',
    'rescue export /dev/sdb db db.img --snapshot before-upgrade',
  ]);
}

type Rescue = typeof import('../../rescue/index.ts');

async function withRescue(
  context: Context,
  options: Options,
  work: (rescue: Rescue, deps: RescueDeps) => Promise<void>,
): Promise<void> {
  const { host, close } = await context.roles.rescueHost();
  const stop = new AbortController();
  const interrupt = () => stop.abort();
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    await work(await import('../../rescue/index.ts'), {
      host,
      log: silentLogger,
      signal: stop.signal,
      ...(options.writable ? { writable: true } : {}),
    });
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    await close();
  }
}

function isData(context: Context): boolean {
  return ['json', 'yaml'].includes(context.format());
}

function warn(context: Context, warnings: readonly string[]): void {
  for (const warning of warnings) context.terminal.err(`Warning: ${printableText(warning)}\n`);
}

async function printReport(context: Context, report: RescueReport): Promise<void> {
  if (isData(context)) return printData(context, report);
  const rows: string[][] = [];
  const now = context.nowMs();
  for (const volume of report.volumes) {
    const { identity } = volume;
    const state = [
      volume.recycled ? 'deleted' : '',
      volume.inUseBy ? `in use by ${volume.inUseBy}` : '',
      volume.copies > 1 ? (volume.newest ? 'newest copy' : 'older copy') : '',
      volume.problem ?? '',
    ];
    rows.push([
      identity?.name ?? '(unknown)',
      volume.volumeId,
      identity?.claim ? `${identity.claim.namespace}/${identity.claim.name}` : '',
      formatBytes(volume.sizeBytes),
      volume.allocatedBytes === undefined ? '' : formatBytes(volume.allocatedBytes),
      age(volume.modifiedAt, now),
      volume.place,
      state.filter((part) => part !== '').join(', '),
    ]);
    for (const snapshot of volume.snapshots) {
      rows.push([
        `└ ${snapshot.identity?.name ?? '(unknown)'}`,
        snapshot.snapshotId,
        '',
        formatBytes(snapshot.sizeBytes),
        snapshot.allocatedBytes === undefined ? '' : formatBytes(snapshot.allocatedBytes),
        age(snapshot.identity?.cutAt, now),
        '',
        snapshot.problem ?? 'snapshot',
      ]);
    }
  }
  if (context.format() === 'name') {
    for (const volume of report.volumes) context.terminal.out(`volume/${volume.identity?.name ?? volume.volumeId}\n`);
  } else if (rows.length > 0) {
    context.terminal.out(formatTable(['name', 'id', 'claim', 'size', 'used', 'age', 'place', 'state'], rows));
  } else context.terminal.err('No volumes found.\n');
  warn(context, report.warnings);
}
