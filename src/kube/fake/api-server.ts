import { randomUUID } from 'node:crypto';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Access } from '../access.ts';
import type { KubeObject } from '../client.ts';

interface Change {
  readonly revision: number;
  readonly collection: string;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: KubeObject;
}

/**
 * For unit tests: the part of an API server that clients of src/kube can tell apart, over real HTTP. Objects of any kind,
 * versions, pages of one instant, watches with bookmarks, and a history that can be forgotten. No schemas, no rights.
 */
export class FakeApiServer {
  readonly #objects = new Map<string, KubeObject>();
  readonly #changes: Change[] = [];
  readonly #pages = new Map<string, { readonly items: KubeObject[]; readonly revision: number }>();
  readonly #watchers = new Set<() => void>();
  readonly #server: http.Server;
  /** Answers every request with this instead, while it is set. */
  answerWith: ((request: http.IncomingMessage, response: http.ServerResponse) => boolean) | undefined;
  /** Of all requests, in their order: "GET /apis/…". */
  readonly requests: string[] = [];
  #revision = 1;
  #floor = 0;

  private constructor() {
    this.#server = http.createServer((request, response) => {
      this.requests.push(`${request.method} ${request.url}`);
      if (this.answerWith?.(request, response)) return;
      this.#answer(request, response).catch((error: unknown) => status(response, 500, 'InternalError', String(error)));
    });
  }

  static async start(): Promise<FakeApiServer> {
    const fake = new FakeApiServer();
    await new Promise<void>((resolve) => fake.#server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  get access(): Access {
    const { port } = this.#server.address() as AddressInfo;
    return { server: new URL(`http://127.0.0.1:${port}`), namespace: 'default' };
  }

  /** Forgets all changes so far: watches and pages from before are Expired. */
  compact(): void {
    this.#floor = this.#revision;
    this.#pages.clear();
    this.#changes.length = 0;
  }

  /** The stored objects of a collection such as "apis/azekura.dev/v1/volumes", by name. */
  stored(collection: string): Map<string, string> {
    const found = new Map<string, string>();
    for (const [key, { metadata }] of this.#objects)
      if (key.startsWith(`${collection}/`)) found.set(metadata.name, metadata.resourceVersion ?? '');
    return found;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', 'http://fake');
    const parts = url.pathname.slice(1).split('/');
    const base = parts[0] === 'api' ? 2 : 3;
    const size = parts[base] === 'namespaces' ? base + 3 : base + 1;
    const collection = parts.slice(0, size).join('/');
    const name = parts[size];
    const body = await read(request);
    if (name === undefined) {
      if (request.method === 'POST') return void this.#create(response, collection, body as KubeObject);
      if (url.searchParams.get('watch')) return void this.#watch(response, collection, url.searchParams);
      return void this.#list(response, collection, url.searchParams);
    }
    const key = `${collection}/${name}`;
    const present = this.#objects.get(key);
    if (!present) return void status(response, 404, 'NotFound', `${name} not found`, name);
    const { resourceVersion } = (body as KubeObject | undefined)?.metadata ?? {};
    if (
      (request.method === 'PUT' || request.method === 'PATCH') &&
      resourceVersion !== undefined &&
      resourceVersion !== present.metadata.resourceVersion
    )
      return void status(response, 409, 'Conflict', 'the object has been modified', name);
    switch (request.method) {
      case 'GET':
        return void json(response, 200, present);
      case 'PUT':
        return void json(response, 200, this.#store('MODIFIED', collection, { ...present, ...(body as KubeObject) }));
      case 'PATCH':
        return void json(response, 200, this.#store('MODIFIED', collection, mergePatch(present, body) as KubeObject));
      default:
        this.#store('DELETED', collection, present);
        return void json(response, 200, { kind: 'Status', status: 'Success' });
    }
  }

  #create(response: http.ServerResponse, collection: string, object: KubeObject): void {
    if (this.#objects.has(`${collection}/${object.metadata.name}`))
      return void status(response, 409, 'AlreadyExists', 'already exists', object.metadata.name);
    const metadata = { ...object.metadata, uid: randomUUID() };
    json(response, 201, this.#store('ADDED', collection, { ...object, metadata }));
  }

  #store(type: Change['type'], collection: string, object: KubeObject): KubeObject {
    const { uid } = this.#objects.get(`${collection}/${object.metadata.name}`)?.metadata ?? object.metadata;
    const metadata = { ...object.metadata, ...(uid ? { uid } : {}), resourceVersion: String(++this.#revision) };
    const stored = { ...object, metadata };
    if (type === 'DELETED') this.#objects.delete(`${collection}/${metadata.name}`);
    else this.#objects.set(`${collection}/${metadata.name}`, stored);
    this.#changes.push({ revision: this.#revision, collection, type, object: stored });
    for (const wake of [...this.#watchers]) wake();
    return stored;
  }

  #list(response: http.ServerResponse, collection: string, query: URLSearchParams): void {
    const token = query.get('continue');
    const [id = '', from = '0'] = token?.split('.') ?? [];
    let page = this.#pages.get(id);
    if (token !== null && !page) return void status(response, 410, 'Expired', 'the continue token is too old');
    if (!page) {
      const items = [...this.#objects].filter(([key]) => isIn(`${collection}/`, key)).map(([, object]) => object);
      page = { items: items.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1)), revision: this.#revision };
    }
    const limit = Number(query.get('limit') ?? page.items.length);
    const end = Number(from) + limit;
    const newId = id || randomUUID();
    const more = end < page.items.length ? { continue: `${newId}.${end}` } : {};
    this.#pages.set(newId, page);
    const metadata = { resourceVersion: String(page.revision), ...more };
    json(response, 200, { metadata, items: page.items.slice(Number(from), end) });
  }

  #watch(response: http.ServerResponse, collection: string, query: URLSearchParams): void {
    let cursor = Number(query.get('resourceVersion'));
    response.writeHead(200, { 'content-type': 'application/json' });
    const send = (type: string, object: object) => response.write(`${JSON.stringify({ type, object })}\n`);
    const bookmark = () => send('BOOKMARK', { kind: 'X', metadata: { resourceVersion: String(cursor) } });
    const wake = () => {
      if (cursor < this.#floor) {
        send('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' });
        return end();
      }
      for (const change of this.#changes) {
        if (change.revision <= cursor) continue;
        if (isIn(collection, change.collection)) send(change.type, change.object);
        cursor = change.revision;
      }
    };
    const bookmarks = setInterval(bookmark, 50);
    const timer = setTimeout(() => end(), Number(query.get('timeoutSeconds')) * 1_000);
    const end = () => {
      clearInterval(bookmarks);
      clearTimeout(timer);
      this.#watchers.delete(wake);
      response.end();
    };
    response.on('close', end);
    this.#watchers.add(wake);
    wake();
  }
}

/** Whether something lies in a collection, which may be that of all namespaces. */
/** RFC 7386; of an apply the same is made here. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (patch === null || typeof patch !== 'object' || Array.isArray(patch)) return patch;
  const merged: Record<string, unknown> = { ...(typeof target === 'object' ? target : {}) };
  for (const [key, value] of Object.entries(patch))
    if (value === null) delete merged[key];
    else merged[key] = mergePatch(merged[key], value);
  return merged;
}

function isIn(collection: string, path: string): boolean {
  return path.startsWith(collection) || path.replace(/\/namespaces\/[^/]+/, '').startsWith(collection);
}

async function read(request: http.IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return chunks.length === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString());
}

function json(response: http.ServerResponse, code: number, body: object): void {
  response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** Answers with a meta/v1 Status. */
export function status(
  response: http.ServerResponse,
  code: number,
  reason: string,
  message: string,
  name?: string,
  headers: Record<string, string> = {},
): void {
  const details = name === undefined ? {} : { details: { name } };
  response
    .writeHead(code, { 'content-type': 'application/json', ...headers })
    .end(JSON.stringify({ kind: 'Status', status: 'Failure', code, reason, message, ...details }));
}
