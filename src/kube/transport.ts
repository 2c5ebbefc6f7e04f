import http from 'node:http';
import https from 'node:https';
import { AzekuraError, toAzekuraError } from '../model/errors.ts';
import type { Access } from './access.ts';

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With its query, from /api or /apis on. */
  readonly path: string;
  readonly body?: unknown;
  /** application/json unless told. */
  readonly contentType?: string;
  /** For all of it, the body of the answer included. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly body: string;
}

/** HTTP with one API server. */
export interface Transport {
  /** @throws AzekuraError Unavailable, DeadlineExceeded, Unauthenticated; the signal's reason when it is aborted */
  call(call: Call): Promise<Answer>;
  /**
   * Begins an answer that goes on: the lines of a watch. deadlineMs is for its beginning.
   *
   * @param idleMs silence of the server after which it is taken for dead
   * @throws AzekuraError Unavailable when the connection breaks or falls silent
   */
  open(call: Call, idleMs: number): Promise<Answer | { readonly status: 200; readonly lines: AsyncIterable<string> }>;
  close(): void;
}

/** A little less than what servers and balancers allow an idle connection, so that we do not write into a closed one. */
const idleSocketMs = 30_000;
const longestLine = 16 * 1024 * 1024;

/**
 * HTTP/1.1 over node:https. Calls share kept-alive connections, each watch has its own. HTTP/2 would save connections,
 * but Node's client has leaked memory in long-lived watches of others (Pepr's ADR on its watch).
 */
export function createTransport(access: Access): Transport {
  return new NodeTransport(access);
}

class NodeTransport implements Transport {
  readonly #access: Access;
  readonly #request: typeof https.request;
  readonly #agent: http.Agent;
  readonly #watchAgent: http.Agent;

  constructor(access: Access) {
    this.#access = access;
    const tls = access.server.protocol === 'https:';
    const { clientCertificate, ca, tlsServerName } = access;
    const options: https.AgentOptions = {
      keepAlive: true,
      keepAliveMsecs: 15_000,
      ...(ca === undefined ? {} : { ca }),
      ...(clientCertificate ? { cert: clientCertificate.certificate, key: clientCertificate.key } : {}),
      ...(tlsServerName === undefined ? {} : { servername: tlsServerName }),
      ...(access.insecureSkipTlsVerify ? { rejectUnauthorized: false } : {}),
    };
    const Agent = tls ? https.Agent : http.Agent;
    this.#agent = new Agent({ ...options, maxSockets: 32, maxFreeSockets: 8, timeout: idleSocketMs });
    this.#watchAgent = new Agent({ ...options, keepAlive: false });
    this.#request = tls ? https.request : (http.request as typeof https.request);
  }

  async call(call: Call): Promise<Answer> {
    const first = await this.#attempt(call, false);
    return first.status === 401 && this.#access.token ? this.#attempt(call, true) : first;
  }

  async open(call: Call, idleMs: number): ReturnType<Transport['open']> {
    const response = await this.#send(call, this.#watchAgent, false, () => {});
    if (response.statusCode === 200) return { status: 200, lines: readLines(response, idleMs) };
    const timer = setTimeout(() => response.destroy(deadlineError(call)), call.deadlineMs);
    try {
      const answer = await readAnswer(response, call);
      if (answer.status === 401) await this.#access.token?.get(true);
      return answer;
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#agent.destroy();
    this.#watchAgent.destroy();
  }

  async #attempt(call: Call, refused: boolean): Promise<Answer> {
    let abort: (error: Error) => void = () => {};
    const timer = setTimeout(() => abort(deadlineError(call)), call.deadlineMs);
    try {
      const response = await this.#send(call, this.#agent, refused, (destroy) => {
        abort = destroy;
      });
      abort = (error) => response.destroy(error);
      return await readAnswer(response, call);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Resolves with the head of the answer. */
  async #send(
    call: Call,
    agent: http.Agent,
    refused: boolean,
    onStarted: (destroy: (error: Error) => void) => void,
  ): Promise<http.IncomingMessage> {
    const token = await this.#access.token?.get(refused);
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    call.signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      const request = this.#request(new URL(call.path, this.#base), {
        method: call.method,
        agent,
        headers: {
          accept: 'application/json',
          'user-agent': 'azekura',
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(body === undefined
            ? {}
            : { 'content-type': call.contentType ?? 'application/json', 'content-length': Buffer.byteLength(body) }),
        },
        ...(call.signal ? { signal: call.signal } : {}),
      });
      const timer = setTimeout(() => request.destroy(deadlineError(call)), call.deadlineMs);
      onStarted((error) => request.destroy(error));
      request.on('error', (error) => {
        clearTimeout(timer);
        reject(call.signal?.aborted ? call.signal.reason : connectionError(error, call));
      });
      request.on('response', (response) => {
        clearTimeout(timer);
        resolve(response);
      });
      request.end(body);
    });
  }

  /** The server's URL with a slash at its end, so that paths without one at their beginning are below it. */
  get #base(): string {
    const { href } = this.#access.server;
    return href.endsWith('/') ? href : `${href}/`;
  }
}

async function readAnswer(response: http.IncomingMessage, call: Call): Promise<Answer> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of response) chunks.push(chunk as Buffer);
  } catch (error) {
    if (call.signal?.aborted) throw call.signal.reason;
    throw connectionError(error, call);
  }
  return {
    status: response.statusCode ?? 0,
    retryAfter: response.headers['retry-after'],
    body: Buffer.concat(chunks).toString('utf8'),
  };
}

/** A line that the end of the answer cuts off is not delivered. */
async function* readLines(response: http.IncomingMessage, idleMs: number): AsyncGenerator<string, void, void> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  const chunks = response[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  try {
    for (;;) {
      // Only our waiting counts: a consumer that takes its time is no reason to hang up.
      const silence = new AzekuraError('Unavailable', `the API server was silent for ${idleMs} ms in a watch`);
      const timer = setTimeout(() => response.destroy(silence), idleMs);
      const { value: chunk, done } = await chunks.next().finally(() => clearTimeout(timer));
      if (done) return;
      let start = 0;
      for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
        const line = Buffer.concat([...rest, chunk.subarray(start, end)]).toString('utf8');
        rest = [];
        restBytes = 0;
        start = end + 1;
        if (line.length > 0) yield line;
      }
      if (start === chunk.length) continue;
      rest.push(chunk.subarray(start));
      restBytes += chunk.length - start;
      if (restBytes > longestLine)
        throw new AzekuraError('Unavailable', `the API server sent a line of more than ${longestLine} bytes`);
    }
  } catch (error) {
    throw error instanceof AzekuraError ? error : new AzekuraError('Unavailable', 'a watch broke', { cause: error });
  } finally {
    response.destroy();
  }
}

function deadlineError({ method, path, deadlineMs }: Call): AzekuraError {
  return new AzekuraError(
    'DeadlineExceeded',
    `the API server did not answer ${method} ${bare(path)} within ${deadlineMs} ms`,
  );
}

function connectionError(error: unknown, { method, path }: Call): AzekuraError {
  if (error instanceof AzekuraError) return error;
  const { message } = toAzekuraError(error);
  return new AzekuraError(
    'Unavailable',
    `the connection to the API server failed in ${method} ${bare(path)}: ${message}`,
    {
      next: 'wait until the API server is back',
      cause: error,
    },
  );
}

function bare(path: string): string {
  return path.split('?')[0] ?? path;
}
