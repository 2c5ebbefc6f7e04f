import type { Task } from '../model/kinds.ts';
import type { Client } from './client.ts';
import { printableText } from './table.ts';
import type { Terminal } from './terminal.ts';

const barWidth = 24;

/** One line for a running task: its verb, the step it is at, and a bar when it knows its size. */
export function progressLine(task: Task, columns: number): string {
  const step = task.status.steps.findLast((each) => each.outcome === 'Running') ?? task.status.steps.at(-1);
  const { progress } = task.status;
  const text = [task.spec.verb, step ? step.name : '…'];
  if (progress && progress.totalBytes > 0) {
    const share = Math.min(1, progress.doneBytes / progress.totalBytes);
    const filled = Math.round(share * barWidth);
    text.push(`[${'#'.repeat(filled)}${'.'.repeat(barWidth - filled)}] ${Math.floor(share * 100)}%`);
  }
  return [...printableText(text.join('  '))].slice(0, Math.max(20, columns - 1)).join('');
}

/** Shows the running task of a subject on a terminal's standard error until the signal is aborted; then clears the line. */
export async function followTasks(
  client: Client,
  subject: string,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  let shown = false;
  try {
    for await (const { object } of client.watch('Task', { fieldSelector: `spec.subject.name=${subject}` }, signal)) {
      if (object?.status.phase !== 'Running') continue;
      terminal.err(`\r\u001b[2K${progressLine(object, terminal.columns)}`);
      shown = true;
    }
  } catch {
    // Progress is a courtesy: whatever goes wrong with it is told by the wait that it accompanies.
  } finally {
    if (shown) terminal.err('\r\u001b[2K');
  }
}
