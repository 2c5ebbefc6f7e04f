/** A JSON Schema, as far as zod writes it for our models. */
export interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly oneOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly format?: string;
  readonly [keyword: string]: unknown;
}

export interface Rule {
  readonly rule: string;
  readonly message: string;
  /** Below the object that the rule is written at. */
  readonly fieldPath?: string;
}

/** Keywords that mean the same in a structural schema (apiextensions.k8s.io/v1 JSONSchemaProps). */
const kept = new Set([
  'type',
  'description',
  'default',
  'enum',
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'minLength',
  'maxLength',
  'pattern',
  'minItems',
  'maxItems',
]);
/** Formats that the API server checks; zod's others repeat a pattern that is there anyway. */
const formats = new Set(['date-time', 'uri']);
/** What is dropped: strictness is pruning in Kubernetes, and keys of maps cannot be described. */
const dropped = new Set([
  '$schema',
  'additionalProperties',
  'propertyNames',
  'required',
  'properties',
  'items',
  'format',
]);

/**
 * A schema as Kubernetes wants it: structural, without $ref and unions. A union becomes one object with the fields of
 * all its forms, and rules that say which form has which.
 *
 * @throws Error for what cannot be said in a structural schema, so that nobody writes such a model unnoticed
 */
export function structural(schema: Schema, path: string): Schema {
  if (schema.oneOf) return unionOf(schema, path);
  for (const keyword of Object.keys(schema))
    if (!kept.has(keyword) && !dropped.has(keyword)) throw new Error(`${path}: Kubernetes has no place for ${keyword}`);
  const result: Record<string, unknown> = {};
  for (const [keyword, value] of Object.entries(schema)) if (kept.has(keyword)) result[keyword] = value;
  if (typeof schema.pattern === 'string') result.pattern = goPattern(schema.pattern, path);
  if (schema.type === 'integer') result.format = 'int64';
  else if (schema.format !== undefined && formats.has(schema.format)) result.format = schema.format;
  if (schema.properties) {
    result.properties = Object.fromEntries(
      Object.entries(schema.properties).map(([name, property]) => [name, structural(property, `${path}.${name}`)]),
    );
  }
  if (schema.required && schema.required.length > 0) result.required = schema.required;
  if (schema.items) result.items = structural(schema.items, `${path}[]`);
  const values = schema.additionalProperties;
  if (typeof values === 'object' && Object.keys(values).length > 0)
    result.additionalProperties = structural(values, `${path}{}`);
  return result;
}

/** A union of objects that are told apart by one field with one value in each. */
function unionOf(schema: Schema, path: string): Schema {
  const forms = schema.oneOf ?? [];
  const tag = Object.keys(forms[0]?.properties ?? {}).find((name) =>
    forms.every((form) => form.properties?.[name]?.enum?.length === 1),
  );
  if (tag === undefined) throw new Error(`${path}: a union needs a field that tells its forms apart`);
  const tagOf = (form: Schema) => String(form.properties?.[tag]?.enum?.[0]);
  const names = [...new Set(forms.flatMap((form) => Object.keys(form.properties ?? {})))].filter(
    (name) => name !== tag,
  );
  const properties: Record<string, Schema> = { [tag]: { type: 'string', enum: forms.map(tagOf) } };
  const rules: Rule[] = [];
  for (const name of names) {
    const having = forms.filter((form) => form.properties?.[name]);
    const shapes = having.map((form) => structural(form.properties?.[name] ?? {}, `${path}.${name}`));
    properties[name] = common(shapes, `${path}.${name}`);
    for (const form of forms) {
      const when = `self.${tag} != '${tagOf(form)}'`;
      if (form.required?.includes(name)) {
        rules.push({ rule: `${when} || has(self.${name})`, message: `${name} is required of ${tag} ${tagOf(form)}` });
      } else if (!form.properties?.[name] && form.additionalProperties === false) {
        rules.push({
          rule: `${when} || !has(self.${name})`,
          message: `${name} does not belong to ${tag} ${tagOf(form)}`,
        });
      }
      const pattern = form.properties?.[name]?.pattern;
      if (pattern !== undefined && properties[name]?.pattern === undefined) {
        const matches = `self.${name}.matches(${celString(goPattern(pattern, path))})`;
        rules.push({
          rule: `${when} || !has(self.${name}) || ${matches}`,
          message: `${name} of ${tag} ${tagOf(form)} must match ${pattern}`,
        });
      }
    }
  }
  return {
    type: 'object',
    ...(schema.description === undefined ? {} : { description: schema.description }),
    properties,
    required: [tag],
    'x-kubernetes-validations': rules.map(({ rule, message }) => ({ rule, message })),
  };
}

/** What all shapes of a field have in common; patterns that differ become rules. */
function common(shapes: readonly Schema[], path: string): Schema {
  const [first = {}, ...others] = shapes;
  const same = (keyword: string) =>
    others.every((other) => JSON.stringify(other[keyword]) === JSON.stringify(first[keyword]));
  const result: Record<string, unknown> = {};
  for (const keyword of new Set(shapes.flatMap((shape) => Object.keys(shape)))) {
    if (same(keyword)) result[keyword] = first[keyword];
    else if (keyword === 'description') result.description = shapes.map((shape) => shape.description).find(Boolean);
    else if (keyword !== 'pattern') throw new Error(`${path}: the forms of a union disagree about ${keyword}`);
  }
  return result;
}

/** JavaScript's source of a pattern as Go's RE2 reads it. */
function goPattern(pattern: string, path: string): string {
  if (/\(\?[=!<]/.test(pattern)) throw new Error(`${path}: RE2 has no look-around: ${pattern}`);
  return pattern.replaceAll('\\/', '/');
}

function celString(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
