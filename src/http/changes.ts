import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { AzekuraError } from '../model/errors.ts';
import { kinds } from '../model/kinds.ts';
import { apiVersion } from '../model/meta.ts';
import { actions } from './actions.ts';
import type { HttpDeps } from './deps.ts';
import { parseInput, successBody } from './errors.ts';
import { apiPrefix } from './objects.ts';
import { objectVerbs, type Verb } from './verbs.ts';

export const allVerbs: readonly Verb[] = [...objectVerbs, ...actions];

/** The path of a verb; `{name}` in OpenAPI's notation, `:name` in the router's. */
export function verbPath(verb: Verb, parameter: string): string {
  const base = `${apiPrefix}/${kinds[verb.kind].plural}`;
  if (verb.method === 'POST' && !verb.action) return base;
  return `${base}/${parameter}${verb.action ? `/${verb.action}` : ''}`;
}

/** Switches that the query string of a verb may hold. Others are refused: a misspelt dryRun must not become a real run. */
export function verbQuery(verb: Verb) {
  const names = [...(verb.dryRun ? ['dryRun'] : []), ...(verb.flags ?? [])];
  return z.object(Object.fromEntries(names.map((name) => [name, z.stringbool().optional()]))).strict();
}

/** Changing: each verb of the tables becomes one route. */
export function registerChanges(server: FastifyInstance, deps: HttpDeps): void {
  for (const verb of allVerbs) {
    server.route<{ Params: { name?: string } }>({
      method: verb.method,
      url: verbPath(verb, ':name'),
      handler: async (request, reply) => {
        if (!verb.dryRun && asksForDryRun(request.query)) {
          throw new AzekuraError('Unimplemented', `${verb.action ?? verb.method} of a ${verb.kind} has no dry run`, {
            next: 'leave out --dry-run; nothing was changed',
          });
        }
        const switches: Readonly<Record<string, boolean | undefined>> = parseInput(
          verbQuery(verb),
          request.query,
          'query',
        );
        const dryRun = switches.dryRun === true;
        const body = verb.body ? parseInput(verb.body, request.body ?? {}, 'body') : undefined;
        const [reason] = deps.notReady();
        if (reason)
          throw new AzekuraError('Unavailable', `${reason} and takes no work now`, { next: 'try again when it is up' });
        const answer = await verb.run(deps.operations.as({ requestId: request.id }), {
          name: request.params.name ?? '',
          body,
          dryRun,
          flags: new Set(Object.keys(switches).filter((name) => switches[name] === true)),
        });
        if (dryRun)
          return { apiVersion, kind: 'DryRun', ...(answer.object ? { object: answer.object } : {}), ...answer.plan };
        if (verb.method === 'POST') reply.code(verb.action ? 202 : 201);
        return answer.object ?? successBody(verb.summary, request.id);
      },
    });
  }
}

function asksForDryRun(query: unknown): boolean {
  return typeof query === 'object' && query !== null && 'dryRun' in query;
}
