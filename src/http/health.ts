import Fastify, { type FastifyInstance } from 'fastify';
import type { HttpDeps } from './deps.ts';
import { withoutSchemas } from './without-schemas.ts';

/**
 * A server for the orchestrator's probes and for Prometheus, which have no token: it tells whether the process is well,
 * and figures, and nothing else.
 */
export function createHealthServer({ notReady, metrics }: Pick<HttpDeps, 'notReady' | 'metrics'>): FastifyInstance {
  const server = Fastify({ logger: false, forceCloseConnections: true, schemaController: withoutSchemas });
  server.get('/healthz', async () => ({ status: 'ok' }));
  server.get('/readyz', async (_request, reply) => {
    const reasons = notReady();
    const ready = reasons.length === 0;
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ok' : 'not ready', reasons });
  });
  server.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.render()));
  return server;
}
