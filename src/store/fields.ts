import { AzekuraError } from '../model/errors.ts';
import { type Kind, kinds, type Resource } from '../model/kinds.ts';
import type { Fields } from './store.ts';

/** The fields that lists and watches of a kind may select by. */
export function selectableFields(kind: Kind): readonly string[] {
  return ['metadata.name', ...kinds[kind].fields];
}

/** @throws AzekuraError InvalidArgument for a field that is not selectable */
export function checkFields(kind: Kind, fields: Fields = {}): void {
  const selectable = selectableFields(kind);
  const wrong = Object.keys(fields).find((field) => !selectable.includes(field));
  if (wrong === undefined) return;
  throw new AzekuraError('InvalidArgument', `${kind} cannot be selected by ${JSON.stringify(wrong)}`, {
    next: `select by ${selectable.join(', ')}`,
  });
}

/** Whether an object has all these values; an absent field has the value ''. */
export function matchesFields(object: Resource, fields: Fields = {}): boolean {
  return Object.entries(fields).every(([field, value]) => valueAt(object, field) === value);
}

function valueAt(object: Resource, field: string): string {
  let value: unknown = object;
  for (const part of field.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return '';
    value = (value as Record<string, unknown>)[part];
  }
  return value === undefined ? '' : String(value);
}
