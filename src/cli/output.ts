import type { Kind, Resource } from '../model/kinds.ts';
import { apiVersion } from '../model/meta.ts';
import { type Column, columns } from './columns.ts';
import type { Context } from './context.ts';
import type { OutputFormat } from './options.ts';
import { formatTable } from './table.ts';

/** Prints any value as JSON or YAML; the caller has dealt with the other formats. */
export async function printData(context: Context, value: unknown): Promise<void> {
  if (context.format() === 'yaml') {
    const { stringify } = await import('yaml');
    context.terminal.out(stringify(value, { aliasDuplicateObjects: false, lineWidth: 0 }));
    return;
  }
  context.terminal.out(`${JSON.stringify(value, null, 2)}\n`);
}

/** Prints a list of objects in the chosen format; as JSON and YAML a `List`, as kubectl does. */
export async function printList<K extends Kind>(
  context: Context,
  kind: K,
  items: readonly Resource<K>[],
): Promise<void> {
  const format = context.format();
  if (format === 'json' || format === 'yaml')
    return printData(context, { apiVersion: 'v1', kind: 'List', metadata: {}, items });
  if (format === 'name') {
    for (const { metadata } of items) context.terminal.out(`${kind.toLowerCase()}/${metadata.name}\n`);
    return;
  }
  if (items.length === 0) {
    context.terminal.err(`No ${plain(kind)} found.\n`);
    return;
  }
  context.terminal.out(tableOf(kind, items, format, context.nowMs()));
}

/** Prints one object; as a table it is a list of one. */
export async function printObject<K extends Kind>(context: Context, object: Resource<K>): Promise<void> {
  const format = context.format();
  if (format === 'json' || format === 'yaml') return printData(context, object);
  return printList(context, object.kind, [object]);
}

/** What was done, for people; the object itself when a machine-readable format was asked for. */
export async function printResult(context: Context, sentence: string, object: Resource | undefined): Promise<void> {
  const format = context.format();
  if (format === 'json' || format === 'yaml')
    return printData(context, object ?? { apiVersion, kind: 'Status', status: 'Success', message: sentence });
  if (format === 'name') {
    if (object) context.terminal.out(`${object.kind.toLowerCase()}/${object.metadata.name}\n`);
    return;
  }
  context.terminal.out(`${sentence}\n`);
}

function tableOf<K extends Kind>(kind: K, items: readonly Resource<K>[], format: OutputFormat, nowMs: number): string {
  const shown = (columns[kind] as readonly Column<K>[]).filter((column) => format === 'wide' || !column.wide);
  // A column of causes that is empty everywhere tells nothing and makes every table wider.
  const useful = shown.filter(
    (column) => column.title !== 'cause' || items.some((item) => column.value(item, nowMs) !== ''),
  );
  return formatTable(
    useful.map((column) => column.title),
    items.map((item) => useful.map((column) => column.value(item, nowMs))),
  );
}

/** "RecycledVolume" → "recycled volumes". */
function plain(kind: Kind): string {
  const words = kind.replaceAll(/(?<!^)([A-Z])/g, ' $1').toLowerCase();
  return words.endsWith('s') ? `${words}es` : words === 'repository' ? 'repositories' : `${words}s`;
}
