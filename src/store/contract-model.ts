import fc from 'fast-check';
import { expect, it } from 'vitest';
import { hasCode } from '../model/errors.ts';
import type { Volume } from '../model/kinds.ts';
import type { Current } from './contract-helpers.ts';
import type { Store } from './store.ts';

/** What the model knows of an object. */
interface Known {
  readonly sizeBytes: number;
  readonly label: string;
  readonly phase: Volume['status']['phase'];
  readonly finalizers: readonly string[];
  readonly deleting: boolean;
}

type Operation = { readonly name: string; readonly stale: boolean } & (
  | { readonly verb: 'create' | 'update'; readonly sizeBytes: number; readonly label: string; readonly held: boolean }
  | { readonly verb: 'status'; readonly phase: Known['phase'] }
  | { readonly verb: 'delete' }
);

const name = fc.constantFrom('a', 'b', 'c');
const stale = fc.integer({ min: 0, max: 4 }).map((dice) => dice === 0);
const sizeBytes = fc.integer({ min: 0, max: 2 });
const label = fc.constantFrom('x', 'y');
const phase = fc.constantFrom<Known['phase']>('Pending', 'Ready', 'Failed');
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ verb: fc.constant('create' as const), name, stale, sizeBytes, label, held: fc.boolean() }),
  fc.record({ verb: fc.constant('update' as const), name, stale, sizeBytes, label, held: fc.boolean() }),
  fc.record({ verb: fc.constant('status' as const), name, stale, phase }),
  fc.record({ verb: fc.constant('delete' as const), name, stale }),
);

/** The rules of a write once more, over a plain map: what an operation does, or the code it is refused with. */
function predict(known: Known | undefined, step: Operation, isStale: boolean): Known | undefined | string {
  if (step.verb === 'create') {
    if (known) return 'AlreadyExists';
    return {
      sizeBytes: step.sizeBytes,
      label: step.label,
      phase: 'Pending',
      finalizers: step.held ? ['azekura.dev/a'] : [],
      deleting: false,
    };
  }
  if (!known) return step.verb === 'delete' ? undefined : 'NotFound';
  if (isStale) return 'Conflict';
  if (step.verb === 'status') return { ...known, phase: step.phase };
  if (step.verb === 'delete') return known.finalizers.length === 0 ? undefined : { ...known, deleting: true };
  const finalizers = step.held ? ['azekura.dev/a'] : [];
  if (known.deleting && finalizers.length > known.finalizers.length) return 'InvalidArgument';
  if (known.deleting && finalizers.length === 0) return undefined;
  return { ...known, sizeBytes: step.sizeBytes, label: step.label, finalizers };
}

async function perform(store: Store, step: Operation, read: Volume | undefined): Promise<Volume | undefined> {
  const metadata = { name: step.name, uid: 'none', resourceVersion: 'none', generation: 1, creationTimestamp: '' };
  const base = read ?? ({ kind: 'Volume', metadata, status: {} } as unknown as Volume);
  switch (step.verb) {
    case 'create':
    case 'update': {
      const parts = { labels: { label: step.label }, finalizers: step.held ? ['azekura.dev/a'] : [] };
      if (step.verb === 'create') {
        return store.create({
          kind: 'Volume',
          metadata: { name: step.name, ...parts },
          spec: { sizeBytes: step.sizeBytes },
        });
      }
      const spec = { ...base.spec, sizeBytes: step.sizeBytes };
      return store.update({ ...base, metadata: { ...base.metadata, ...parts }, spec });
    }
    case 'status':
      return store.updateStatus({ ...base, status: { ...base.status, phase: step.phase } });
    default:
      await store.delete('Volume', step.name, read ? { resourceVersion: base.metadata.resourceVersion } : {});
      return undefined;
  }
}

function facts({ metadata, spec, status }: Volume): Known {
  const { labels, finalizers, deletionTimestamp } = metadata;
  return {
    sizeBytes: spec.sizeBytes,
    label: labels.label ?? '',
    phase: status.phase,
    finalizers,
    deleting: deletionTimestamp !== undefined,
  };
}

/** Random operations agree with the model step by step, and a watch of them ends where a list does. */
export function describeModel(current: Current): void {
  it('agrees with a simple model on random sequences of operations', async () => {
    const { store } = current();
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 30 }), async (steps) => {
        const prefix = `run${run++}-`;
        const { resourceVersion: from } = await store.list('Volume');
        const model = new Map<string, Known>();
        const older = new Map<string, Volume>();
        let events = 0;
        for (const plain of steps) {
          const step = { ...plain, name: prefix + plain.name };
          const present = await store.find('Volume', step.name);
          // Stale means: as it was read before its last change, in this life of the object or an earlier one.
          const past = older.get(step.name);
          const read = step.stale && past ? past : present;
          const isStale = read?.metadata.resourceVersion !== present?.metadata.resourceVersion;
          const known = model.get(step.name);
          const prediction = predict(known, step, isStale);
          let refused: string | undefined;
          try {
            await perform(store, step, read);
          } catch (error) {
            if (!hasCode(error, 'AlreadyExists', 'NotFound', 'Conflict', 'InvalidArgument')) throw error;
            refused = error.code;
          }
          expect(refused).toBe(typeof prediction === 'string' ? prediction : undefined);
          if (typeof prediction !== 'string') {
            if (prediction) model.set(step.name, prediction);
            else model.delete(step.name);
          }
          const after = await store.find('Volume', step.name);
          expect(after && facts(after)).toEqual(model.get(step.name));
          const changed = JSON.stringify(known) !== JSON.stringify(model.get(step.name));
          expect(after?.metadata.resourceVersion !== present?.metadata.resourceVersion).toBe(changed);
          if (known && changed && after) {
            const respecified = known.sizeBytes !== after.spec.sizeBytes ? 1 : 0;
            if (!after.metadata.deletionTimestamp)
              expect(after.metadata.generation).toBe((present?.metadata.generation ?? 0) + respecified);
          }
          if (changed) events++;
          if (changed && present) older.set(step.name, present);
        }
        await checkReplay(store, from, events, prefix, model);
      }),
      { numRuns: 40 },
    );
  });
}

async function checkReplay(
  store: Store,
  from: string,
  events: number,
  prefix: string,
  model: ReadonlyMap<string, Known>,
): Promise<void> {
  const replayed = new Map<string, Known>();
  if (events > 0) {
    let left = events;
    for await (const event of store.watch('Volume', { from })) {
      if (!('object' in event)) continue;
      if (event.type === 'deleted') replayed.delete(event.object.metadata.name);
      else replayed.set(event.object.metadata.name, facts(event.object));
      if (--left === 0) break;
    }
  }
  expect(replayed).toEqual(new Map(model));
  const { items } = await store.list('Volume');
  const listed = items
    .filter(({ metadata }) => metadata.name.startsWith(prefix))
    .map((item) => [item.metadata.name, facts(item)] as const);
  expect(new Map(listed)).toEqual(new Map(model));
}
