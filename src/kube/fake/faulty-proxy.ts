import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Access } from '../access.ts';
import { status } from './api-server.ts';

/** What goes wrong with a request before it reaches the server. */
export type RequestFault = 'reset' | 'stall' | 'tooMany' | 'unavailable' | 'internal' | 'garbage' | 'gone';
/** What goes wrong at one line of a watch. `lose` is the only one that nobody can notice. */
export type LineFault =
  | 'cut'
  | 'stall'
  | 'repeat'
  | 'repeatOlder'
  | 'swap'
  | 'truncate'
  | 'garbage'
  | 'gone'
  | 'error'
  | 'slowBytes'
  | 'lose';

export interface Faults {
  request(): RequestFault | undefined;
  line(): LineFault | undefined;
}

/**
 * For tests: what may stand between us and an API server, with everything that can go wrong there. Plain HTTP for the
 * client; the server behind it may be a real one.
 */
export class FaultyProxy {
  readonly #behind: Access;
  readonly #agent: http.Agent;
  readonly #server: http.Server;
  readonly #stalled = new Set<http.ServerResponse>();
  /** No faults while it is absent. */
  faults: Faults | undefined;
  /** How often each fault was made. */
  readonly made = new Map<RequestFault | LineFault, number>();

  private constructor(behind: Access) {
    this.#behind = behind;
    const { ca, clientCertificate } = behind;
    const certificate = clientCertificate && { cert: clientCertificate.certificate, key: clientCertificate.key };
    const options = { keepAlive: true, ...(ca === undefined ? {} : { ca }), ...certificate };
    this.#agent = behind.server.protocol === 'https:' ? new https.Agent(options) : new http.Agent(options);
    this.#server = http.createServer((request, response) => this.#pass(request, response));
  }

  static async start(behind: Access): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(behind);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get access(): Access {
    const { port } = this.#server.address() as AddressInfo;
    return { server: new URL(`http://127.0.0.1:${port}`), namespace: 'default' };
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#agent.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Ends all that stalls, as a server that was killed would. */
  release(): void {
    for (const response of this.#stalled) response.destroy();
    this.#stalled.clear();
  }

  #pass(request: http.IncomingMessage, response: http.ServerResponse): void {
    const fault = this.faults?.request();
    if (fault) {
      this.#count(fault);
      return void this.#fail(fault, response);
    }
    const { server } = this.#behind;
    const send = server.protocol === 'https:' ? https.request : http.request;
    const { host: _, ...headers } = request.headers;
    const upstream = send(new URL(request.url ?? '', server), { method: request.method, headers, agent: this.#agent });
    upstream.on('error', () => response.destroy());
    upstream.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.on('error', () => response.destroy());
      if (!/[?&]watch=1/.test(request.url ?? '')) answer.pipe(response);
      else void this.#lines(answer, response).catch(() => response.destroy());
    });
    response.on('close', () => upstream.destroy());
    request.pipe(upstream);
  }

  #fail(fault: RequestFault, response: http.ServerResponse): void {
    switch (fault) {
      case 'reset':
        return void response.destroy();
      case 'stall':
        return void this.#stalled.add(response);
      case 'tooMany':
        return void status(response, 429, 'TooManyRequests', 'slow down', undefined, { 'retry-after': '0' });
      case 'unavailable':
        return void status(response, 503, 'ServiceUnavailable', 'starting');
      case 'internal':
        return void status(response, 500, 'InternalError', 'etcdserver: leader changed');
      case 'gone':
        return void status(response, 410, 'Expired', 'too old resource version');
      default:
        response.writeHead(200).end('<html>a balancer says hello</html>');
    }
  }

  async #lines(answer: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const sent: string[] = [];
    let held: string | undefined;
    let rest = '';
    response.flushHeaders();
    const write = (line: string) => {
      sent.push(line);
      response.write(`${line}\n`);
    };
    for await (const chunk of answer) {
      const lines = (rest + String(chunk)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (held !== undefined) {
          // Both in one piece: whoever gets the later one gets the earlier one after it.
          response.write(`${line}\n${held}\n`);
          held = undefined;
          continue;
        }
        const fault = this.faults?.line();
        if (fault) this.#count(fault);
        switch (fault) {
          case undefined:
            write(line);
            break;
          case 'cut':
            return void response.destroy();
          case 'stall':
            this.#stalled.add(response);
            await new Promise((resolve) => response.once('close', resolve));
            return;
          case 'repeat':
            write(line);
            write(line);
            break;
          case 'repeatOlder':
            write(line);
            response.write(`${sent[0]}\n`);
            break;
          case 'swap':
            held = line;
            break;
          case 'truncate':
            return void response.end(line.slice(0, line.length / 2));
          case 'garbage':
            return void response.end(`${line.slice(0, line.length / 2)}\n`);
          case 'gone':
            return void response.end(
              `${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })}\n`,
            );
          case 'error':
            return void response.end(
              `${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 500, reason: 'InternalError' } })}\n`,
            );
          case 'slowBytes':
            for (const part of [line.slice(0, 3), line.slice(3), '\n']) {
              response.write(part);
              await new Promise((resolve) => setTimeout(resolve, 2));
            }
            break;
          default:
        }
      }
    }
    response.end();
  }

  #count(fault: RequestFault | LineFault): void {
    this.made.set(fault, (this.made.get(fault) ?? 0) + 1);
  }
}
