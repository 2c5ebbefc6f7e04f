import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../lib/clock.ts';
import { FakeClock } from '../lib/fake-clock.ts';
import { AzekuraError } from '../model/errors.ts';
import type { Kind } from '../model/kinds.ts';
import { change } from './change.ts';
import { eventually, newVolume, refusal } from './contract-helpers.ts';
import { createInformer, type InformerEvent } from './informer.ts';
import { openLmdbStore } from './lmdb/lmdb-store.ts';
import type { Store, WatchEvent, WatchOptions } from './store.ts';

let path: string;
let store: Store;
beforeEach(async () => {
  path = mkdtempSync(join(tmpdir(), 'azekura-informer-'));
  store = await openLmdbStore({ path, clock: systemClock, historyLimit: 40 });
});
afterEach(async () => {
  await store.close();
  rmSync(path, { recursive: true });
});

/** The store with watches that can be cut off, and kept away, from outside. */
function breakable() {
  let cut = new AbortController();
  let isDown = false;
  const starts: (string | undefined)[] = [];
  async function* watch<K extends Kind>(kind: K, options: WatchOptions = {}): AsyncGenerator<WatchEvent<K>> {
    if (isDown) throw new AzekuraError('Unavailable', 'the store is down');
    starts.push(options.from);
    const signal = options.signal ? AbortSignal.any([options.signal, cut.signal]) : cut.signal;
    yield* store.watch(kind, { ...options, signal });
    if (!options.signal?.aborted) throw new AzekuraError('Unavailable', 'the connection broke');
  }
  const broken: Store = Object.assign(Object.create(store) as Store, {
    watch,
  });
  return {
    store: broken,
    starts,
    down() {
      isDown = true;
      cut.abort();
    },
    up() {
      cut = new AbortController();
      isDown = false;
    },
  };
}

const told = (events: readonly InformerEvent<'Volume'>[]) =>
  events.map(({ type, object }) => `${type} ${object.metadata.name}`);

describe('informer', () => {
  it('has everything once it is synced, then follows', async () => {
    await store.create(newVolume('b'));
    await store.create(newVolume('a'));
    const informer = createInformer(store, 'Volume');
    const events: InformerEvent<'Volume'>[] = [];
    const stop = informer.onChange((event) => events.push(event));
    await informer.synced;
    expect(informer.list().map(({ metadata }) => metadata.name)).toEqual(['a', 'b']);
    await change(store, 'Volume', 'a', ({ spec }) => ({ spec: { ...spec, sizeBytes: 8192 } }));
    await store.delete('Volume', 'b');
    await eventually(async () => expect(told(events)).toEqual(['added a', 'added b', 'modified a', 'deleted b']));
    expect(informer.get('a')?.spec.sizeBytes).toBe(8192);
    expect(informer.get('b')).toBeUndefined();
    stop();
    await store.create(newVolume('c'));
    await eventually(async () => expect(informer.get('c')).toBeDefined());
    expect(events).toHaveLength(4);
    await informer.close();
  });

  it('tells a late listener what is there, and survives one that throws', async () => {
    await store.create(newVolume('a'));
    const informer = createInformer(store, 'Volume');
    await informer.synced;
    informer.onChange(() => {
      throw new Error('broken listener');
    });
    const events: InformerEvent<'Volume'>[] = [];
    informer.onChange((event) => events.push(event));
    await store.create(newVolume('b'));
    await eventually(async () => expect(told(events)).toEqual(['added a', 'added b']));
    await informer.close();
  });

  it('goes on where it was when its watch breaks', async () => {
    const link = breakable();
    const informer = createInformer(link.store, 'Volume');
    const events: InformerEvent<'Volume'>[] = [];
    informer.onChange((event) => events.push(event));
    await informer.synced;
    await store.create(newVolume('a'));
    await eventually(async () => expect(events).toHaveLength(1));
    link.down();
    await store.create(newVolume('b'));
    await store.delete('Volume', 'a');
    link.up();
    await eventually(async () => expect(told(events)).toEqual(['added a', 'added b', 'deleted a']));
    expect(link.starts[0]).toBeUndefined();
    expect(link.starts.at(-1)).toBeDefined();
    await informer.close();
  });

  it('lists again when it has fallen out of history, and notices what was deleted or replaced meanwhile', async () => {
    const link = breakable();
    for (const name of ['gone', 'replaced', 'changed', 'same']) await store.create(newVolume(name));
    const informer = createInformer(link.store, 'Volume');
    await informer.synced;
    const events: InformerEvent<'Volume'>[] = [];
    informer.onChange((event) => events.push(event));
    events.length = 0;
    link.down();
    await store.delete('Volume', 'gone');
    await store.delete('Volume', 'replaced');
    await store.create(newVolume('replaced'));
    for (let size = 1; size <= 100; size++) {
      await change(store, 'Volume', 'changed', ({ spec }) => ({ spec: { ...spec, sizeBytes: size } }));
    }
    link.up();
    await eventually(async () => {
      expect(told(events).sort()).toEqual(['added replaced', 'deleted gone', 'deleted replaced', 'modified changed']);
    });
    expect(told(events).indexOf('deleted replaced')).toBeLessThan(told(events).indexOf('added replaced'));
    expect(informer.list()).toEqual((await store.list('Volume')).items);
    await informer.close();
  });

  it('keeps only what its fields select', async () => {
    await store.create(newVolume('b'));
    const informer = createInformer(store, 'Volume', { fields: { 'spec.poolName': 'p' } });
    const events: InformerEvent<'Volume'>[] = [];
    informer.onChange((event) => events.push(event));
    await informer.synced;
    await change(store, 'Volume', 'b', ({ spec }) => ({ spec: { ...spec, poolName: 'p' } }));
    await change(store, 'Volume', 'b', ({ spec }) => ({ spec: { ...spec, poolName: 'q' } }));
    await eventually(async () => expect(told(events)).toEqual(['added b', 'deleted b']));
    expect(informer.list()).toEqual([]);
    await informer.close();
  });

  it('lists again when its time has come, and finds what the watch did not tell', async () => {
    const clock = new FakeClock();
    const deaf: Store = Object.assign(Object.create(store) as Store, {
      watch: async function* <K extends Kind>(kind: K, options: WatchOptions = {}): AsyncGenerator<WatchEvent<K>> {
        for await (const event of store.watch(kind, options)) {
          yield event;
          if (event.type !== 'synced') continue;
          await new Promise<void>((resolve) => options.signal?.addEventListener('abort', () => resolve()));
          return;
        }
      },
    });
    const reasons: string[] = [];
    const onList = (reason: string) => reasons.push(reason);
    await store.create(newVolume('gone'));
    const informer = createInformer(deaf, 'Volume', { clock, relistMs: 60_000, onList });
    await informer.synced;
    await store.delete('Volume', 'gone');
    await store.create(newVolume('new'));
    expect(informer.list().map(({ metadata }) => metadata.name)).toEqual(['gone']);
    await clock.advance(72_000);
    await eventually(async () => expect(informer.list().map(({ metadata }) => metadata.name)).toEqual(['new']));
    expect(reasons).toEqual(['start', 'periodic']);
    await informer.close();
  });

  it('can be closed before it is synced', async () => {
    const link = breakable();
    link.down();
    const informer = createInformer(link.store, 'Volume');
    await informer.close();
    expect((await refusal(informer.synced)).code).toBe('Unavailable');
  });
});
