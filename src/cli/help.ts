import type { Command } from 'commander';

/** Adds examples to a command's help: every verb has at least one. */
export function examples(command: Command, lines: readonly string[]): Command {
  return command.addHelpText('after', `\nExamples:\n${lines.map((line) => `  $ azekura ${line}`).join('\n')}`);
}
