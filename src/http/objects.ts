import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { AzekuraError } from '../model/errors.ts';
import { type Kind, kindNames, kinds } from '../model/kinds.ts';
import { apiVersion } from '../model/meta.ts';
import type { HttpDeps } from './deps.ts';
import { parseInput } from './errors.ts';
import { matchesFields, parseSelector } from './selector.ts';
import { streamWatch } from './watch.ts';

/** Where the objects are, as in Kubernetes: /apis/<group>/<version>/<plural>[/<name>]. */
export const apiPrefix = `/apis/${apiVersion}`;

export const ListQuery = z
  .object({
    limit: z.coerce
      .number()
      .int()
      .min(1)
      .max(5_000)
      .optional()
      .describe('At most this many; the list then has metadata.continue'),
    continue: z.string().max(4_096).optional().describe('metadata.continue of the page before'),
    labelSelector: z.string().max(4_096).optional().describe('key=value,key=value'),
    fieldSelector: z.string().max(4_096).optional().describe('Dotted paths: metadata.name=db,spec.subject.kind=Volume'),
    watch: z.stringbool().optional().describe('Server-sent events of changes instead of a list'),
    resourceVersion: z.string().max(256).optional().describe('With watch: only changes after this version'),
  })
  .strict();

/** The kinds that the API shows. */
export const servedKinds: readonly Kind[] = kindNames.filter((kind) => kinds[kind].served);

/** Reading: lists, single objects and watches of every served kind. */
export function registerObjects(server: FastifyInstance, deps: HttpDeps): void {
  const { store } = deps;
  for (const kind of servedKinds) {
    const path = `${apiPrefix}/${kinds[kind].plural}`;
    server.get(path, async (request, reply) => {
      const query = parseInput(ListQuery, request.query, 'query');
      const labels = parseSelector(query.labelSelector, 'labelSelector');
      const fields = parseSelector(query.fieldSelector, 'fieldSelector');
      if (query.watch) {
        const from = query.resourceVersion ?? header(request.headers['last-event-id']);
        reply.hijack();
        await streamWatch(
          store,
          reply.raw,
          { kind, ...(from === undefined ? {} : { from }), labels, fields, requestId: request.id },
          deps.stop,
        );
        return reply;
      }
      const list = await store.list(kind, {
        labels,
        ...(query.limit === undefined ? {} : { limit: query.limit }),
        ...(query.continue === undefined ? {} : { continueToken: query.continue }),
      });
      return {
        apiVersion,
        kind: `${kind}List`,
        metadata: {
          resourceVersion: list.resourceVersion,
          ...(list.continueToken === undefined ? {} : { continue: list.continueToken }),
        },
        items: list.items.filter((object) => matchesFields(object, fields)),
      };
    });
    server.get<{ Params: { name: string } }>(`${path}/:name`, async (request) => {
      const object = await store.find(kind, request.params.name);
      if (object) return object;
      throw notFound(kind, request.params.name);
    });
  }
}

function notFound(kind: Kind, name: string): AzekuraError {
  const listed = `azekura ${kind === 'RecycledVolume' ? 'volume list --recycled' : `${kind.toLowerCase()} list`}`;
  return new AzekuraError('NotFound', `${kind} "${name.slice(0, 128)}" does not exist`, {
    next: `list what there is with \`${listed}\``,
  });
}

function header(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
