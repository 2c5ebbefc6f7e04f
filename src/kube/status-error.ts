import { AzekuraError, type ErrorCode } from '../model/errors.ts';

/** meta/v1 Status, as far as it is read. */
interface Status {
  readonly kind?: string;
  readonly message?: string;
  readonly reason?: string;
  readonly details?: {
    readonly name?: string;
    readonly retryAfterSeconds?: number;
    readonly causes?: readonly { readonly message?: string; readonly field?: string }[];
  };
}

const codes: Readonly<Record<number, ErrorCode>> = {
  400: 'InvalidArgument',
  401: 'Unauthenticated',
  403: 'PermissionDenied',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Expired',
  413: 'InvalidArgument',
  422: 'InvalidArgument',
  429: 'Unavailable',
  504: 'DeadlineExceeded',
};

const nexts: Partial<Record<ErrorCode, string>> = {
  Conflict: 'read it again and repeat the change',
  Expired: 'list again, and watch from the version of that list',
  PermissionDenied: 'compare the roles of this service account with those of the chart',
  Unauthenticated: 'renew the credentials of the kubeconfig or the service account',
};

/**
 * What an API server's refusal means to us. details.retryAfterMs is set when the server asked for a pause; then it has
 * not processed the request.
 *
 * @param subject of the call, such as `Volume "db"`
 * @param body the answer's text: a Status, or anything that stands between us and the server
 * @param retryAfter the header of that name, in seconds
 */
export function statusError(httpStatus: number, body: string, subject: string, retryAfter?: string): AzekuraError {
  const status = parseStatus(body);
  const said = status.message ?? `HTTP ${httpStatus}`;
  if (httpStatus === 404 && !(status.kind === 'Status' && status.details?.name)) {
    return new AzekuraError('FailedPrecondition', `the API server does not serve ${subject}`, {
      next: 'apply the CustomResourceDefinitions that belong to this version',
    });
  }
  const code =
    httpStatus === 409 && status.reason === 'AlreadyExists' ? 'AlreadyExists' : (codes[httpStatus] ?? 'Unavailable');
  const retryAfterMs = pauseMs(retryAfter ?? status.details?.retryAfterSeconds);
  const details = {
    httpStatus,
    ...(status.reason === undefined ? {} : { reason: status.reason }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(code === 'InvalidArgument' ? { fields: fieldsOf(status) } : {}),
  };
  const next = nexts[code];
  return new AzekuraError(code, sentence(code, subject, said, status), { details, ...(next ? { next } : {}) });
}

function sentence(code: ErrorCode, subject: string, said: string, status: Status): string {
  switch (code) {
    case 'NotFound':
      return `there is no ${subject}`;
    case 'AlreadyExists':
      return `${subject} is there already`;
    case 'Conflict':
      return `${subject} was changed since it was read`;
    case 'Expired':
      return `the history of ${subject} at that version is no longer known`;
    case 'InvalidArgument': {
      const fields = fieldsOf(status);
      if (fields.length === 0) return `the API server refused ${subject}: ${oneLine(said)}`;
      return `${subject} is not valid: ${fields.map(({ path, problem }) => `${path} ${problem}`).join('; ')}`;
    }
    case 'Unavailable':
      return `the API server cannot answer about ${subject}: ${oneLine(said)}`;
    default:
      return `the API server refused ${subject}: ${oneLine(said)}`;
  }
}

function fieldsOf({ details }: Status): readonly { readonly path: string; readonly problem: string }[] {
  return (details?.causes ?? [])
    .filter(({ field }) => field !== undefined && field !== '')
    .slice(0, 5)
    .map(({ field = '', message = 'is not allowed' }) => ({ path: field, problem: oneLine(message) }));
}

function parseStatus(body: string): Status {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === 'object' && parsed !== null ? (parsed as Status) : {};
  } catch {
    return {};
  }
}

/** Seconds as text or number; a date, which the header also allows, is taken for one second. */
function pauseMs(seconds: string | number | undefined): number | undefined {
  if (seconds === undefined) return undefined;
  const value = Number(seconds);
  return Number.isFinite(value) && value >= 0 ? Math.min(value, 60) * 1_000 : 1_000;
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').slice(0, 500);
}
