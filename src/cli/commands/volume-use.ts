import { isAbsolute, resolve } from 'node:path';
import type { Command } from 'commander';
import type { Attachment, Volume } from '../../model/kinds.ts';
import { collect, parseName } from '../arguments.ts';
import { objectPath } from '../client.ts';
import type { Context } from '../context.ts';
import { examples } from '../help.ts';
import { printResult } from '../output.ts';
import { restoreVolume, volumeChanged } from '../volumes.ts';
import { waitFor } from '../wait.ts';

/** Verbs that use a volume: mount, umount, restore, repair, trim, rotate-key. */
export function registerVolumeUse(group: Command, context: Context): void {
  const mount = group
    .command('mount <name> <path>')
    .summary('use a volume on this machine')
    .description('Shows the volume at a path: its file system, or the block device of a raw volume.')
    .option('--read-only', 'mount read-only')
    .option('--option <option>', 'mount option; may be given several times', collect)
    .action(
      async (
        name: string,
        given: string,
        options: { readonly readOnly?: boolean; readonly option?: readonly string[] },
      ) => {
        const path = absolutePath(given);
        const client = await context.client();
        const body = {
          path,
          ...(options.readOnly ? { readOnly: true } : {}),
          ...(options.option ? { mountOptions: options.option } : {}),
        };
        const query = context.globals().dryRun ? { dryRun: true } : {};
        const volume = (await client.call('POST', objectPath('Volume', parseName(name, 'volume'), 'mount'), {
          body,
          query,
        })) as Volume;
        await waitFor(context, client, {
          kind: 'Attachment',
          query: { fieldSelector: `spec.volumeName=${name}` },
          done: (attachments) =>
            attachments.some((attachment) => isObserved(attachment) && attachment.status.published.includes(path)),
          what: `volume ${name} to be mounted at ${path}`,
          subject: name,
        });
        await printResult(
          context,
          `volume/${name} is ${context.globals().wait ? '' : 'being '}mounted at ${path}`,
          volume,
        );
      },
    );
  examples(mount, [
    'volume mount db /mnt/db',
    'volume mount db /mnt/look --read-only',
    'volume mount raw /srv/raw-device',
  ]);

  const umount = group
    .command('umount <name> [path]')
    .alias('unmount')
    .summary('stop using a volume')
    .description('Takes the volume away from one path, or from all paths.')
    .action(async (name: string, given: string | undefined) => {
      const path = given === undefined ? undefined : absolutePath(given);
      const client = await context.client();
      const query = context.globals().dryRun ? { dryRun: true } : {};
      const volume = (await client.call('POST', objectPath('Volume', parseName(name, 'volume'), 'unmount'), {
        body: path === undefined ? {} : { path },
        query,
      })) as Volume;
      await waitFor(context, client, {
        kind: 'Attachment',
        query: { fieldSelector: `spec.volumeName=${name}` },
        done: (attachments) =>
          path === undefined
            ? attachments.length === 0
            : attachments.every((attachment) => isObserved(attachment) && !attachment.status.published.includes(path)),
        what: `volume ${name} to be unmounted`,
        subject: name,
      });
      await printResult(
        context,
        `volume/${name} is ${context.globals().wait ? '' : 'being '}unmounted${path === undefined ? '' : ` from ${path}`}`,
        volume,
      );
    });
  examples(umount, ['volume umount db', 'volume umount db /mnt/look']);

  const restore = group
    .command('restore <name> <snapshot>')
    .summary('put a snapshot back in place')
    .description('Replaces the bytes of a volume that is not mounted by those of one of its snapshots.')
    .action(async (name: string, snapshot: string) => restoreVolume(context, name, snapshot));
  examples(restore, ['volume restore db before-upgrade']);

  const repair = group
    .command('repair <name>')
    .summary('check and repair the file system')
    .description('Checks and repairs the file system of a volume that is not mounted. Needs free space in the pool.')
    .action(async (name: string) =>
      volumeChanged(context, parseName(name, 'volume'), {
        method: 'POST',
        action: 'repair',
        body: {},
        would: `repair volume ${name}`,
        done: (volume) =>
          volume.spec.repair !== undefined && volume.status.repair?.requestId === volume.spec.repair.requestId,
        what: `volume ${name} to be repaired`,
        sentence: `volume/${name} is checked; see \`azekura volume show ${name} -o yaml\` for the outcome`,
      }),
    );
  examples(repair, ['volume repair db']);

  const trim = group
    .command('trim <name>')
    .summary('give unused space back to the pool')
    .description(
      'Has the mounted file system of a thin volume give back what it does not use. It happens by itself once a week, unless the class says otherwise.',
    )
    .action(async (name: string) =>
      volumeChanged(context, parseName(name, 'volume'), {
        method: 'POST',
        action: 'trim',
        body: {},
        would: `trim volume ${name}`,
        done: (volume) =>
          volume.spec.trim !== undefined && volume.status.trim?.requestId === volume.spec.trim.requestId,
        what: `volume ${name} to be trimmed`,
        sentence: `volume/${name} is trimmed`,
      }),
    );
  examples(trim, ['volume trim db']);

  const rotate = group
    .command('rotate-key <name>')
    .summary('bring an encrypted volume to another key')
    .description(
      'Gives an encrypted volume another key, also while it is mounted; the one before opens it no more. Both keys are files on the node.',
    )
    .requiredOption('--new-key-file <file>', 'file on the node with the new key')
    .option('--key-file <file>', 'file on the node with the present key (what the volume names)')
    .action(async (name: string, options: { readonly newKeyFile: string; readonly keyFile?: string }) =>
      volumeChanged(context, parseName(name, 'volume'), {
        method: 'POST',
        action: 'rotate-key',
        body: {
          keyFile: absolutePath(options.newKeyFile),
          ...(options.keyFile === undefined ? {} : { previousKeyFile: absolutePath(options.keyFile) }),
        },
        would: `change the key of volume ${name}`,
        done: (volume) =>
          volume.spec.changeKey !== undefined && volume.status.changeKey?.requestId === volume.spec.changeKey.requestId,
        what: `the key of volume ${name} to be changed`,
        sentence: ({ status }) => `volume/${name}: ${status.changeKey?.outcome ?? 'the key is being changed'}`,
      }),
    );
  examples(rotate, ['volume rotate-key db --new-key-file /etc/azekura/keys/db-2']);
}

/** Whether the status tells of the attachment as it is wanted now, not of what was mounted before a change or a reboot. */
function isObserved({ metadata, status }: Attachment): boolean {
  return status.observedGeneration >= metadata.generation;
}

function absolutePath(path: string): string {
  return isAbsolute(path) ? resolve(path) : resolve(process.cwd(), path);
}
