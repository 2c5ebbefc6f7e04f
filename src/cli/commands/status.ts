import type { Command } from 'commander';
import type { InstanceStatus } from '../../control/operations.ts';
import { formatBytes } from '../../lib/quantity.ts';
import type { Context } from '../context.ts';
import { causeLines } from '../describe.ts';
import { examples } from '../help.ts';
import { printData, printList } from '../output.ts';

export function register(command: Command, context: Context): void {
  command.action(async () => {
    const client = await context.client();
    const status = (await client.call('GET', '/status')) as InstanceStatus;
    const format = context.format();
    if (format === 'json' || format === 'yaml') return printData(context, status);
    if (format === 'name') {
      for (const pool of status.pools) context.terminal.out(`pool/${pool.metadata.name}\n`);
      return;
    }
    await printStatus(context, status);
  });
  examples(command, ['status', 'status -o json']);
}

async function printStatus(context: Context, status: InstanceStatus): Promise<void> {
  const { out } = context.terminal;
  out(`Azekura ${status.version} on node ${status.node}\n\n`);
  if (status.pools.length > 0) await printList(context, 'Pool', status.pools);
  else out('No pool yet: add one with `azekura pool add NAME PATH`.\n');
  const phases = Object.entries(status.volumes.byPhase).map(([phase, count]) => `${count} ${phase}`);
  out(
    `\nVolumes: ${status.volumes.total}${phases.length > 0 ? ` (${phases.join(', ')})` : ''}, ${status.volumes.attached} in use; snapshots: ${status.snapshots}`,
  );
  out(`; recycle bin: ${status.recycled.count} (${formatBytes(status.recycled.bytes)})\n`);
  if (status.runningTasks.length > 0) out(`\nRunning:\n`);
  for (const task of status.runningTasks)
    out(`  ${task.verb} ${task.subject}${task.step ? `: ${task.step}` : ''}  (azekura task show ${task.name})\n`);
  if (status.problems.length === 0) out('\nAll is well.\n');
  else out(`\nNot well:\n`);
  for (const { cause, affects } of status.problems) {
    for (const line of causeLines(cause)) out(`  ${line}\n`);
    if (affects.length > 0) out(`    affects: ${affects.join(', ')}\n`);
  }
}
