import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { Resource } from '../../model/kinds.ts';
import { change } from '../change.ts';
import { eventually } from '../contract-helpers.ts';
import { Bench, cleanUp, contents } from './bench.ts';
import { newAttachment, newReplica, nodeName } from './fixture.ts';

afterEach(cleanUp);

describe('the mirror', () => {
  it('converges after any changes, cuts, lost answers and restarts, and then writes nothing more', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 4, maxLength: 25 }), async (events) => {
        const bench = await Bench.open();
        bench.start();
        for (const one of events) await happen(bench, one);
        bench.line.mend();
        bench.start();
        await expectJoined(bench);
        await cleanUp();
      }),
      { numRuns: process.env.AZEKURA_LONG === '1' ? 1_000 : 60 },
    );
  }, 900_000);
});

const volumes = ['v', 'w'] as const;
type Event =
  | { readonly do: 'create' | 'grow' | 'delete' | 'stage'; readonly volume: (typeof volumes)[number] }
  | { readonly do: 'agent' | 'cut' | 'mend' | 'restart' | 'pause' }
  | { readonly do: 'break'; readonly after: number };

const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('create' as const, 'grow' as const, 'delete' as const, 'stage' as const),
      volume: fc.constantFrom(...volumes),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'agent' as const,
        'agent' as const,
        'cut' as const,
        'mend' as const,
        'restart' as const,
        'pause' as const,
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('break' as const), after: fc.integer({ min: 1, max: 6 }) }) },
);

async function happen(bench: Bench, one: Event): Promise<void> {
  switch (one.do) {
    case 'create':
      for (const object of [newReplica(one.volume), newAttachment(one.volume)])
        await bench.cluster.create(object).catch(() => {});
      return;
    case 'grow':
      await change(bench.cluster, 'Replica', `${one.volume}-0`, ({ spec }) => ({
        spec: { ...spec, sizeBytes: spec.sizeBytes * 2 },
      }));
      return;
    case 'delete':
      await bench.cluster.delete('Attachment', `${one.volume}-${nodeName}`);
      await bench.cluster.delete('Replica', `${one.volume}-0`);
      return;
    case 'stage':
      await change(bench.node, 'Attachment', `${one.volume}-${nodeName}`, ({ spec }) => ({
        spec: { ...spec, staged: !spec.staged },
      }));
      return;
    case 'agent':
      await bench.agent();
      return;
    case 'cut':
      bench.line.cut();
      return;
    case 'mend':
      bench.line.mend();
      return;
    case 'break':
      bench.line.callsLeft = one.after;
      return;
    case 'restart':
      await bench.stop();
      bench.start();
      return;
    case 'pause':
      await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function expectJoined(bench: Bench): Promise<void> {
  await bench.mirror.synced;
  await eventually(async () => {
    await unstage(bench);
    await bench.agent();
    expect(bench.mirror.state()).toMatchObject({ pending: 0, kept: [], conflicts: [] });
    for (const kind of ['Replica', 'Attachment'] as const) {
      const there = (await bench.cluster.list(kind)).items;
      const here = (await bench.node.list(kind)).items;
      expect(here.map(identity)).toEqual(there.map(identity));
      for (const [index, object] of there.entries()) {
        expect(object.metadata.deletionTimestamp).toBeUndefined();
        expect(object.status.observedGeneration).toBe(object.metadata.generation);
        if (object.kind === 'Replica') expect(here[index]?.spec).toEqual(object.spec);
      }
    }
  });
  await eventually(async () => {
    const replicas = (await bench.node.list('Replica')).items.map(({ spec }) => spec.volumeName);
    expect((await bench.node.list('Volume')).items.map(({ metadata }) => metadata.name)).toEqual(replicas);
  });
  const writes = bench.line.writes;
  const before = await contents(bench.node);
  await bench.stop();
  bench.start();
  await bench.rest();
  expect(await contents(bench.node)).toEqual(before);
  expect(bench.line.writes).toBe(writes);
}

/** As the kubelet does when the pods of what is to go have ended. */
async function unstage({ cluster, node }: Bench): Promise<void> {
  for (const { metadata } of (await cluster.list('Attachment')).items)
    if (metadata.deletionTimestamp !== undefined)
      await change(node, 'Attachment', metadata.name, ({ spec }) => ({ spec: { ...spec, staged: false } }));
}

function identity({ metadata }: Resource): string {
  return `${metadata.name} ${metadata.uid}`;
}
