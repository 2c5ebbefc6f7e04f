/**
 * Every server's `schemaController`. Input is checked by zod, so fastify's own schema compilers are never needed; they
 * would cost 6 MiB of memory, and they are not in the bundle.
 */
export const withoutSchemas = { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } };

function noSchemas(): never {
  throw new Error('routes have no fastify schemas: parseInput() checks input');
}
