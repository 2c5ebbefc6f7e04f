import { describe, expect, it } from 'vitest';
import { change } from './change.ts';
import { type Current, eventually, newSnapshot, newVolume, refusal } from './contract-helpers.ts';
import type { Store, WatchEvent, WatchOptions } from './store.ts';

type VolumeEvent = WatchEvent<'Volume'>;

/** A watch of volumes that runs until stopped, with what it has delivered. Bookmarks may come at any time and are left out. */
class Observation {
  readonly events: VolumeEvent[] = [];
  readonly #abort = new AbortController();
  readonly #ended: Promise<void>;

  constructor(store: Store, options: WatchOptions = {}) {
    this.#ended = (async () => {
      for await (const event of store.watch('Volume', { ...options, signal: this.#abort.signal })) {
        if (event.type !== 'bookmark') this.events.push(event);
      }
    })();
    this.#ended.catch(() => {});
  }

  /** "added a", "synced" … */
  get story(): string[] {
    return this.events.map((event) => ('object' in event ? `${event.type} ${event.object.metadata.name}` : event.type));
  }

  /** The objects that exist after all events, by name. */
  get state(): Map<string, string> {
    const state = new Map<string, string>();
    for (const event of this.events) {
      if (!('object' in event)) continue;
      const { name, resourceVersion } = event.object.metadata;
      if (event.type === 'deleted') state.delete(name);
      else state.set(name, resourceVersion);
    }
    return state;
  }

  async until(count: number): Promise<void> {
    await eventually(async () => expect(this.events.length).toBeGreaterThanOrEqual(count));
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#ended;
  }

  /** Resolves when the watch ends by itself. */
  ended(): Promise<void> {
    return this.#ended;
  }
}

/** The rules of watch(). */
export function describeWatch(current: Current): void {
  describe('watch', () => {
    it('tells what is there, that this was all, then what changes', async () => {
      const { store } = current();
      await store.create(newVolume('a'));
      await store.create(newVolume('b', { finalizers: ['azekura.dev/a'] }));
      const seen = new Observation(store);
      await seen.until(3);
      await change(store, 'Volume', 'a', ({ spec }) => ({ spec: { ...spec, sizeBytes: 8192 } }));
      await store.create(newSnapshot('other-kind', []));
      await store.delete('Volume', 'b');
      await change(store, 'Volume', 'b', () => ({ metadata: { finalizers: [] } }));
      await store.create(newVolume('b'));
      await seen.until(7);
      await seen.stop();
      expect(seen.story).toEqual(['added a', 'added b', 'synced', 'modified a', 'modified b', 'deleted b', 'added b']);
      expect(seen.events[3]).toMatchObject({ object: { spec: { sizeBytes: 8192 } } });
      expect(seen.events[5]).toMatchObject({ object: { metadata: { deletionTimestamp: expect.any(String) } } });
      for (const event of seen.events)
        expect(Object.isFrozen('object' in event ? event.object.spec : event.resourceVersion)).toBe(true);
    });

    it('goes on from the version of a list and from each version it gave out', async () => {
      const { store } = current();
      await store.create(newVolume('before'));
      const { resourceVersion: from } = await store.list('Volume');
      for (let size = 1; size <= 5; size++) {
        await store.create(newVolume(`v${size}`));
        await change(store, 'Volume', `v${size}`, ({ spec }) => ({ spec: { ...spec, sizeBytes: 8192 } }));
        await store.delete('Volume', `v${size}`);
      }
      const whole = new Observation(store, { from });
      await whole.until(15);
      await whole.stop();
      expect(whole.story.slice(0, 4)).toEqual(['added v1', 'modified v1', 'deleted v1', 'added v2']);
      for (const [index, event] of whole.events.entries()) {
        const rest = whole.events.slice(index + 1);
        const resumed = new Observation(store, { from: event.resourceVersion });
        await resumed.until(rest.length);
        await resumed.stop();
        expect(resumed.events).toEqual(rest);
      }
    });

    it('sends nothing for a write of nothing new', async () => {
      const { store } = current();
      const made = await store.create(newVolume('a'));
      const { resourceVersion: from } = await store.list('Volume');
      await store.update(made);
      await store.updateStatus(made);
      await store.delete('Volume', 'none');
      await refusal(store.create(newVolume('a')));
      await store.create(newVolume('mark'));
      const seen = new Observation(store, { from });
      await seen.until(1);
      await seen.stop();
      expect(seen.story).toEqual(['added mark']);
    });

    it('has no gap and no double under concurrent writes, whenever it begins', async () => {
      const { store } = current();
      const writers = Array.from({ length: 8 }, async (_, writer) => {
        const name = `v${writer}`;
        for (let round = 0; round < 12; round++) {
          await store.create(newVolume(name));
          for (let size = 1; size <= 3; size++)
            await change(store, 'Volume', name, ({ spec }) => ({ spec: { ...spec, sizeBytes: size } }));
          if (round < 11) await store.delete('Volume', name);
        }
      });
      const seen: Observation[] = [];
      const start = async () => {
        for (let count = 0; count < 6; count++) {
          const { resourceVersion: from } = await store.list('Volume');
          seen.push(new Observation(store), new Observation(store, { from }));
          await new Promise((resolve) => setTimeout(resolve, 15));
        }
      };
      await Promise.all([...writers, start()]);
      const { items } = await store.list('Volume');
      const end = new Map(items.map(({ metadata }) => [metadata.name, metadata.resourceVersion]));
      expect(end.size).toBe(8);
      for (const [index, one] of seen.entries()) {
        if (index % 2 === 0) await eventually(async () => expect(one.state).toEqual(end));
        await one.stop();
        checkOrder(one.events);
      }
      // The first that began from a version has seen every write since: each later one is a tail of it.
      const [longest = [], ...tails] = seen.filter((_, index) => index % 2 === 1).map(({ events }) => events);
      for (const tail of tails) expect(longest.slice(longest.length - tail.length)).toEqual(tail);
    });

    it('ends when the signal is aborted, before, during and after waiting', async () => {
      const { store } = current();
      for await (const event of store.watch('Volume', { signal: AbortSignal.abort() })) expect.unreachable(event.type);
      await store.create(newVolume('a'));
      const seen = new Observation(store);
      await seen.until(2);
      await seen.stop();
      await store.create(newVolume('b'));
      expect(seen.story).toEqual(['added a', 'synced']);
    });

    it('ends when the store is closed', async () => {
      const { store } = current();
      const seen = new Observation(store);
      await seen.until(1);
      await store.close();
      await seen.ended();
      expect(seen.story).toEqual(['synced']);
    });

    it('does not make writers wait for a slow consumer', async () => {
      const { store } = current();
      await store.create(newVolume('a'));
      const slow = store.watch('Volume')[Symbol.asyncIterator]();
      expect((await slow.next()).value).toMatchObject({ type: 'added' });
      for (let size = 1; size <= 40; size++)
        await change(store, 'Volume', 'a', ({ spec }) => ({ spec: { ...spec, sizeBytes: size } }));
      const sizes: number[] = [];
      while (sizes.at(-1) !== 40) {
        const { value } = await slow.next();
        if (value && 'object' in value) sizes.push(value.object.spec.sizeBytes);
      }
      expect(sizes).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
      await slow.return?.();
    });

    it('throws Expired to a start, and to a consumer, that has fallen out of history', async ({ skip }) => {
      const { store, expireHistory } = current();
      if (!expireHistory) return skip('this harness cannot make history expire');
      await store.create(newVolume('a'));
      const { resourceVersion: from } = await store.list('Volume');
      const slow = store.watch('Volume')[Symbol.asyncIterator]();
      await slow.next();
      await expireHistory();
      expect((await refusal(store.watch('Volume', { from })[Symbol.asyncIterator]().next())).code).toBe('Expired');
      const rest = async () => {
        for (let done = false; !done; ) done = (await slow.next()).done === true;
      };
      expect((await refusal(rest())).code).toBe('Expired');
    });
  });
}

/** Every object's events tell a possible story: added, then modified, then deleted; never twice the same version. */
function checkOrder(events: readonly VolumeEvent[]): void {
  const versions = new Set<string>();
  const present = new Map<string, boolean>();
  for (const event of events) {
    if (!('object' in event)) continue;
    const { name, resourceVersion } = event.object.metadata;
    expect(versions.has(resourceVersion)).toBe(false);
    versions.add(resourceVersion);
    const was = present.get(name);
    if (was !== undefined) expect(event.type === 'added').toBe(!was);
    present.set(name, event.type !== 'deleted');
  }
}
