import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AzekuraError } from '../model/errors.ts';
import { KubeClient, type KubeObject, type ResourceType } from './client.ts';
import { findAccess } from './connect.ts';
import { FakeApiServer, status } from './fake/api-server.ts';
import { statusError } from './status-error.ts';
import { tokenFile } from './token.ts';

const type: ResourceType = { group: 'test.dev', version: 'v1', plural: 'things', kind: 'Thing', namespaced: true };
const thing = (name: string): KubeObject => ({ metadata: { name, namespace: 'ns' } });

let server: FakeApiServer;
let client: KubeClient;
let folder: string;
beforeEach(async () => {
  server = await FakeApiServer.start();
  client = new KubeClient({ access: server.access, fieldManager: 'test' });
  folder = mkdtempSync(join(tmpdir(), 'azekura-kube-'));
});
afterEach(async () => {
  client.close();
  await server.close();
  rmSync(folder, { recursive: true });
});

async function refusal(promise: Promise<unknown>): Promise<AzekuraError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof AzekuraError) return error;
  throw new Error('expected an AzekuraError', { cause: error });
}

describe('the client', () => {
  it('makes, reads, replaces and deletes, and says who writes', async () => {
    const made = await client.create(type, thing('a'));
    expect(await client.get(type, 'a', { namespace: 'ns' })).toEqual(made);
    const newer = await client.replace(type, { ...made, metadata: { ...made.metadata } });
    expect((await refusal(client.replace(type, made))).code).toBe('Conflict');
    expect((await refusal(client.create(type, thing('a')))).code).toBe('AlreadyExists');
    expect((await client.list(type, { namespace: 'ns' })).items).toEqual([newer]);
    await client.delete(type, { name: 'a', namespace: 'ns' });
    expect(await client.find(type, 'a', { namespace: 'ns' })).toBeUndefined();
    expect((await refusal(client.get(type, 'a', { namespace: 'ns' }))).code).toBe('NotFound');
    expect(server.requests[0]).toBe('POST /apis/test.dev/v1/namespaces/ns/things?fieldManager=test');
  });

  it('repeats a read that was refused for the moment, but not a write', async () => {
    await client.create(type, thing('a'));
    let failures = 2;
    server.answerWith = (_, response) => {
      if (failures-- <= 0) return false;
      status(response, 503, 'ServiceUnavailable', 'starting');
      return true;
    };
    expect(await client.find(type, 'a', { namespace: 'ns' })).toBeDefined();
    failures = 1;
    expect((await refusal(client.create(type, thing('b')))).code).toBe('Unavailable');
    failures = 100;
    expect((await refusal(client.get(type, 'a', { namespace: 'ns' }))).code).toBe('Unavailable');
    expect(failures).toBe(97);
  });

  it('waits as long as the server asks it to, for writes too, and gives up at the deadline', async () => {
    let refused = 1;
    server.answerWith = (_, response) => {
      if (refused-- <= 0) return false;
      status(response, 429, 'TooManyRequests', 'slow down', undefined, { 'retry-after': '0' });
      return true;
    };
    await client.create(type, thing('a'));
    server.answerWith = (_, response) => {
      status(response, 429, 'TooManyRequests', 'slow down', undefined, { 'retry-after': '60' });
      return true;
    };
    const error = await refusal(client.get(type, 'a', { namespace: 'ns', deadlineMs: 500 }));
    expect(error).toMatchObject({ code: 'Unavailable', details: { retryAfterMs: 60_000 } });
  });

  it('does not wait for ever: not for the head, not for the body', async () => {
    server.answerWith = () => true;
    expect((await refusal(client.get(type, 'a', { deadlineMs: 100 }))).code).toBe('DeadlineExceeded');
    server.answerWith = (_, response) => {
      response.writeHead(200);
      response.write('{"metadata":');
      return true;
    };
    expect((await refusal(client.get(type, 'a', { deadlineMs: 100 }))).code).toBe('DeadlineExceeded');
  });

  it('takes what is no JSON, and no connection, for Unavailable', async () => {
    server.answerWith = (_, response) => {
      response.writeHead(200).end('<html>');
      return true;
    };
    expect((await refusal(client.create(type, thing('a')))).code).toBe('Unavailable');
    server.answerWith = (request) => {
      request.socket.destroy();
      return true;
    };
    expect((await refusal(client.create(type, thing('a')))).code).toBe('Unavailable');
  });

  it('ends a call whose signal is aborted', async () => {
    server.answerWith = () => true;
    const abort = new AbortController();
    const call = client.get(type, 'a', { signal: abort.signal });
    setTimeout(() => abort.abort(new Error('enough')), 20);
    await expect(call).rejects.toThrow('enough');
  });

  it('reads a renewed token file, at once when the server refuses the old one', async () => {
    const path = join(folder, 'token');
    writeFileSync(path, 'one\n');
    const token = tokenFile(path);
    const bearer: (string | undefined)[] = [];
    let good = 'one';
    server.answerWith = (request, response) => {
      bearer.push(request.headers.authorization);
      if (request.headers.authorization === `Bearer ${good}`) return false;
      status(response, 401, 'Unauthorized', 'token expired');
      return true;
    };
    const careful = new KubeClient({ access: { ...server.access, token }, fieldManager: 'test' });
    await careful.create(type, thing('a'));
    writeFileSync(path, 'two');
    await careful.find(type, 'a', { namespace: 'ns' });
    good = 'two';
    await careful.find(type, 'a', { namespace: 'ns' });
    expect(bearer).toEqual(['Bearer one', 'Bearer one', 'Bearer one', 'Bearer two']);
    good = 'three';
    expect((await refusal(careful.get(type, 'a'))).code).toBe('Unauthenticated');
    careful.close();
  });

  it('rereads a token file after a minute, and bears with one that is missing for a moment', async () => {
    let nowMs = 0;
    const path = join(folder, 'token');
    writeFileSync(path, 'one');
    const token = tokenFile(path, () => nowMs);
    expect(await token.get(false)).toBe('one');
    writeFileSync(path, 'two');
    nowMs = 59_000;
    expect(await token.get(false)).toBe('one');
    nowMs = 61_000;
    expect(await token.get(false)).toBe('two');
    rmSync(path);
    nowMs = 200_000;
    expect(await token.get(false)).toBe('two');
    expect((await refusal(token.get(true))).code).toBe('Unauthenticated');
  });
});

describe('refusals', () => {
  it.each([
    [400, {}, 'InvalidArgument'],
    [401, {}, 'Unauthenticated'],
    [403, {}, 'PermissionDenied'],
    [404, { kind: 'Status', details: { name: 'a' } }, 'NotFound'],
    [404, '404 page not found', 'FailedPrecondition'],
    [409, { reason: 'Conflict' }, 'Conflict'],
    [409, { reason: 'AlreadyExists' }, 'AlreadyExists'],
    [410, {}, 'Expired'],
    [422, {}, 'InvalidArgument'],
    [429, {}, 'Unavailable'],
    [500, {}, 'Unavailable'],
    [502, '<html>', 'Unavailable'],
    [504, {}, 'DeadlineExceeded'],
  ] as const)('%i %j is %s', (code, body, expected) => {
    const error = statusError(code, typeof body === 'string' ? body : JSON.stringify(body), 'Volume "db"');
    expect(error.code).toBe(expected);
    expect(error.message).toContain('Volume "db"');
    expect(error.message).not.toContain('\n');
  });

  it('name the fields', () => {
    const details = { causes: [{ field: 'spec.sizeBytes', message: 'a volume cannot\nshrink' }] };
    const error = statusError(422, JSON.stringify({ kind: 'Status', details }), 'Volume "db"');
    expect(error.message).toBe('Volume "db" is not valid: spec.sizeBytes a volume cannot shrink');
    expect(error.details.fields).toEqual([{ path: 'spec.sizeBytes', problem: 'a volume cannot shrink' }]);
  });
});

describe('kubeconfigs', () => {
  const write = (name: string, text: object) => {
    const path = join(folder, name);
    writeFileSync(path, JSON.stringify(text));
    return path;
  };
  const base = {
    'current-context': 'c',
    contexts: [{ name: 'c', context: { cluster: 'k', user: 'u', namespace: 'storage' } }],
    clusters: [{ name: 'k', cluster: { server: 'https://k:6443', 'certificate-authority-data': btoa('CA') } }],
  };

  it('give server, CA, client certificate and namespace; data or paths beside the file', async () => {
    writeFileSync(join(folder, 'key.pem'), 'KEY');
    const user = { 'client-certificate-data': btoa('CERT'), 'client-key': 'key.pem' };
    const kubeconfig = write('config', { ...base, users: [{ name: 'u', user }] });
    expect(await findAccess({ kubeconfig })).toMatchObject({
      ca: 'CA',
      namespace: 'storage',
      clientCertificate: { certificate: 'CERT', key: 'KEY' },
    });
  });

  it('are one when KUBECONFIG names several', async () => {
    const first = write('first', { 'current-context': 'c', users: [{ name: 'u', user: { token: 't' } }] });
    const second = write('second', { ...base, 'current-context': 'other' });
    const access = await findAccess({ env: { KUBECONFIG: `${first}:${second}` } });
    expect(access.server.href).toBe('https://k:6443/');
    expect(await access.token?.get(false)).toBe('t');
  });

  it('run a credential plugin only for who lets them, and again when its token ends', async () => {
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: 'plugin', args: ['x'], env: [] };
    const kubeconfig = write('config', { ...base, users: [{ name: 'u', user: { exec } }] });
    expect((await refusal(findAccess({ kubeconfig }))).code).toBe('Unimplemented');
    let runs = 0;
    const { token } = await findAccess({
      kubeconfig,
      runPlugin: async (argv, env) => {
        expect(argv).toEqual(['plugin', 'x']);
        expect(JSON.parse(env.KUBERNETES_EXEC_INFO ?? '')).toMatchObject({ kind: 'ExecCredential' });
        const expirationTimestamp = new Date(Date.now() + (runs++ === 0 ? 0 : 3_600_000)).toISOString();
        return JSON.stringify({ kind: 'ExecCredential', status: { token: `t${runs}`, expirationTimestamp } });
      },
    });
    expect([await token?.get(false), await token?.get(false), await token?.get(false)]).toEqual(['t1', 't2', 't2']);
  });

  it.each([
    ['is missing', undefined, 'FailedPrecondition'],
    ['has no context', { ...base, 'current-context': 'none' }, 'FailedPrecondition'],
    ['has no server', { ...base, clusters: [{ name: 'k', cluster: {} }] }, 'InvalidArgument'],
    ['is a list', [], 'InvalidArgument'],
    [
      'wants a proxy',
      { ...base, clusters: [{ name: 'k', cluster: { server: 'https://k', 'proxy-url': 'x' } }] },
      'Unimplemented',
    ],
    [
      'has a password',
      { ...base, users: [{ name: 'u', user: { username: 'me', password: 'secret' } }] },
      'Unimplemented',
    ],
  ])('are refused without quoting them when one %s', async (_, content, code) => {
    const kubeconfig = content === undefined ? join(folder, 'none') : write('config', content);
    const error = await refusal(findAccess({ kubeconfig }));
    expect(error.code).toBe(code);
    expect(error.message).not.toContain('secret');
  });

  it('are not needed in a pod', async () => {
    for (const [name, text] of [
      ['ca.crt', 'CA'],
      ['token', 't'],
      ['namespace', 'azekura\n'],
    ] as const)
      writeFileSync(join(folder, name), text);
    const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
    const access = await findAccess({ env, serviceAccountFolder: folder });
    expect(access).toMatchObject({ ca: 'CA', namespace: 'azekura' });
    expect(access.server.href).toBe('https://[fd00::1]/');
    expect((await refusal(findAccess({ env, serviceAccountFolder: join(folder, 'none') }))).code).toBe(
      'FailedPrecondition',
    );
  });
});
