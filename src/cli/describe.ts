import type { Cause } from '../model/cause.ts';
import type { Kind, Resource } from '../model/kinds.ts';
import { type Column, columns } from './columns.ts';
import type { Context } from './context.ts';
import { printData, printList } from './output.ts';
import { printableText } from './table.ts';

/** A titled block of lines below an object. */
export interface Section {
  readonly title: string;
  readonly lines: readonly string[];
}

/** Prints one object with everything that its table has, one line each, its causes, and more sections. */
export async function describe<K extends Kind>(
  context: Context,
  object: Resource<K>,
  sections: readonly Section[] = [],
): Promise<void> {
  const format = context.format();
  if (format === 'json' || format === 'yaml') return printData(context, object);
  if (format === 'name') return printList(context, object.kind, [object]);
  const fields = (columns[object.kind] as readonly Column<K>[])
    .filter((column) => column.title !== 'cause')
    .map((column) => [column.title, column.value(object, context.nowMs())] as const)
    .filter(([, value]) => value !== '');
  const width = Math.max(...fields.map(([title]) => title.length)) + 2;
  for (const [title, value] of fields) context.terminal.out(`${`${title}:`.padEnd(width)}${printableText(value)}\n`);
  const causes = 'causes' in object.status ? object.status.causes : [];
  for (const { title, lines } of [
    ...(causes.length > 0 ? [{ title: 'causes', lines: causes.flatMap(causeLines) }] : []),
    ...sections,
  ]) {
    if (lines.length === 0) continue;
    context.terminal.out(`${title}:\n${lines.map((line) => `  ${printableText(line)}\n`).join('')}`);
  }
}

/** A cause as a person reads it. */
export function causeLines(cause: Cause): string[] {
  const evidence = Object.entries(cause.evidence).map(([key, value]) => `${key}: ${value}`);
  return [
    `${cause.code}: ${cause.message}`,
    ...(evidence.length > 0 ? [`  seen: ${evidence.join(', ')}`] : []),
    `  next: ${cause.nextStep}`,
  ];
}
