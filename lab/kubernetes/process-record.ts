/** Remembering a process in a file, so that another program can find it again and never takes another for it. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';

/** When a process started, in clock ticks since boot: with its number, its identity. See proc_pid_stat(5), field 22. */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

export function recordProcess(file: string, pid: number): void {
  writeFileSync(file, `${pid} ${startTime(pid) ?? '0'}\n`);
}

/** The number of the process in the file; undefined when there is none or it has ended. */
export function recordedProcess(file: string): number | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
  const [pid, started] = text.trim().split(' ').map(Number);
  return pid !== undefined && started !== undefined && startTime(pid) === String(started) ? pid : undefined;
}

/** Ends the process in the file at once, if it is there, and removes the file. */
export function killRecorded(file: string): void {
  const pid = recordedProcess(file);
  if (pid !== undefined) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // ended meanwhile
    }
  }
  rmSync(file, { force: true });
}

/** Whether a process is there and not only waiting to be reaped. */
export function isRunning(pid: number): boolean {
  return startTime(pid) !== undefined;
}
