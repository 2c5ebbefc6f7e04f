import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { change } from '../change.ts';
import { eventually } from '../contract-helpers.ts';
import { createInformer } from '../informer.ts';
import { openScratchStore } from '../scratch.ts';
import { ByVolume, type Informers } from './by-volume.ts';
import { replicaSpec } from './fixture.ts';
import { mirrorKinds } from './flows.ts';

const volumes = ['v', 'w', 'x'];
const names = ['a', 'b', 'c', 'd'];

describe('what belongs to a volume', () => {
  it('is what a look at all objects would find, in the order of names, after any changes', async () => {
    const step = fc.record({ name: fc.constantFrom(...names), volume: fc.option(fc.constantFrom(...volumes)) });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const { store, close } = await openScratchStore();
        const informers = Object.fromEntries(
          mirrorKinds.map((kind) => [kind, createInformer(store, kind)]),
        ) as unknown as Informers;
        const byVolume = new ByVolume(informers, informers);
        for (const { name, volume } of steps) {
          const there = await store.find('Replica', name);
          if (volume === null) await (there ? store.delete('Replica', name) : undefined);
          else if (there) await change(store, 'Replica', name, () => ({ spec: replicaSpec(volume) }));
          else await store.create({ kind: 'Replica', metadata: { name }, spec: replicaSpec(volume) });
        }
        const { items } = await store.list('Replica');
        await eventually(async () => expect(informers.Replica.list()).toEqual(items));
        for (const volume of volumes) {
          const expected = items.filter(({ spec }) => spec.volumeId === volume);
          expect(byVolume.replicas(volume)).toEqual(expected);
          expect(byVolume.replicasThere(volume)).toEqual(expected);
          expect(byVolume.replicasOn('main')).toEqual(items);
          expect(byVolume.replicasNamed(`name-of-${volume}`)).toEqual(expected);
        }
        await Promise.all(Object.values(informers).map((informer) => informer.close()));
        await close();
      }),
      { numRuns: 25 },
    );
  });
});
