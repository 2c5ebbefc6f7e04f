import type { Cause } from '../model/cause.ts';
import { AzekuraError, type ErrorCode, errorCatalogue, toAzekuraError } from '../model/errors.ts';
import type { Terminal } from './terminal.ts';

/**
 * Prints an error: `Error: sentence.` and `Next: …` on standard error. With `-o json` or `-o yaml` standard output gets
 * it as an object of kind Status too, so that a program that reads the output finds an object in either case.
 *
 * @returns the exit code of docs/errors.md
 */
export async function printFailure(thrown: unknown, terminal: Terminal, format: string | undefined): Promise<number> {
  const error = toAzekuraError(thrown);
  terminal.err(`Error: ${sentence(error.message)}\n${error.next ? `Next: ${sentence(error.next)}\n` : ''}`);
  if (format === 'json' || format === 'yaml') {
    // Loaded late: the schemas of the model would double the time that `azekura --version` takes.
    const { apiVersion } = await import('../model/meta.ts');
    const object = { apiVersion, ...failureFields(error) };
    terminal.out(format === 'json' ? `${JSON.stringify(object, null, 2)}\n` : yamlOfFlat(object));
  }
  return errorCatalogue[error.code].exit;
}

function failureFields(error: AzekuraError) {
  return {
    kind: 'Status',
    status: 'Failure',
    code: errorCatalogue[error.code].http,
    reason: error.code,
    exitCode: errorCatalogue[error.code].exit,
    message: error.message,
    ...(error.next ? { next: error.next } : {}),
    ...(error.blame ? { cause: error.blame } : {}),
    ...(Object.keys(error.details).length > 0 ? { details: error.details } : {}),
  };
}

/** JSON scalars and flow collections are YAML; this avoids loading a YAML writer for an error. */
function yamlOfFlat(object: Readonly<Record<string, unknown>>): string {
  return Object.entries(object)
    .map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`)
    .join('');
}

/** One line that ends with exactly one full stop. */
function sentence(text: string): string {
  const line = text.replaceAll(/\s*\n\s*/g, ' ').trim();
  return /[.!?:)]$/.test(line) ? line : `${line}.`;
}

interface FailureBody {
  readonly reason?: unknown;
  readonly message?: unknown;
  readonly next?: unknown;
  readonly cause?: unknown;
  readonly details?: unknown;
  readonly requestId?: unknown;
}

/** The daemon's answer as the error that it was there. */
export function errorFromBody(status: number, body: unknown): AzekuraError {
  const { reason, message, next, cause, details, requestId } = (
    typeof body === 'object' && body !== null ? body : {}
  ) as FailureBody;
  const code: ErrorCode =
    typeof reason === 'string' && Object.hasOwn(errorCatalogue, reason) ? (reason as ErrorCode) : 'Internal';
  return new AzekuraError(
    code,
    typeof message === 'string' ? message : `the daemon answered with HTTP status ${status}`,
    {
      ...(typeof next === 'string' ? { next } : {}),
      ...(cause ? { blame: cause as Cause } : {}),
      details: {
        ...(typeof details === 'object' ? details : {}),
        ...(typeof requestId === 'string' ? { requestId } : {}),
      },
    },
  );
}
