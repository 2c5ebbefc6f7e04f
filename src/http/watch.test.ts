import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openBench, prefix } from './test-bench.ts';

let bench: Awaited<ReturnType<typeof openBench>>;
beforeEach(async () => {
  bench = await openBench();
});
afterEach(() => bench.close());

describe('watching', () => {
  async function* eventsOf(url: string, server: ReturnType<Awaited<ReturnType<typeof openBench>>['serverWith']>) {
    await server.listen({ path: join(bench.folder, 'api.sock') });
    const { request } = await import('node:http');
    const response = await new Promise<AsyncIterable<Uint8Array>>((resolve) =>
      request({ socketPath: join(bench.folder, 'api.sock'), path: url }, resolve).end(),
    );
    let text = '';
    for await (const chunk of response) {
      text += new TextDecoder().decode(chunk);
      const events = text.split('\n\n');
      text = events.pop() ?? '';
      for (const event of events) {
        const data = /^data: (.*)$/m.exec(event)?.[1];
        if (data) yield JSON.parse(data);
      }
    }
  }

  it('sends present objects, then changes, and tells an object that no longer matches as deleted', async () => {
    await bench.storeVolumes('a1', 'b1');
    const server = bench.serverWith();
    const events = eventsOf(`${prefix}/volumes?watch=true&labelSelector=app%3Da`, server);
    expect((await events.next()).value).toMatchObject({ type: 'ADDED', object: { metadata: { name: 'a1' } } });
    expect((await events.next()).value).toMatchObject({ type: 'SYNCED' });
    const a1 = await bench.store.get('Volume', 'a1');
    await bench.store.update({ ...a1, metadata: { ...a1.metadata, labels: { app: 'z' } } });
    expect((await events.next()).value).toMatchObject({ type: 'DELETED', object: { metadata: { name: 'a1' } } });
    bench.stop.abort();
    expect((await events.next()).done).toBe(true);
    await server.close();
  });

  it('resumes after a version', async () => {
    await bench.storeVolumes('a');
    const { resourceVersion } = await bench.store.list('Volume');
    await bench.storeVolumes('b');
    const server = bench.serverWith();
    const events = eventsOf(`${prefix}/volumes?watch=true&resourceVersion=${resourceVersion}`, server);
    expect((await events.next()).value).toMatchObject({ type: 'ADDED', object: { metadata: { name: 'b' } } });
    bench.stop.abort();
    await server.close();
  });
});
