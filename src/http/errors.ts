import { z } from 'zod';
import { Cause } from '../model/cause.ts';
import { type AzekuraError, errorCatalogue, AzekuraError as Failure, toAzekuraError } from '../model/errors.ts';
import { apiVersion } from '../model/meta.ts';

/** The body of every answer that is not an object: the shape of Kubernetes' Status, with our next step and cause. */
export const StatusBody = z.object({
  apiVersion: z.literal(apiVersion),
  kind: z.literal('Status'),
  status: z.enum(['Success', 'Failure']),
  code: z.int().describe('The HTTP status'),
  reason: z.string().optional().describe('A code of docs/errors.md'),
  message: z.string().describe('One sentence that says what is wrong'),
  next: z.string().optional().describe('The next step'),
  cause: Cause.optional(),
  details: z.record(z.string(), z.unknown()).optional(),
  requestId: z.string(),
});
export type StatusBody = z.infer<typeof StatusBody>;

/** The answer to a request that failed. Of an Internal error only its sentence leaves the process, never its stack. */
export function failureBody(thrown: unknown, requestId: string): StatusBody {
  const error = fromFastify(thrown) ?? toAzekuraError(thrown);
  return {
    apiVersion,
    kind: 'Status',
    status: 'Failure',
    code: errorCatalogue[error.code].http,
    reason: error.code,
    message: error.message,
    ...(error.next === undefined ? {} : { next: error.next }),
    ...(error.blame === undefined ? {} : { cause: error.blame }),
    ...(Object.keys(error.details).length === 0 ? {} : { details: error.details }),
    requestId,
  };
}

/** The answer to a request that succeeded and has no object to show. */
export function successBody(message: string, requestId: string): StatusBody {
  return { apiVersion, kind: 'Status', status: 'Success', code: 200, message, requestId };
}

/** Fastify's own refusals (malformed JSON, body too large, unknown media type) carry a 4xx statusCode. */
function fromFastify(thrown: unknown): AzekuraError | undefined {
  if (thrown instanceof Failure || !(thrown instanceof Error)) return undefined;
  const { statusCode, code } = thrown as { statusCode?: unknown; code?: unknown };
  if (typeof statusCode !== 'number' || statusCode < 400 || statusCode > 499 || typeof code !== 'string')
    return undefined;
  return new Failure('InvalidArgument', `the request cannot be read: ${thrown.message}`, {
    next: 'send a JSON object of at most 1 MiB with content-type application/json',
  });
}

/**
 * Checks input against a schema.
 *
 * @param what names the input in the error's sentence: "body", "query"
 * @throws AzekuraError InvalidArgument that names the first field that is wrong
 */
export function parseInput<T extends z.ZodType>(schema: T, input: unknown, what: string): z.output<T> {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = issue && issue.path.length > 0 ? `${issue.path.join('.')}: ` : '';
  throw new Failure('InvalidArgument', `${what} is not valid: ${field}${issue?.message ?? 'unknown problem'}`, {
    next: 'see /openapi.json for the fields that are possible',
    details: { problems: result.error.issues.slice(0, 10).map((each) => `${each.path.join('.')}: ${each.message}`) },
  });
}
