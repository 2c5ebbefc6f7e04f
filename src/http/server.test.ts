import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeCause } from '../model/cause.ts';
import { blamed } from '../model/errors.ts';
import { fakeOperations } from './fake-operations.ts';
import { openBench, prefix } from './test-bench.ts';

let bench: Awaited<ReturnType<typeof openBench>>;
beforeEach(async () => {
  bench = await openBench();
});
afterEach(() => bench.close());

describe('reading', () => {
  it('lists objects in the Kubernetes shape, filtered and page by page', async () => {
    await bench.storeVolumes('a1', 'a2', 'b1');
    const server = bench.serverWith();
    const all = (await server.inject(`${prefix}/volumes`)).json();
    expect(all).toMatchObject({ apiVersion: 'azekura.dev/v1', kind: 'VolumeList' });
    expect(all.items.map((item: { metadata: { name: string } }) => item.metadata.name)).toEqual(['a1', 'a2', 'b1']);
    expect((await server.inject(`${prefix}/volumes?labelSelector=app%3Da`)).json().items).toHaveLength(2);
    expect((await server.inject(`${prefix}/volumes?fieldSelector=metadata.name%3Db1`)).json().items).toHaveLength(1);
    const first = (await server.inject(`${prefix}/volumes?limit=2`)).json();
    expect(first.items).toHaveLength(2);
    const second = (
      await server.inject(`${prefix}/volumes?limit=2&continue=${encodeURIComponent(first.metadata.continue)}`)
    ).json();
    expect(second.items).toHaveLength(1);
    expect(second.metadata.continue).toBeUndefined();
  });

  it('answers what is not there with a Status that names the next step', async () => {
    const response = await bench.serverWith().inject(`${prefix}/volumes/db`);
    expect(response.statusCode).toBe(404);
    expect(response.json()).toMatchObject({
      kind: 'Status',
      status: 'Failure',
      code: 404,
      reason: 'NotFound',
      next: 'list what there is with `azekura volume list`',
    });
    expect((await bench.serverWith().inject('/no/such/route')).json()).toMatchObject({
      kind: 'Status',
      code: 404,
      reason: 'NotFound',
    });
  });

  it('does not serve kinds of features that are not there, and no prototype tricks', async () => {
    const server = bench.serverWith();
    expect((await server.inject(`${prefix}/repositories`)).statusCode).toBe(404);
    expect((await server.inject(`${prefix}/volumes/__proto__`)).statusCode).toBe(404);
    expect((await server.inject(`${prefix}/volumes/..%2f..%2fetc`)).statusCode).toBe(404);
    expect((await server.inject(`${prefix}/volumes?fieldSelector=constructor.name%3DObject`)).json().items).toEqual([]);
  });

  it('refuses a query that it does not know', async () => {
    const response = await bench.serverWith().inject(`${prefix}/volumes?limitt=3`);
    expect(response.json()).toMatchObject({ code: 400, reason: 'InvalidArgument' });
  });
});

describe('changing', () => {
  it('routes a volume to createVolume without inventing fields', async () => {
    const volume = { kind: 'Volume', metadata: { name: 'db' } };
    const fake = fakeOperations({ createVolume: () => ({ volume, placement: { chosen: [], considered: [] } }) });
    const payload = {
      kind: 'Volume',
      metadata: { name: 'db', labels: { a: 'b' } },
      spec: { sizeBytes: 4096, provisioning: 'thick' },
    };
    const response = await bench.serverWith(fake).inject({ method: 'POST', url: `${prefix}/volumes`, payload });
    expect(response.statusCode).toBe(201);
    expect(response.json()).toEqual(volume);
    expect(fake.calls).toEqual([
      {
        method: 'createVolume',
        args: [{ name: 'db', sizeBytes: 4096, provisioning: 'thick', labels: { a: 'b' }, dryRun: false }],
      },
    ]);
  });

  it("names the request on what it asks for, by the caller's id when it has one", async () => {
    const asked: string[] = [];
    const fake = fakeOperations({ deleteVolume: () => undefined });
    const operations = {
      ...fake.operations,
      as: ({ requestId }: { requestId: string }) => {
        asked.push(requestId);
        return fake.operations;
      },
    };
    const server = bench.serverWith(fake, { operations });
    const url = `${prefix}/volumes/db`;
    await server.inject({ method: 'DELETE', url, headers: { 'x-request-id': 'mine.1' } });
    const own = await server.inject({ method: 'DELETE', url });
    expect(asked).toEqual(['mine.1', own.headers['x-request-id']]);
  });

  it('shows where and why on a dry run', async () => {
    const placement = { chosen: [{ nodeName: 'n', poolName: 'p' }], considered: [] };
    const fake = fakeOperations({ createVolume: () => ({ volume: { kind: 'Volume' }, placement }) });
    const response = await bench.serverWith(fake).inject({
      method: 'POST',
      url: `${prefix}/volumes?dryRun=true`,
      payload: { metadata: { name: 'db' }, spec: { sizeBytes: 4096 } },
    });
    expect(response.json()).toEqual({
      apiVersion: 'azekura.dev/v1',
      kind: 'DryRun',
      object: { kind: 'Volume' },
      placement,
    });
    expect(fake.calls[0]?.args[0]).toMatchObject({ dryRun: true });
  });

  it.each([
    ['a misspelt dry run', 'DELETE', '/volumes/db?dryrun=true', undefined, 'InvalidArgument'],
    ['a dry run where there is none', 'DELETE', '/classes/gold?dryRun=true', undefined, 'Unimplemented'],
    ['size zero', 'POST', '/volumes', { metadata: { name: 'db' }, spec: { sizeBytes: 0 } }, 'InvalidArgument'],
    [
      'a size beyond all integers',
      'POST',
      '/volumes',
      { metadata: { name: 'db' }, spec: { sizeBytes: 2 ** 63 } },
      'InvalidArgument',
    ],
    [
      'a size in words',
      'POST',
      '/volumes',
      { metadata: { name: 'db' }, spec: { sizeBytes: 'ten' } },
      'InvalidArgument',
    ],
    [
      'a name with slashes',
      'POST',
      '/volumes',
      { metadata: { name: '../etc' }, spec: { sizeBytes: 4096 } },
      'InvalidArgument',
    ],
    [
      'a name of 64 characters',
      'POST',
      '/volumes',
      { metadata: { name: 'a'.repeat(64) }, spec: { sizeBytes: 4096 } },
      'InvalidArgument',
    ],
    [
      'a field that is not known',
      'POST',
      '/volumes',
      { metadata: { name: 'db' }, spec: { sizeBytes: 4096, replicas: 9 } },
      'InvalidArgument',
    ],
    [
      'a trial pool from outside',
      'POST',
      '/pools',
      { metadata: { name: 'p' }, spec: { source: { kind: 'directory', path: '/x' }, trial: true } },
      'InvalidArgument',
    ],
    [
      'a body of the wrong kind',
      'POST',
      '/volumes',
      { kind: 'Pool', metadata: { name: 'db' }, spec: {} },
      'InvalidArgument',
    ],
    ['a relative mount path', 'POST', '/volumes/db/mount', { path: 'mnt' }, 'InvalidArgument'],
    ['no body at all', 'POST', '/volumes', undefined, 'InvalidArgument'],
  ] as const)('refuses %s before anything is asked for', async (_name, method, url, payload, reason) => {
    const fake = fakeOperations();
    const response = await bench
      .serverWith(fake)
      .inject({ method, url: `${prefix}${url}`, ...(payload ? { payload } : {}) });
    expect(response.json()).toMatchObject({ kind: 'Status', status: 'Failure', reason });
    expect(fake.calls).toEqual([]);
  });

  it('refuses what is not JSON or too large', async () => {
    const server = bench.serverWith();
    const post = (payload: string) =>
      server.inject({
        method: 'POST',
        url: `${prefix}/volumes`,
        headers: { 'content-type': 'application/json' },
        payload,
      });
    expect((await post('{"a":')).json()).toMatchObject({ code: 400, reason: 'InvalidArgument' });
    expect((await post(`"${'x'.repeat(2 ** 20)}"`)).json()).toMatchObject({ code: 400, reason: 'InvalidArgument' });
  });

  it('patches only the fields that were sent', async () => {
    const fake = fakeOperations({ updateClass: () => ({ kind: 'Class' }), expandVolume: () => ({ kind: 'Volume' }) });
    const server = bench.serverWith(fake);
    const headers = { 'content-type': 'application/merge-patch+json' };
    await server.inject({
      method: 'PATCH',
      url: `${prefix}/classes/gold`,
      headers,
      payload: '{"spec":{"isDefault":true}}',
    });
    await server.inject({
      method: 'PATCH',
      url: `${prefix}/volumes/db`,
      headers,
      payload: '{"spec":{"sizeBytes":8192}}',
    });
    expect(fake.calls).toEqual([
      { method: 'updateClass', args: ['gold', { isDefault: true }] },
      { method: 'expandVolume', args: ['db', 8192, { dryRun: false }] },
    ]);
  });

  it('answers errors of operations with their code, next step, cause and the request id', async () => {
    const cause = makeCause('InUse', { what: 'volume db', holder: '/mnt' });
    const fake = fakeOperations({
      deleteVolume: () => Promise.reject(blamed('FailedPrecondition', cause)),
      why: () => Promise.reject(new Error('secret detail')),
    });
    const server = bench.serverWith(fake);
    const response = await server.inject({
      method: 'DELETE',
      url: `${prefix}/volumes/db`,
      headers: { 'x-request-id': 'req-7' },
    });
    expect(response.statusCode).toBe(412);
    expect(response.headers['x-request-id']).toBe('req-7');
    expect(response.json()).toMatchObject({
      reason: 'FailedPrecondition',
      next: cause.nextStep,
      cause: { code: 'InUse' },
      requestId: 'req-7',
    });
    expect((await server.inject('/why/volume/db')).json()).toMatchObject({ code: 500, reason: 'Internal' });
  });

  it('takes no new work while it starts or stops', async () => {
    const fake = fakeOperations();
    const response = await bench.serverWith(fake, { notReady: () => ['Azekura is stopping'] }).inject({
      method: 'DELETE',
      url: `${prefix}/volumes/db`,
    });
    expect(response.json()).toMatchObject({ code: 503, reason: 'Unavailable' });
    expect(fake.calls).toEqual([]);
  });
});

describe('on TCP', () => {
  it('demands the token of every route', async () => {
    const server = bench.serverWith(fakeOperations({ status: () => ({}) }), { token: 'correct horse battery' });
    expect((await server.inject('/status')).json()).toMatchObject({ code: 401, reason: 'Unauthenticated' });
    expect((await server.inject({ url: '/status', headers: { authorization: 'Bearer wrong' } })).statusCode).toBe(401);
    expect(
      (await server.inject({ url: '/status', headers: { authorization: 'Bearer correct horse battery' } })).statusCode,
    ).toBe(200);
    expect((await server.inject('/nothing')).statusCode).toBe(401);
  });
});

describe('about the instance', () => {
  it('says whether it is ready', async () => {
    expect((await bench.serverWith().inject('/readyz')).statusCode).toBe(200);
    const starting = await bench
      .serverWith(fakeOperations(), { notReady: () => ['Azekura is starting'] })
      .inject('/readyz');
    expect(starting.statusCode).toBe(503);
    expect(starting.json()).toEqual({ status: 'not ready', reasons: ['Azekura is starting'] });
  });

  it('tells Prometheus of volumes, requests and the process', async () => {
    await bench.storeVolumes('a', 'b');
    const server = bench.serverWith();
    await server.inject(`${prefix}/volumes/a`);
    const text = (await server.inject('/metrics')).body;
    expect(text).toContain('azekura_volumes{phase="Pending"} 2');
    expect(text).toContain(`azekura_http_requests_total{method="GET",route="${prefix}/volumes/:name",code="200"} 1`);
    expect(text).toMatch(/process_resident_memory_bytes \d+/);
  });

  it('turns an unknown kind away', async () => {
    expect((await bench.serverWith().inject('/why/tree/oak')).json()).toMatchObject({ reason: 'InvalidArgument' });
  });
});
