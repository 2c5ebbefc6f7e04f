import { expect, it } from 'vitest';
import type { Resource } from '../model/kinds.ts';
import { change } from './change.ts';
import { type Current, newSnapshot, newVolume, refusal } from './contract-helpers.ts';

/** The rules of list. */
export function describeLists(current: Current): void {
  const names = (items: readonly Resource[]) => items.map(({ metadata }) => metadata.name);

  it('lists a kind in the order of names', async () => {
    const { store } = current();
    for (const name of ['b', 'a-1', 'a', 'a1', 'c']) await store.create(newVolume(name));
    await store.create(newSnapshot('other', []));
    expect(names((await store.list('Volume')).items)).toEqual(['a', 'a-1', 'a1', 'b', 'c']);
    expect((await store.list('Pool')).items).toEqual([]);
  });

  it('selects by labels', async () => {
    const { store } = current();
    await store.create(newVolume('a', { labels: { tier: 'gold', app: 'x' } }));
    await store.create(newVolume('b', { labels: { tier: 'gold' } }));
    await store.create(newVolume('c', { labels: { tier: 'tin' } }));
    const select = async (labels: Record<string, string>) => names((await store.list('Volume', { labels })).items);
    expect(await select({ tier: 'gold' })).toEqual(['a', 'b']);
    expect(await select({ tier: 'gold', app: 'x' })).toEqual(['a']);
    expect(await select({ tier: 'none' })).toEqual([]);
    expect(await select({})).toEqual(['a', 'b', 'c']);
  });

  it('pages through one instant, whatever changes between the pages', async () => {
    const { store } = current();
    for (let index = 0; index < 12; index++)
      await store.create(newVolume(`v${10 + index}`, { labels: { even: String(index % 2 === 0) } }));
    const whole = await store.list('Volume');
    const first = await store.list('Volume', { limit: 5 });
    expect(names(first.items)).toEqual(['v10', 'v11', 'v12', 'v13', 'v14']);
    await store.delete('Volume', 'v16');
    await store.create(newVolume('v15a'));
    await change(store, 'Volume', 'v17', ({ spec }) => ({ spec: { ...spec, sizeBytes: 8192 } }));
    await store.delete('Volume', 'v21');
    await store.create(newVolume('v21', {}, 8192));
    await store.delete('Volume', 'v10');
    const items = [...first.items];
    let token = first.continueToken;
    while (token !== undefined) {
      const page = await store.list('Volume', { limit: 5, continueToken: token });
      expect(page.items.length).toBeLessThanOrEqual(5);
      items.push(...page.items);
      token = page.continueToken;
    }
    expect(items).toEqual(whole.items);
  });

  it('pages with labels, and gives no token when the last page is full', async () => {
    const { store } = current();
    for (let index = 0; index < 8; index++)
      await store.create(newVolume(`v${index}`, { labels: { even: String(index % 2 === 0) } }));
    const labels = { even: 'true' };
    const first = await store.list('Volume', { limit: 2, labels });
    expect(names(first.items)).toEqual(['v0', 'v2']);
    const second = await store.list('Volume', { limit: 2, labels, continueToken: first.continueToken ?? '' });
    expect(names(second.items)).toEqual(['v4', 'v6']);
    expect((await store.list('Volume', { limit: 8 })).continueToken).toBeUndefined();
  });

  it('answers Expired to a continue token that is too old', async ({ skip }) => {
    const { store, expireHistory } = current();
    if (!expireHistory) return skip('this harness cannot make history expire');
    for (const name of ['a', 'b', 'c']) await store.create(newVolume(name));
    const { continueToken = '' } = await store.list('Volume', { limit: 1 });
    await expireHistory();
    expect((await refusal(store.list('Volume', { limit: 1, continueToken }))).code).toBe('Expired');
  });
}
