import { readdirSync, readFileSync } from 'node:fs';
import type { Cluster } from './cluster.ts';
import { recordedProcess } from './process-record.ts';

/** How many processes a lab has, and what they take together; pages that several share are counted once (PSS). */
export function memoryOf(cluster: Cluster): { readonly processes: number; readonly pssBytes: number } {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    const parent = /^\d+$/.test(name) ? parentOf(Number(name)) : undefined;
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const pids: number[] = [];
  const walk = (pid: number): void => {
    pids.push(pid);
    for (const child of children.get(pid) ?? []) walk(child);
  };
  for (const name of ['cp', ...cluster.nodes]) {
    const member = cluster.member(name);
    const outer = recordedProcess(member.path('outer')) ?? member.holder;
    if (outer !== undefined) walk(outer);
  }
  return { processes: pids.length, pssBytes: pids.reduce((total, pid) => total + pss(pid), 0) };
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}

function pss(pid: number): number {
  try {
    return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
