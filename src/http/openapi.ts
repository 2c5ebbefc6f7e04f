import { z } from 'zod';
import { errorCatalogue } from '../model/errors.ts';
import { type Kind, kinds, resourceSchema } from '../model/kinds.ts';
import { allVerbs, verbPath, verbQuery } from './changes.ts';
import { StatusBody } from './errors.ts';
import { apiPrefix, ListQuery, servedKinds } from './objects.ts';
import type { Verb } from './verbs.ts';

type Json = Record<string, unknown>;

/** The OpenAPI 3.0 document of the whole API, made from the schemas and tables that the routes are made from. */
export function openApiDocument(version: string): Json {
  const paths: Record<string, Json> = {};
  const add = (path: string, method: string, operation: Json) => {
    paths[path] = {
      ...paths[path],
      [method]: { ...operation, responses: { ...(operation.responses as Json), default: errorResponse } },
    };
  };
  for (const kind of servedKinds) {
    const base = `${apiPrefix}/${kinds[kind].plural}`;
    add(base, 'get', {
      operationId: `list${kind}`,
      summary: `Lists or watches objects of kind ${kind}`,
      parameters: queryParameters(ListQuery),
      responses: { 200: json(reference(`${kind}List`)) },
    });
    add(`${base}/{name}`, 'get', {
      operationId: `get${kind}`,
      summary: `One ${kind}`,
      parameters: [nameParameter],
      responses: { 200: json(reference(kind)) },
    });
  }
  for (const verb of allVerbs) add(verbPath(verb, '{name}'), verb.method.toLowerCase(), verbOperation(verb));
  for (const [path, summary, contentType] of information) {
    const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
      name,
      in: 'path',
      required: true,
      schema: { type: 'string' },
    }));
    add(path, 'get', {
      operationId: `get${path.replaceAll(/[^a-z]+(\w)/g, (_, letter: string) => letter.toUpperCase()).replace(/\W/g, '')}`,
      summary,
      parameters,
      responses: { 200: { description: summary, content: { [contentType]: {} } } },
    });
  }
  return {
    openapi: '3.0.3',
    info: {
      title: 'Azekura',
      version,
      license: { name: 'Apache-2.0' },
      description: 'On the unix socket without authentication; on TCP with a bearer token.',
    },
    paths,
    components: { schemas: componentSchemas(), securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    security: [{ token: [] }, {}],
  };
}

const information = [
  ['/status', 'Pools, volumes, tasks, and everything that is not well', 'application/json'],
  ['/why/{kind}/{name}', 'The one cause that keeps an object from being as it should be', 'application/json'],
  ['/healthz', 'Whether the process answers', 'application/json'],
  ['/readyz', 'Whether the instance takes work', 'application/json'],
  ['/version', 'Version and build', 'application/json'],
  ['/metrics', 'Metrics for Prometheus', 'text/plain'],
  ['/openapi.json', 'This document', 'application/json'],
  ['/support-bundle', 'A tar.gz for a bug report, without secrets', 'application/gzip'],
] as const;

const nameParameter = { name: 'name', in: 'path', required: true, schema: { type: 'string' } };
const errorResponse = {
  description: `An error. \`reason\` is one of ${Object.keys(errorCatalogue).join(', ')}`,
  content: { 'application/json': { schema: { $ref: '#/components/schemas/Status' } } },
};

function verbOperation(verb: Verb): Json {
  const created = verb.method === 'POST' ? (verb.action ? 202 : 201) : 200;
  const verbName = verb.action ?? { POST: 'create', PATCH: 'change', DELETE: 'delete' }[verb.method];
  return {
    operationId: `${verbName}${verb.kind}`,
    summary: verb.summary,
    parameters: [
      ...(verb.method === 'POST' && !verb.action ? [] : [nameParameter]),
      ...queryParameters(verbQuery(verb)),
    ],
    ...(verb.body
      ? {
          requestBody: {
            required: true,
            content: {
              [verb.method === 'PATCH' ? 'application/merge-patch+json' : 'application/json']: {
                schema: schemaOf(verb.body, 'input'),
              },
            },
          },
        }
      : {}),
    responses: {
      [created]: json(
        verb.answer ? schemaOf(verb.answer, 'output') : { oneOf: [reference(verb.kind), reference('Status')] },
      ),
    },
  };
}

function queryParameters(schema: z.ZodObject): Json[] {
  return Object.entries(schema.shape).map(([name, field]) => {
    const { description, ...rest } = schemaOf(field as z.ZodType, 'input');
    const isSwitch =
      JSON.stringify(rest) === '{"type":"string"}' && !(field as z.ZodType).safeParse('some text').success;
    return {
      name,
      in: 'query',
      ...(description ? { description } : {}),
      schema: isSwitch ? { type: 'boolean' } : rest,
    };
  });
}

function componentSchemas(): Record<string, Json> {
  const schemas: Record<string, Json> = { Status: schemaOf(StatusBody, 'output') };
  for (const kind of servedKinds) {
    schemas[kind] = schemaOf(resourceSchema(kind), 'output');
    schemas[`${kind}List`] = listSchema(kind);
  }
  return schemas;
}

function listSchema(kind: Kind): Json {
  return {
    type: 'object',
    required: ['apiVersion', 'kind', 'metadata', 'items'],
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string', enum: [`${kind}List`] },
      metadata: { type: 'object', properties: { resourceVersion: { type: 'string' }, continue: { type: 'string' } } },
      items: { type: 'array', items: reference(kind) },
    },
  };
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, '~standard': __, ...rest } = z.toJSONSchema(schema, { target: 'openapi-3.0', io }) as Json;
  return rest;
}

function reference(name: string): Json {
  return { $ref: `#/components/schemas/${name}` };
}

function json(schema: Json): Json {
  return { description: 'Done', content: { 'application/json': { schema } } };
}
