import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasCode } from '../model/errors.ts';
import { KubeClient, type KubeObject, type ResourceType } from './client.ts';
import { FakeApiServer } from './fake/api-server.ts';
import { chaosFaults, chaosSteps, play, turns } from './fake/chaos.ts';
import { FaultyProxy } from './fake/faulty-proxy.ts';
import { createObjectCache } from './object-cache.ts';
import { compareVersions, type WatchIncident, watchObjects } from './watch.ts';

const type: ResourceType = { group: 'test.dev', version: 'v1', plural: 'things', kind: 'Thing', namespaced: false };
const thing = (name: string, round = 0): KubeObject => ({ metadata: { name }, ...{ spec: { round } } });

let server: FakeApiServer;
let client: KubeClient;
beforeEach(async () => {
  server = await FakeApiServer.start();
  client = new KubeClient({ access: server.access, fieldManager: 'test' });
});
afterEach(async () => {
  client.close();
  await server.close();
});

const collect = (options: Parameters<typeof watchObjects>[2] = {}) => {
  const story: string[] = [];
  const abort = new AbortController();
  const ended = (async () => {
    for await (const event of watchObjects(client, type, { ...options, backoffCapMs: 20, signal: abort.signal }))
      if (event.type !== 'bookmark')
        story.push('object' in event ? `${event.type} ${event.object.metadata.name}` : event.type);
  })();
  ended.catch(() => {});
  return { story, ended, stop: () => abort.abort() };
};

describe('a watch', () => {
  it('tells what is there page by page, then what changes, over the ends of connections', async () => {
    for (let index = 0; index < 1_203; index++) await client.create(type, thing(`t${1_000 + index}`));
    const incidents: WatchIncident[] = [];
    const seen = collect({ timeoutMs: 1, onIncident: (incident) => incidents.push(incident) });
    await expect.poll(() => seen.story.length, { timeout: 10_000 }).toBe(1_204);
    expect(seen.story.at(-1)).toBe('synced');
    expect(server.requests.filter((line) => line.includes('continue='))).toHaveLength(2);
    await expect.poll(() => incidents.filter((one) => one === 'ended').length, { timeout: 10_000 }).toBeGreaterThan(0);
    await client.delete(type, { name: 't1000' });
    await expect.poll(() => seen.story.at(-1), { timeout: 10_000 }).toBe('deleted t1000');
    seen.stop();
    await seen.ended;
    expect(seen.story).toHaveLength(1_205);
  });

  it('asks for bookmarks and a time limit, and goes on from the last bookmark', async () => {
    const seen = collect();
    await expect.poll(() => seen.story).toEqual(['synced']);
    await client.create({ ...type, plural: 'others' }, thing('elsewhere'));
    await new Promise((resolve) => setTimeout(resolve, 120));
    server.compact();
    const version = server.stored('apis/test.dev/v1/others').get('elsewhere');
    seen.stop();
    await seen.ended;
    const watch = server.requests.find((line) => line.includes('watch=1')) ?? '';
    expect(watch).toContain('allowWatchBookmarks=true');
    expect(Number(/timeoutSeconds=(\d+)/.exec(watch)?.[1])).toBeGreaterThanOrEqual(240);
    expect(Number(/timeoutSeconds=(\d+)/.exec(watch)?.[1])).toBeLessThanOrEqual(300);
    const later = collect({ from: version ?? '' });
    await client.create(type, thing('after'));
    await expect.poll(() => later.story).toEqual(['added after']);
    later.stop();
    await later.ended;
  });

  it('hangs up on a server that falls silent, and goes on', async () => {
    const proxy = await FaultyProxy.start(server.access);
    const behind = client;
    client = new KubeClient({ access: proxy.access, fieldManager: 'test' });
    const broken: unknown[] = [];
    const seen = collect({
      idleMs: 150,
      onIncident: (incident, error) => incident === 'broken' && broken.push(error),
    });
    await expect.poll(() => seen.story).toEqual(['synced']);
    let stalls = 0;
    proxy.faults = { request: () => undefined, line: () => (stalls++ === 0 ? 'stall' : undefined) };
    await behind.create(type, thing('a'));
    await expect.poll(() => seen.story, { timeout: 5_000 }).toEqual(['synced', 'added a']);
    expect(String(broken[0])).toContain('silent');
    seen.stop();
    await seen.ended;
    behind.close();
    await proxy.close();
  });

  it('throws Expired when its version is forgotten, as an event or as an answer', async () => {
    await client.create(type, thing('a'));
    server.compact();
    const first = collect({ from: '1' });
    await expect(first.ended).rejects.toSatisfy((error) => hasCode(error, 'Expired'));
    server.answerWith = (_, response) => {
      response.writeHead(410).end('{"kind":"Status","reason":"Gone","code":410}');
      return true;
    };
    const second = collect({ from: '1' });
    await expect(second.ended).rejects.toSatisfy((error) => hasCode(error, 'Expired'));
  });

  it('throws what waiting does not mend: no rights, no such kind, a wrong selector', async () => {
    for (const [code, expected] of [
      [403, 'PermissionDenied'],
      [404, 'FailedPrecondition'],
      [400, 'InvalidArgument'],
    ] as const) {
      server.answerWith = (_, response) => {
        response.writeHead(code).end(code === 404 ? '404 page not found' : '{"kind":"Status"}');
        return true;
      };
      for (const from of [{}, { from: '1' }])
        await expect(collect(from).ended).rejects.toSatisfy((error) => hasCode(error, expected));
    }
  });

  it('does not ask a server in a hurry that hangs up at once', async () => {
    let watches = 0;
    server.answerWith = (request, response) => {
      if (!request.url?.includes('watch=1')) return false;
      watches++;
      response.writeHead(200).end();
      return true;
    };
    const abort = new AbortController();
    const ended = (async () => {
      for await (const _ of watchObjects(client, type, { from: '1', signal: abort.signal }));
    })();
    await new Promise((resolve) => setTimeout(resolve, 700));
    abort.abort();
    await ended;
    // Waits of 50 to 100, 100 to 200, 200 to 400 ms …: no more than five fit.
    expect(watches).toBeGreaterThan(1);
    expect(watches).toBeLessThanOrEqual(5);
  });
});

describe('versions', () => {
  it('are compared as numbers of any size', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 30n }), fc.bigInt({ min: 0n, max: 10n ** 30n }), (a, b) => {
        expect(Math.sign(compareVersions(String(a), String(b)))).toBe(a < b ? -1 : a > b ? 1 : 0);
      }),
    );
    expect(compareVersions('abc', '7')).toBeGreaterThan(0);
  });
});

describe('a cache in front of a faulty server', () => {
  const run = async (
    steps: Parameters<typeof play>[2],
    faults: Parameters<typeof turns>[0],
    options: { readonly relistMs: number },
  ) => {
    const fresh = await FakeApiServer.start();
    const proxy = await FaultyProxy.start(fresh.access);
    const direct = new KubeClient({ access: fresh.access, fieldManager: 'test' });
    const through = new KubeClient({ access: proxy.access, fieldManager: 'test' });
    proxy.faults = turns(faults);
    const cache = createObjectCache<KubeObject>(through, type, { ...options, idleMs: 100, backoffCapMs: 20 });
    const told = new Map<string, string | undefined>();
    cache.onChange(({ type: what, object: { metadata } }) => {
      // What listeners hear must tell the same story as the cache: added, modified, deleted in their order.
      expect(told.has(metadata.name)).toBe(what !== 'added');
      if (what === 'deleted') told.delete(metadata.name);
      else told.set(metadata.name, metadata.resourceVersion);
    });
    try {
      await play(direct, type, steps, thing);
      proxy.faults = undefined;
      proxy.release();
      const end = fresh.stored('apis/test.dev/v1/things');
      const cached = () => new Map(cache.list().map(({ metadata }) => [metadata.name, metadata.resourceVersion]));
      await expect.poll(cached, { timeout: 20_000, interval: 10 }).toEqual(end);
      expect(told).toEqual(end);
    } finally {
      await cache.close();
      direct.close();
      through.close();
      await proxy.close();
      await fresh.close();
    }
    return proxy.made;
  };

  it('ends where the server ends, with no list but those that a noticed fault brings', async () => {
    const made = new Set<string>();
    await fc.assert(
      fc.asyncProperty(chaosSteps, chaosFaults(), async (steps, faults) => {
        for (const fault of (await run(steps, faults, { relistMs: 3_600_000 })).keys()) made.add(fault);
      }),
      { numRuns: 40 },
    );
    // There are fourteen kinds; of 25 times 40 stories the poorest made eleven, so half cannot be chance.
    expect(made.size).toBeGreaterThan(7);
  }, 120_000);

  it('ends where the server ends even when events are lost unnoticed, one periodic list later', async () => {
    await fc.assert(
      fc.asyncProperty(chaosSteps, chaosFaults(['lose', 'lose', 'cut']), async (steps, faults) => {
        await run(steps, faults, { relistMs: 200 });
      }),
      { numRuns: 15 },
    );
  }, 120_000);
});
