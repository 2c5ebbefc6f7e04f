import type { FastifyInstance } from 'fastify';
import { AzekuraError } from '../model/errors.ts';
import { foreignKindFromWord } from '../model/foreign.ts';
import { kindFromWord } from '../model/kinds.ts';
import type { HttpDeps } from './deps.ts';
import { openApiDocument } from './openapi.ts';

/** Everything that is about the instance and not about one object. */
export function registerInfo(server: FastifyInstance, deps: HttpDeps): void {
  server.get('/healthz', async () => ({ status: 'ok' }));
  server.get('/readyz', async (_request, reply) => {
    const reasons = deps.notReady();
    return reply
      .code(reasons.length === 0 ? 200 : 503)
      .send({ status: reasons.length === 0 ? 'ok' : 'not ready', reasons });
  });
  server.get('/version', async () => deps.version);
  server.get('/status', async () => deps.operations.status());
  server.get<{ Params: { kind: string; name: string } }>('/why/:kind/:name', async (request) => {
    const kind = kindFromWord(request.params.kind) ?? foreignKindFromWord(request.params.kind);
    if (!kind) {
      throw new AzekuraError('InvalidArgument', `"${request.params.kind.slice(0, 64)}" is not a kind of object`, {
        next: 'ask for example `azekura why volume/db`',
      });
    }
    return deps.operations.why(kind, request.params.name);
  });
  server.get('/metrics', async (_request, reply) =>
    reply.type(deps.metrics.contentType).send(await deps.metrics.render()),
  );
  server.get('/openapi.json', async () => openApiDocument(deps.version.version));
  server.get('/support-bundle', async (_request, reply) =>
    reply.type('application/gzip').send(Buffer.from(await deps.supportBundle())),
  );
}
