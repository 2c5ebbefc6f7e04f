import { z } from 'zod';
import { AzekuraError } from '../model/errors.ts';
import {
  type Kind,
  kinds,
  type NewResource,
  nameOf,
  type Resource,
  type SpecOf,
  type StatusOf,
} from '../model/kinds.ts';
import { apiVersion, ObjectMeta, OwnerReference } from '../model/meta.ts';

/** Uids become parts of keys. */
const Uid = z.string().regex(/^[-\w.:]{1,128}$/, 'must consist of 1 to 128 letters, digits and "-_.:"');

const Meta = ObjectMeta.extend({ uid: Uid, ownerReferences: z.array(OwnerReference.extend({ uid: Uid })).default([]) });

/** The part of metadata that a writer may replace. */
export const WritableMeta = Meta.pick({ labels: true, annotations: true, finalizers: true, ownerReferences: true });
export type WritableMeta = z.output<typeof WritableMeta>;

/** Largest object as JSON; the limit of etcd, so that what fits here fits there. */
export const maximumObjectBytes = 1024 * 1024;

/** Made once: zod compiles a schema when it is used first, which costs more than many checks. */
const schemas = Object.fromEntries(
  Object.entries(kinds).map(([kind, { spec, status }]) => [
    kind,
    {
      made: z.object({
        apiVersion: z.string(),
        kind: z.string(),
        metadata: Meta.extend({ name: nameOf(kind as Kind) }),
        spec,
        status,
      }),
      kept: z.object({ apiVersion: z.literal(apiVersion), kind: z.literal(kind), metadata: Meta, spec, status }),
      writable: z.object({ metadata: WritableMeta, spec }),
    },
  ]),
) as unknown as Readonly<
  Record<Kind, { readonly made: z.ZodType; readonly kept: z.ZodType; readonly writable: z.ZodType }>
>;

/** What the store adds to a new object. */
export interface Birth {
  readonly uid: string;
  readonly creationTimestamp: string;
}

/**
 * A new object, checked and with all defaults filled in; its resourceVersion is still empty.
 *
 * @throws AzekuraError InvalidArgument, naming each wrong field
 */
export function newResource<K extends Kind>(object: NewResource<K>, birth: Birth): Resource<K> {
  const kind = knownKind(object.kind);
  const subject = `${kind} ${JSON.stringify(object.metadata?.name ?? '')}`;
  const fixed = { creationTimestamp: birth.creationTimestamp, resourceVersion: '' };
  const candidate = {
    apiVersion,
    kind,
    metadata: { ...birth, ...object.metadata, ...fixed, generation: 1, deletionTimestamp: undefined },
    spec: object.spec,
    status: object.status ?? {},
  };
  return checked(schemas[kind].made, candidate, subject, '') as Resource<K>;
}

/**
 * Checks an object that keeps the life it has elsewhere: uid, times and generation are its own.
 *
 * @throws AzekuraError InvalidArgument, naming each wrong field
 */
export function checkWhole<K extends Kind>(object: Resource<K>): Resource<K> {
  const kind = knownKind(object.kind);
  return checked(schemas[kind].kept, object, `${kind} ${JSON.stringify(object.metadata.name)}`, '') as Resource<K>;
}

/**
 * Checks a replacement of spec and metadata.
 *
 * @throws AzekuraError InvalidArgument, naming each wrong field
 */
export function checkUpdate<K extends Kind>(
  object: Resource<K>,
): { readonly metadata: WritableMeta; readonly spec: SpecOf<K> } {
  const kind = knownKind(object.kind);
  const { metadata, spec } = object;
  const subject = `${kind} ${JSON.stringify(metadata.name)}`;
  return checked(schemas[kind].writable, { metadata, spec }, subject, '') as {
    metadata: WritableMeta;
    spec: SpecOf<K>;
  };
}

/**
 * Checks a replacement of status.
 *
 * @throws AzekuraError InvalidArgument, naming each wrong field
 */
export function checkStatus<K extends Kind>(object: Resource<K>): StatusOf<K> {
  const kind = knownKind(object.kind);
  const schema = kinds[kind].status as unknown as z.ZodType<StatusOf<K>>;
  return checked(schema, object.status, `${kind} ${JSON.stringify(object.metadata.name)}`, 'status');
}

/** @throws AzekuraError InvalidArgument for an object of more than maximumObjectBytes */
export function checkSize(object: Resource): void {
  checkBytes(object, JSON.stringify(object));
}

/** The same for an object whose JSON is known. @throws AzekuraError InvalidArgument */
export function checkBytes(object: Resource, json: string): void {
  const bytes = Buffer.byteLength(json);
  if (bytes <= maximumObjectBytes) return;
  const subject = `${object.kind} ${object.metadata.name}`;
  throw new AzekuraError(
    'InvalidArgument',
    `${subject} would have ${bytes} bytes; the largest object has ${maximumObjectBytes}`,
    {
      next: 'shorten its labels, annotations or lists',
    },
  );
}

/** @throws AzekuraError InvalidArgument for a limit of a list that is no whole number above zero */
export function checkLimit(limit: number | undefined): void {
  if (limit === undefined || (Number.isSafeInteger(limit) && limit > 0)) return;
  throw new AzekuraError(
    'InvalidArgument',
    `the limit of a list must be a whole number above zero, not ${String(limit)}`,
  );
}

/** @throws AzekuraError InvalidArgument */
export function knownKind<K extends Kind>(kind: K): K {
  if (Object.hasOwn(kinds, kind)) return kind;
  throw new AzekuraError('InvalidArgument', `there is no kind of object called ${JSON.stringify(kind)}`, {
    next: `use one of ${Object.keys(kinds).join(', ')}`,
  });
}

function checked<T>(schema: z.ZodType<T>, value: unknown, subject: string, root: string): T {
  // A message in the schema goes before this function, so it words only what the schema leaves to zod.
  const result = schema.safeParse(value, { error: (issue) => problemOf(issue) });
  if (result.success) return result.data;
  const fields = result.error.issues.map((issue) => ({ path: pathOf(root, issue.path), problem: issue.message }));
  const shown = fields.slice(0, 5).map(({ path, problem }) => `${path} ${problem}`);
  if (fields.length > shown.length) shown.push(`and ${fields.length - shown.length} more`);
  throw new AzekuraError('InvalidArgument', `${subject} is not valid: ${shown.join('; ')}`, {
    next: `correct ${fields[0]?.path ?? 'it'} and try again`,
    details: { fields },
  });
}

function pathOf(root: string, path: readonly PropertyKey[]): string {
  let text = root;
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (/^[A-Za-z_]\w*$/.test(String(part))) text += text === '' ? String(part) : `.${String(part)}`;
    else text += `[${JSON.stringify(String(part))}]`;
  }
  return text === '' ? 'it' : text;
}

/** zod's raw issue, as far as the wording needs it. */
interface RawIssue {
  readonly code?: string | undefined;
  readonly input?: unknown;
  readonly expected?: unknown;
  readonly minimum?: unknown;
  readonly maximum?: unknown;
  readonly inclusive?: unknown;
  readonly origin?: unknown;
  readonly keys?: unknown;
  readonly values?: unknown;
  readonly format?: unknown;
  readonly prefix?: unknown;
}

function problemOf(raw: object): string {
  const issue: RawIssue = raw;
  switch (issue.code) {
    case 'invalid_type':
      if (issue.input === undefined) return 'is missing';
      if (issue.expected === 'int') return `must be a whole number, not ${shown(issue.input)}`;
      return `must be ${withArticle(String(issue.expected))}, not ${shown(issue.input)}`;
    case 'too_small':
      return `must ${bound(issue, issue.minimum, issue.inclusive === false ? 'more than' : 'at least')}`;
    case 'too_big':
      return `must ${bound(issue, issue.maximum, issue.inclusive === false ? 'less than' : 'at most')}`;
    case 'unrecognized_keys':
      return `has no field ${listed(issue.keys)}`;
    case 'invalid_value':
      return `must be ${listed(issue.values)}, not ${shown(issue.input)}`;
    case 'invalid_union':
      return 'has none of the forms that are allowed';
    case 'invalid_format':
      if (issue.format === 'datetime') return `must be an RFC 3339 time in UTC, not ${shown(issue.input)}`;
      if (issue.format === 'starts_with') return `must start with ${JSON.stringify(issue.prefix)}`;
      return `has not the form ${String(issue.format)}`;
    default:
      return 'is not allowed';
  }
}

function bound(issue: RawIssue, limit: unknown, relation: string): string {
  const unit = issue.origin === 'string' ? ' characters' : issue.origin === 'array' ? ' entries' : '';
  return `${unit === '' ? 'be' : 'have'} ${relation} ${String(limit)}${unit}`;
}

function listed(values: unknown): string {
  return Array.isArray(values) ? values.map((value) => JSON.stringify(value)).join(' or ') : String(values);
}

function withArticle(type: string): string {
  return /^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`;
}

function shown(input: unknown): string {
  if (typeof input === 'number' || typeof input === 'boolean' || input === null) return String(input);
  if (typeof input === 'string') return JSON.stringify(input.length > 60 ? `${input.slice(0, 57)}…` : input);
  return withArticle(Array.isArray(input) ? 'array' : typeof input);
}
