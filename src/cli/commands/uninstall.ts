import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { examples } from '../help.ts';

export function register(command: Command, context: Context): void {
  command
    .description(
      'Takes Azekura off this machine: unmounts its pools and removes its state. Volumes keep their data, which\n`azekura rescue` and a later `azekura up` read; only --delete-data removes it, and only what lies in the data folder.\nThe daemon must be stopped and no volume mounted.',
    )
    .option('--delete-data', 'also delete every volume and pool in the data folder, for good')
    .option('--yes', 'do not ask')
    .action(async (options: { readonly deleteData?: boolean; readonly yes?: boolean }) => {
      const { dataDir } = context.globals();
      context.setExitCode(
        await context.roles.uninstall(
          { dataDir, deleteData: options.deleteData ?? false, yes: options.yes ?? false },
          context.terminal,
        ),
      );
    });
  examples(command, ['uninstall', 'uninstall --delete-data']);
}
