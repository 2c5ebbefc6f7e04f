import { createHash, timingSafeEqual } from 'node:crypto';
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import { shortId } from '../lib/id.ts';
import { AzekuraError } from '../model/errors.ts';
import { registerChanges } from './changes.ts';
import type { HttpDeps } from './deps.ts';
import { failureBody } from './errors.ts';
import { registerInfo } from './info.ts';
import { registerObjects } from './objects.ts';
import { withoutSchemas } from './without-schemas.ts';

const bodyLimitBytes = 2 ** 20;
/** Asked by machines every few seconds: in the log only when somebody looks for them. */
const probes = new Set(['/healthz', '/readyz', '/metrics']);

/** Makes a server that does not listen yet. */
export function createHttpServer(deps: HttpDeps): FastifyInstance {
  const server = Fastify({
    logger: false,
    bodyLimit: bodyLimitBytes,
    schemaController: withoutSchemas,
    forceCloseConnections: true,
    requestIdHeader: false,
    genReqId: (request) => requestId(request.headers['x-request-id']),
    routerOptions: { maxParamLength: 256, ignoreTrailingSlash: true },
  });
  server.addContentTypeParser(
    'application/merge-patch+json',
    { parseAs: 'string' },
    server.getDefaultJsonParser('error', 'error'),
  );
  const started = new WeakMap<FastifyRequest, number>();
  server.addHook('onRequest', async (request, reply) => {
    started.set(request, performance.now());
    reply.header('x-request-id', request.id);
    if (deps.token !== undefined) authenticate(request, deps.token);
  });
  server.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'unknown';
    const seconds = (performance.now() - (started.get(request) ?? performance.now())) / 1_000;
    deps.metrics.observeRequest(request.method, route, reply.statusCode, seconds);
    const fields = {
      requestId: request.id,
      method: request.method,
      path: pathOf(request),
      status: reply.statusCode,
      ms: Math.round(seconds * 1_000),
    };
    if (probes.has(route)) deps.log.debug(fields, 'probe');
    else deps.log.info(fields, 'call');
  });
  server.setErrorHandler(async (error, request, reply) => {
    const body = failureBody(error, request.id);
    if (body.reason === 'Internal')
      deps.log.error(
        { requestId: request.id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) },
        'internal error',
      );
    return reply.code(body.code).send(body);
  });
  server.setNotFoundHandler(async (request, reply) => {
    const error = new AzekuraError('NotFound', `there is nothing at ${request.method} ${pathOf(request)}`, {
      next: 'see /openapi.json for what there is',
    });
    return reply.code(404).send(failureBody(error, request.id));
  });
  registerObjects(server, deps);
  registerChanges(server, deps);
  registerInfo(server, deps);
  return server;
}

/** The caller's id when it is harmless, so that a request can be followed through several logs; else a new one. */
function requestId(sent: string | string[] | undefined): string {
  return typeof sent === 'string' && /^[\w.-]{1,64}$/.test(sent) ? sent : shortId();
}

/** Without the query, which may be long. */
function pathOf(request: FastifyRequest): string {
  return (request.url.split('?')[0] ?? '').slice(0, 256);
}

function authenticate(request: FastifyRequest, token: string): void {
  const sent = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
  // Digests have one length, so that the comparison tells nothing of the token's.
  const digest = (text: string) => createHash('sha256').update(text).digest();
  if (!timingSafeEqual(digest(sent), digest(token))) {
    throw new AzekuraError('Unauthenticated', 'the request carries no valid token', {
      next: 'give the token with --token-file',
    });
  }
}
