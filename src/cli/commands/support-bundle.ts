import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { formatBytes } from '../../lib/quantity.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { Context } from '../context.ts';
import { examples } from '../help.ts';

export function register(command: Command, context: Context): void {
  command
    .usage('[options]')
    .description(
      'Writes a .tar.gz with objects, tasks, status, host facts and the recent log: no data of volumes, no secrets.\nHere -o names the file to write.',
    )
    .action(async () => {
      const file =
        context.globals().output ??
        `azekura-support-${new Date(context.nowMs()).toISOString().replaceAll(/[:.]/g, '-')}.tar.gz`;
      const bytes = await (await context.client()).download('/support-bundle');
      // Only for its owner, and never over a file that is there.
      await writeFile(file, bytes, { mode: 0o600, flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
        throw new AzekuraError(
          error.code === 'EEXIST' ? 'AlreadyExists' : 'InvalidArgument',
          `cannot write ${file}: ${error.code ?? error.message}`,
          { next: 'name another file with -o', cause: error },
        );
      });
      context.terminal.out(`${file} (${formatBytes(bytes.length)}) is written; read it before you send it\n`);
    });
  examples(command, ['support-bundle', 'support-bundle -o /tmp/azekura.tar.gz']);
}
