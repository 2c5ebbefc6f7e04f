/** A few plain requests to the API server, for the lab itself; tests use the clients that they test. */
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import type { Pki } from './pki.ts';

export class Api {
  readonly #url: string;
  readonly #pki: Pki;

  /** @param url as the host reaches it */
  constructor(url: string, pki: Pki) {
    this.#url = url;
    this.#pki = pki;
  }

  /** The answer's status and body. @throws Error when there is no answer within 5 s */
  get(path: string): Promise<{ readonly status: number; readonly body: string }> {
    const pem = (name: string): Buffer => readFileSync(this.#pki.file(name));
    return new Promise((resolve, reject) => {
      const options = { ca: pem('ca.crt'), cert: pem('admin.crt'), key: pem('admin.key'), timeout: 5_000 };
      const call = request(`${this.#url}${path}`, { ...options, agent: false }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('error', reject);
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
      });
      call.on('timeout', () => call.destroy(new Error('no answer within 5 s')));
      call.on('error', reject);
      call.end();
    });
  }

  async ready(): Promise<boolean> {
    return (await this.get('/readyz')).status === 200;
  }

  /** Whether a node is Ready, and was so after `since`: after a power cut the API says Ready from before. */
  async nodeReady(name: string, sinceMs: number): Promise<boolean> {
    const { status, body } = await this.get(`/api/v1/nodes/${name}`);
    if (status !== 200) return false;
    const node = JSON.parse(body) as {
      status: { conditions?: { type: string; status: string; lastHeartbeatTime: string }[] };
    };
    return (node.status.conditions ?? []).some(
      (condition) =>
        condition.type === 'Ready' && condition.status === 'True' && Date.parse(condition.lastHeartbeatTime) >= sinceMs,
    );
  }
}
