import type { Command } from 'commander';
import type { Task } from '../../model/kinds.ts';
import { parseName } from '../arguments.ts';
import { size } from '../columns.ts';
import type { Context } from '../context.ts';
import { causeLines, describe } from '../describe.ts';
import { examples } from '../help.ts';
import { printList } from '../output.ts';
import { progressLine } from '../progress.ts';
import { named } from '../wait.ts';

export function register(group: Command, context: Context): void {
  const list = group
    .command('list')
    .alias('ls')
    .summary('list tasks, the newest last')
    .option('--running', 'only those that run')
    .action(async (options: { readonly running?: boolean }) => {
      const query = options.running ? { fieldSelector: 'status.phase=Running' } : {};
      const tasks = await (await context.client()).list('Task', query);
      return printList(
        context,
        'Task',
        tasks.sort((a, b) => a.metadata.creationTimestamp.localeCompare(b.metadata.creationTimestamp)),
      );
    });
  examples(list, ['task list', 'task list --running -o json']);

  const show = group
    .command('show <name>')
    .summary('show one task with its steps')
    .action(async (name: string) => {
      const task = await (await context.client()).get('Task', parseName(name, 'task'));
      const { steps, cause, progress } = task.status;
      await describe(context, task, [
        { title: 'progress', lines: progress ? [`${size(progress.doneBytes)} of ${size(progress.totalBytes)}`] : [] },
        {
          title: 'steps',
          lines: steps.map(
            (step) =>
              `${step.startedAt}  ${step.outcome.padEnd(9)}  ${step.name}${step.message ? `: ${step.message}` : ''}`,
          ),
        },
        { title: 'cause', lines: cause ? causeLines(cause) : [] },
      ]);
    });
  examples(show, ['task show create-volume-3f9k2m']);

  const watch = group
    .command('watch [name]')
    .summary('follow tasks as they go')
    .description('Prints a line for each change: of one task until it ends, or of all until interrupted.')
    .action(async (name: string | undefined) =>
      watchTasks(context, name === undefined ? undefined : parseName(name, 'task')),
    );
  examples(watch, ['task watch', 'task watch create-volume-3f9k2m', 'task watch -o json']);
}

async function watchTasks(context: Context, name: string | undefined): Promise<void> {
  const client = await context.client();
  // A task that is not there ends the command with NotFound instead of a wait without end.
  if (name !== undefined) await client.get('Task', name);
  const json = context.format() === 'json';
  const shown = new Map<string, string>();
  for await (const { type, object } of client.watch(
    'Task',
    name === undefined ? {} : named(name),
    new AbortController().signal,
  )) {
    if (!object || type === 'DELETED') continue;
    const line = json ? JSON.stringify(object) : taskLine(object, context.terminal.columns);
    if (shown.get(object.metadata.name) !== line) context.terminal.out(`${line}\n`);
    shown.set(object.metadata.name, line);
    if (name !== undefined && object.status.phase !== 'Running') return;
  }
}

function taskLine(task: Task, columns: number): string {
  const subject = `${task.spec.subject.kind.toLowerCase()}/${task.spec.subject.name}`;
  return `${task.status.phase.padEnd(9)}  ${subject}  ${progressLine(task, columns)}`;
}
