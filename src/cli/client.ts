import { readFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { join } from 'node:path';
import { AzekuraError } from '../model/errors.ts';
import { type Kind, kinds, type Resource } from '../model/kinds.ts';
import { apiVersion } from '../model/meta.ts';
import { errorFromBody } from './failure.ts';
import type { GlobalOptions } from './options.ts';
import { parseSse } from './sse.ts';

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface WatchEvent<K extends Kind> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'SYNCED' | 'BOOKMARK' | 'ERROR';
  readonly object?: Resource<K>;
}

/** The daemon's API, over the unix socket of a data folder or over TCP. */
export interface Client {
  /** A JSON request. @throws AzekuraError: the daemon's own, or Unavailable when there is none */
  call(
    method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
    path: string,
    options?: { readonly query?: Query; readonly body?: unknown },
  ): Promise<unknown>;
  /** The bytes of an answer that is no JSON. */
  download(path: string): Promise<Uint8Array>;
  get<K extends Kind>(kind: K, name: string): Promise<Resource<K>>;
  /** All objects, page by page. */
  list<K extends Kind>(kind: K, query?: Query): Promise<Resource<K>[]>;
  /** Present objects, then SYNCED, then changes, until the signal is aborted or the daemon ends. */
  watch<K extends Kind>(kind: K, query: Query, signal: AbortSignal): AsyncIterable<WatchEvent<K>>;
}

/** The path of a kind or of one object. */
export function objectPath(kind: Kind, name?: string, action?: string): string {
  return `/apis/${apiVersion}/${kinds[kind].plural}${name === undefined ? '' : `/${encodeURIComponent(name)}`}${action ? `/${action}` : ''}`;
}

/**
 * Makes a client; does not connect yet.
 *
 * @throws AzekuraError InvalidArgument for a bad URL or token file
 */
export async function createClient(options: GlobalOptions): Promise<Client> {
  const target =
    options.server === undefined
      ? socketTarget(options.dataDir)
      : await serverTarget(options.server, options.tokenFile);
  const send = (method: string, path: string, query: Query = {}, body?: unknown, signal?: AbortSignal) =>
    open(target, {
      method,
      path: `${path}${queryText(query)}`,
      body,
      timeoutMs: signal ? 0 : options.timeoutMs + 5_000,
      ...(signal ? { signal } : {}),
    });

  const client: Client = {
    async call(method, path, { query, body } = {}) {
      const response = await send(method, path, query, body);
      return JSON.parse((await readAll(response)).toString('utf8') || 'null') as unknown;
    },
    async download(path) {
      return readAll(await send('GET', path));
    },
    async get(kind, name) {
      return (await client.call('GET', objectPath(kind, name))) as Resource<typeof kind>;
    },
    async list(kind, query = {}) {
      const items: Resource<typeof kind>[] = [];
      let token: string | undefined;
      do {
        const page = (await client.call('GET', objectPath(kind), {
          query: { ...query, limit: 1_000, continue: token },
        })) as {
          items: Resource<typeof kind>[];
          metadata: { continue?: string };
        };
        items.push(...page.items);
        token = page.metadata.continue;
      } while (token !== undefined);
      return items;
    },
    async *watch(kind, query, signal) {
      const response = await send('GET', objectPath(kind), { ...query, watch: true }, undefined, signal);
      for await (const data of parseSse(response)) {
        const event = JSON.parse(data) as WatchEvent<typeof kind>;
        if (event.type === 'ERROR') throw errorFromBody(500, event.object);
        yield event;
      }
    },
  };
  return client;
}

interface Target {
  readonly connection: RequestOptions;
  readonly headers: Readonly<Record<string, string>>;
  readonly secure: boolean;
  /** For the message when nobody answers. */
  readonly name: string;
  readonly next: string;
}

function socketTarget(dataDir: string): Target {
  const socketPath = join(dataDir, 'azekura.sock');
  return {
    connection: { socketPath },
    headers: {},
    secure: false,
    name: `no Azekura daemon answers at ${socketPath}`,
    next: 'start it with `azekura up` (as root), or name its data folder with --data-dir or AZEKURA_DATA_DIR',
  };
}

async function serverTarget(server: string, tokenFile: string | undefined): Promise<Target> {
  const url = URL.parse(server);
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new AzekuraError('InvalidArgument', `--server "${server}" is not a URL`, {
      next: 'write for example http://10.0.0.5:7843',
    });
  }
  if (tokenFile === undefined)
    throw new AzekuraError('InvalidArgument', '--server needs --token-file', {
      next: 'name the file that holds the token',
    });
  const token = (
    await readFile(tokenFile, 'utf8').catch((error: NodeJS.ErrnoException) => fileProblem(tokenFile, error))
  ).trim();
  return {
    connection: {
      hostname: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port || (url.protocol === 'https:' ? 443 : 80),
    },
    headers: { authorization: `Bearer ${token}` },
    secure: url.protocol === 'https:',
    name: `no Azekura daemon answers at ${url.origin}`,
    next: 'check the address, and that the daemon runs with --listen',
  };
}

function fileProblem(path: string, error: NodeJS.ErrnoException): never {
  throw new AzekuraError('InvalidArgument', `the token file ${path} cannot be read: ${error.code ?? error.message}`);
}

function queryText(query: Query): string {
  const parts = Object.entries(query).flatMap(([key, value]) =>
    value === undefined ? [] : [[key, String(value)] as [string, string]],
  );
  return parts.length === 0 ? '' : `?${new URLSearchParams(parts).toString()}`;
}

interface Outgoing {
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Sends a request; resolves with an answer below 400, and throws any other as the error that it holds. */
async function open(target: Target, { method, path, body, timeoutMs, signal }: Outgoing): Promise<IncomingMessage> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const contentType = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
  const request = target.secure ? (await import('node:https')).request : httpRequest;
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = request(
      {
        ...target.connection,
        method,
        path,
        headers: {
          host: 'localhost',
          ...target.headers,
          ...(text === undefined ? {} : { 'content-type': contentType, 'content-length': Buffer.byteLength(text) }),
        },
        ...(signal ? { signal } : {}),
      },
      resolve,
    );
    outgoing.setTimeout(timeoutMs, () =>
      outgoing.destroy(new AzekuraError('DeadlineExceeded', 'the daemon did not answer in time')),
    );
    outgoing.once('error', (error: NodeJS.ErrnoException) =>
      reject(signal?.aborted ? error : connectionError(target, error)),
    );
    outgoing.end(text);
  });
  if ((response.statusCode ?? 500) < 400) return response;
  throw errorFromBody(response.statusCode ?? 500, parseJson(await readAll(response)));
}

function connectionError(target: Target, error: NodeJS.ErrnoException): AzekuraError {
  if (error instanceof AzekuraError) return error;
  if (error.code === 'EACCES' || error.code === 'EPERM') {
    return new AzekuraError('PermissionDenied', `you may not open the socket of the Azekura daemon`, {
      next: 'run the command as root, for example with sudo',
      cause: error,
    });
  }
  return new AzekuraError('Unavailable', `${target.name} (${error.code ?? error.message})`, {
    next: target.next,
    cause: error,
  });
}

async function readAll(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}
