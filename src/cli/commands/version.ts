import type { Command } from 'commander';
import { hasCode } from '../../model/errors.ts';
import type { Context } from '../context.ts';
import { examples } from '../help.ts';
import { printData } from '../output.ts';

export function register(command: Command, context: Context): void {
  command.action(async () => {
    const client = { ...context.roles.version, node: process.version };
    const daemon = await daemonVersion(context);
    const format = context.format();
    if (format === 'json' || format === 'yaml') return printData(context, { client, ...(daemon ? { daemon } : {}) });
    context.terminal.out(`azekura ${client.version} (${client.build}), Node ${client.node}\n`);
    context.terminal.out(daemon ? `daemon  ${daemon.version} (${daemon.build})\n` : 'daemon  not running\n');
  });
  examples(command, ['version', 'version -o json', '--version']);
}

async function daemonVersion(context: Context): Promise<{ version: string; build: string } | undefined> {
  try {
    return (await (await context.client()).call('GET', '/version')) as { version: string; build: string };
  } catch (error) {
    if (hasCode(error, 'Unavailable', 'PermissionDenied')) return undefined;
    throw error;
  }
}
