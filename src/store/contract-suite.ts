import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describeDeletion } from './contract-deletion.ts';
import { describeFields } from './contract-fields.ts';
import { type Current, newVolume, refusal, type StoreHarness } from './contract-helpers.ts';
import { describeLists } from './contract-lists.ts';
import { describeModel } from './contract-model.ts';
import { describeObjects } from './contract-objects.ts';
import { describeWatch } from './contract-watch.ts';

export type { StoreHarness } from './contract-helpers.ts';

/**
 * Every rule of store.ts, for any implementation. It takes resource versions as opaque and leaves background work its
 * time, so that it also fits a real Kubernetes API server.
 *
 * @param name of the implementation
 * @param openStore makes an empty store; called once for each test
 */
export function describeStoreContract(name: string, openStore: () => Promise<StoreHarness>): void {
  describe(`${name} keeps the contract of Store`, () => {
    let harness: StoreHarness;
    beforeEach(async () => {
      harness = await openStore();
    });
    afterEach(() => harness.dispose());
    const current: Current = () => harness;

    describeObjects(current);
    describeDeletion(current);
    describeLists(current);
    describeFields(current);
    describeWatch(current);
    describeModel(current);

    it('keeps everything over a restart', async () => {
      const made = await harness.store.create(newVolume('db', { labels: { tier: 'gold' } }));
      const version = (await harness.store.list('Volume')).resourceVersion;
      const store = await harness.reopen();
      expect(await store.get('Volume', 'db')).toEqual(made);
      const later = await store.create(newVolume('later'));
      const { value } = await store.watch('Volume', { from: version })[Symbol.asyncIterator]().next();
      expect(value).toMatchObject({ type: 'added', object: later });
    });

    it('answers Unavailable once it is closed, and may be closed twice', async () => {
      await harness.store.close();
      await harness.store.close();
      expect((await refusal(harness.store.find('Volume', 'db'))).code).toBe('Unavailable');
      expect((await refusal(harness.store.create(newVolume('db')))).code).toBe('Unavailable');
    });
  });
}
