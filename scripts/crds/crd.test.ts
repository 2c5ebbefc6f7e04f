import { describe, expect, it } from 'vitest';
import { columns } from '../../src/cli/columns.ts';
import { kindNames, kinds } from '../../src/model/kinds.ts';
import { printerColumns } from './columns.ts';
import { crdOf } from './crd.ts';
import { type Schema, structural } from './schema.ts';

/** All schemas inside a schema, with the path to each. */
function* parts(schema: Schema, path: string): Generator<readonly [string, Schema]> {
  yield [path, schema];
  for (const [name, part] of Object.entries(schema.properties ?? {})) yield* parts(part, `${path}.${name}`);
  if (schema.items) yield* parts(schema.items, `${path}[]`);
  if (typeof schema.additionalProperties === 'object') yield* parts(schema.additionalProperties, `${path}{}`);
}

describe.each(kindNames)('the definition of %s', (kind) => {
  const { spec } = crdOf(kind);
  const schema = spec.versions[0]?.schema.openAPIV3Schema ?? {};

  it('is structural: a type everywhere, no unions, no references', () => {
    for (const [path, part] of parts(schema, kind)) {
      expect([path, typeof part.type]).toEqual([path, 'string']);
      for (const keyword of ['oneOf', 'anyOf', '$ref', 'const', 'propertyNames', '$defs'])
        expect([path, keyword in part]).toEqual([path, false]);
      if (part.properties) expect([path, 'additionalProperties' in part]).toEqual([path, false]);
    }
  });

  it('has every selectable field and every column', () => {
    const paths = new Set([...parts(schema, '')].map(([path]) => path));
    for (const field of kinds[kind].fields) expect(paths).toContain(`.${field}`);
    expect(kinds[kind].fields.length).toBeLessThanOrEqual(8);
    for (const { jsonPath } of printerColumns[kind]) {
      const path = jsonPath.replace(/\[[^\]]*\]/g, '[]');
      if (!path.startsWith('.metadata.')) expect(paths).toContain(path);
    }
  });

  it('is for people what our own tables are', () => {
    const ours = new Set(columns[kind].map(({ title }) => title.replace('expires in', 'expires')));
    const theirs = printerColumns[kind].map(({ name }) => name.toLowerCase());
    expect(theirs.filter((title) => !ours.has(title))).toEqual([]);
  });
});

describe('a union', () => {
  const union: Schema = {
    oneOf: [
      {
        type: 'object',
        properties: { kind: { type: 'string', enum: ['a'] }, path: { type: 'string', pattern: '^\\/x' } },
        required: ['kind', 'path'],
        additionalProperties: false,
      },
      {
        type: 'object',
        properties: { kind: { type: 'string', enum: ['b'] }, size: { type: 'integer' } },
        required: ['kind', 'size'],
        additionalProperties: false,
      },
    ],
  };

  it('becomes one object, and rules that tell the forms apart', () => {
    const made = structural(union, 'U');
    expect(made.properties).toMatchObject({
      kind: { enum: ['a', 'b'] },
      path: { pattern: '^/x' },
      size: { format: 'int64' },
    });
    expect(made.required).toEqual(['kind']);
    expect(made['x-kubernetes-validations']).toEqual([
      { rule: "self.kind != 'a' || has(self.path)", message: 'path is required of kind a' },
      { rule: "self.kind != 'b' || !has(self.path)", message: 'path does not belong to kind b' },
      { rule: "self.kind != 'a' || !has(self.size)", message: 'size does not belong to kind a' },
      { rule: "self.kind != 'b' || has(self.size)", message: 'size is required of kind b' },
    ]);
  });

  it('that cannot be told apart, and whatever else Kubernetes cannot say, stops the generation', () => {
    expect(() => structural({ oneOf: [{ type: 'string' }, { type: 'integer' }] }, 'U')).toThrow(
      'tells its forms apart',
    );
    expect(() => structural({ type: 'string', pattern: '(?=x)y' }, 'U')).toThrow('look-around');
    expect(() => structural({ type: 'array', contains: {} }, 'U')).toThrow('contains');
  });
});
