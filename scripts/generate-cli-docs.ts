import { Command } from 'commander';
import type { Context } from '../src/cli/context.ts';
import { groups } from '../src/cli/groups.ts';

/** What comes before this line in docs/cli.md is written by hand, what follows is made here. */
const marker = '<!-- From here on made by `npm run generate` from src/cli. -->';

/** @param page docs/cli.md as it is; returns it with the sections of all verbs made anew from their definitions */
export async function cliPage(page: string): Promise<string> {
  const end = page.indexOf(marker);
  const head = end < 0 ? page.slice(0, page.indexOf('\n## up\n') + 1) : page.slice(0, end);
  const sections: string[] = [];
  for (const group of groups) {
    const command = new Command(group.name);
    (await group.load()).register(command, {} as Context);
    sections.push(`## ${group.name}`, `${sentence(group.summary)}${alias(group.aliases ?? [])}`);
    for (const { name, leaf } of leaves(command, group.name)) sections.push(...verb(name, leaf));
  }
  return `${head}${marker}\n\n${sections.join('\n\n')}\n`;
}

function leaves(command: Command, name: string): readonly { readonly name: string; readonly leaf: Command }[] {
  const children = command
    .createHelp()
    .visibleCommands(command)
    .filter((child) => child.name() !== 'help');
  if (children.length === 0) return [{ name, leaf: command }];
  return children.flatMap((child) => leaves(child, `${name} ${child.name()}`));
}

function verb(name: string, command: Command): string[] {
  const options = command.options.filter((option) => !option.hidden);
  const words = command.registeredArguments.map((argument) => {
    const inner = `${argument.name()}${argument.variadic ? '...' : ''}`;
    return argument.required ? `<${inner}>` : `[${inner}]`;
  });
  const usage = ['azekura', name, ...words, ...(options.length > 0 ? ['[options]'] : [])].join(' ');
  const parts = [`### azekura ${name}`];
  const text = command.description() || command.summary();
  if (text) parts.push(sentence(text) + alias(command.aliases()));
  parts.push(fence([usage]));
  if (options.length > 0) {
    const rows = options.map(({ flags, description }) => `| \`${flags}\` | ${description.replaceAll('|', '\\|')} |`);
    parts.push(['| option | meaning |', '| --- | --- |', ...rows].join('\n'));
  }
  const examples = examplesOf(command);
  if (examples.length > 0) parts.push(fence(examples));
  return parts;
}

/** The lines "$ azekura …" of the command's help. */
function examplesOf(command: Command): string[] {
  let help = '';
  command.configureOutput({ writeOut: (text) => (help += text) });
  command.outputHelp();
  return [...help.matchAll(/^ {2}\$ (azekura .*)$/gm)].map(([, line]) => line ?? '');
}

function alias(names: readonly string[]): string {
  return names.length > 0 ? ` Also: ${names.map((name) => `\`${name}\``).join(', ')}.` : '';
}

function sentence(text: string): string {
  const whole = `${text[0]?.toUpperCase() ?? ''}${text.slice(1)}`;
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

function fence(lines: readonly string[]): string {
  return `\`\`\`sh\n${lines.join('\n')}\n\`\`\``;
}
