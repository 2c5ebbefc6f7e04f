import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeClock } from './fake-clock.ts';
import { WorkQueue, type WorkQueueOptions } from './work-queue.ts';

/** A run that a test ends by hand. */
interface Running {
  readonly key: string;
  end(error?: unknown): Promise<void>;
}

function open(options: Partial<WorkQueueOptions> = {}) {
  const clock = new FakeClock();
  const running: Running[] = [];
  const started: string[] = [];
  const queue = new WorkQueue({
    clock,
    parallelism: 2,
    random: () => 0.5,
    run: (key) => {
      started.push(key);
      return new Promise((resolve, reject) => {
        const own: Running = {
          key,
          end: async (error) => {
            running.splice(running.indexOf(own), 1);
            if (error === undefined) resolve(undefined);
            else reject(error);
            await clock.advance(0);
          },
        };
        running.push(own);
      });
    },
    ...options,
  });
  const end = async (key: string, error?: unknown) => {
    const one = running.find((candidate) => candidate.key === key);
    if (!one) throw new Error(`${key} does not run`);
    await one.end(error);
  };
  return { clock, queue, running, started, end };
}

describe('WorkQueue', () => {
  it('runs one at a time for each key, and once more for any number of triggers meanwhile', async () => {
    const { queue, started, end } = open();
    queue.add('a');
    for (let count = 0; count < 5; count++) queue.add('a');
    expect(started).toEqual(['a']);
    await end('a');
    expect(started).toEqual(['a', 'a']);
    await end('a');
    expect(started).toEqual(['a', 'a']);
    expect(queue.size).toBe(0);
  });

  it('runs no more than its parallelism at a time, first come first served', async () => {
    const { queue, started, end } = open();
    for (const key of ['a', 'b', 'c', 'd']) queue.add(key);
    expect(started).toEqual(['a', 'b']);
    await end('b');
    expect(started).toEqual(['a', 'b', 'c']);
    await end('a');
    expect(started).toEqual(['a', 'b', 'c', 'd']);
  });

  it('puts a key that was triggered while it ran behind those that waited', async () => {
    const { queue, started, end } = open({ parallelism: 1 });
    queue.add('a');
    queue.add('b');
    queue.add('a');
    await end('a');
    await end('b');
    expect(started).toEqual(['a', 'b', 'a']);
  });

  it('keeps a slow group from taking every place', async () => {
    const groupOf = (key: string) => key[0];
    const { queue, started, end } = open({ parallelism: 4, groupParallelism: 2, groupOf });
    for (const key of ['x1', 'x2', 'x3', 'y1']) queue.add(key);
    expect(started).toEqual(['x1', 'x2', 'y1']);
    await end('x2');
    expect(started).toEqual(['x1', 'x2', 'y1', 'x3']);
  });

  it('backs off from failures, twice as long each time, and begins anew after a success', async () => {
    const { clock, queue, started, end } = open({ baseMs: 100, capMs: 1_000 });
    queue.add('a');
    await end('a', new Error('first'));
    await clock.advance(74);
    expect(started).toHaveLength(1);
    await clock.advance(1);
    expect(started).toHaveLength(2);
    await end('a', new Error('second'));
    await clock.advance(149);
    expect(started).toHaveLength(2);
    await clock.advance(1);
    expect(started).toHaveLength(3);
    await end('a');
    queue.add('a');
    await end('a', new Error('third'));
    await clock.advance(75);
    expect(started).toHaveLength(5);
  });

  it('comes back at once when a failed key is triggered, without forgetting how often it failed', async () => {
    const { clock, queue, started, end } = open({ baseMs: 100 });
    queue.add('a');
    await end('a', new Error('first'));
    queue.add('a');
    expect(started).toHaveLength(2);
    await end('a', new Error('second'));
    await clock.advance(149);
    expect(started).toHaveLength(2);
    await clock.advance(1);
    expect(started).toHaveLength(3);
  });

  it('tells of each failure how many there were', async () => {
    const told: number[] = [];
    const { clock, queue, end } = open({ onError: (_key, _error, failures) => told.push(failures) });
    queue.add('a');
    await end('a', new Error('first'));
    await clock.advance(60_000);
    await end('a', new Error('second'));
    expect(told).toEqual([1, 2]);
  });

  it('runs a key again after the time that its run asked for', async () => {
    const clock = new FakeClock();
    let runs = 0;
    const queue = new WorkQueue({
      clock,
      parallelism: 1,
      run: async () => {
        runs += 1;
        return runs === 1 ? { againAfterMs: 50 } : undefined;
      },
    });
    queue.add('a');
    await clock.advance(0);
    await clock.advance(49);
    expect(runs).toBe(1);
    await clock.advance(1);
    expect(runs).toBe(2);
    await clock.advance(1_000);
    expect(runs).toBe(2);
  });

  it('drops a delay when the key is triggered', async () => {
    const { clock, queue, started } = open();
    queue.addAfter('a', 100);
    queue.add('a');
    expect(started).toEqual(['a']);
    await clock.advance(200);
    expect(started).toEqual(['a']);
  });

  it('counts the delay that ends first', async () => {
    const { clock, queue, started, end } = open();
    queue.addAfter('a', 100);
    queue.addAfter('a', 30);
    queue.addAfter('a', 500);
    await clock.advance(30);
    expect(started).toEqual(['a']);
    await end('a');
    await clock.advance(1_000);
    expect(started).toEqual(['a']);
  });

  it('waits for what runs when it is stopped, and starts nothing more', async () => {
    const { clock, queue, started, end } = open({ parallelism: 1 });
    queue.add('a');
    queue.add('b');
    const stopped = queue.stop(1_000);
    await clock.advance(0);
    await end('a');
    expect(await stopped).toBe(true);
    queue.add('c');
    await clock.advance(60_000);
    expect(started).toEqual(['a']);
    expect(clock.pending).toBe(0);
  });

  it('says at the deadline that something still runs', async () => {
    const { clock, queue } = open();
    queue.add('a');
    const stopped = queue.stop(1_000);
    await clock.advance(1_000);
    expect(await stopped).toBe(false);
  });

  it('never runs a key twice at a time, never exceeds its limits, and forgets no trigger', async () => {
    const event = fc.record({ key: fc.constantFrom('x1', 'x2', 'x3', 'y1', 'y2'), fails: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(
        fc.array(event, { maxLength: 60 }),
        fc.array(fc.nat(400), { maxLength: 60 }),
        async (events, pauses) => {
          const clock = new FakeClock();
          const active = new Map<string, number>();
          const lastTrigger = new Map<string, number>();
          const lastStart = new Map<string, number>();
          let turn = 0;
          let failing = new Set<string>();
          const queue = new WorkQueue({
            clock,
            parallelism: 3,
            groupParallelism: 2,
            groupOf: (key) => key[0],
            run: async (key) => {
              lastStart.set(key, ++turn);
              active.set(key, (active.get(key) ?? 0) + 1);
              expect(active.get(key)).toBe(1);
              const all = [...active].filter(([, count]) => count > 0).map(([name]) => name);
              expect(all.length).toBeLessThanOrEqual(3);
              expect(all.filter((name) => name.startsWith('x')).length).toBeLessThanOrEqual(2);
              await new Promise<void>((resolve) => clock.after(100, resolve));
              active.set(key, 0);
              if (failing.has(key)) throw new Error('fails');
              return undefined;
            },
          });
          for (const [index, { key, fails }] of events.entries()) {
            if (fails) failing.add(key);
            lastTrigger.set(key, ++turn);
            queue.add(key);
            await clock.advance(pauses[index] ?? 0);
          }
          failing = new Set();
          await clock.advance(600_000);
          for (const [key, triggered] of lastTrigger) expect(lastStart.get(key)).toBeGreaterThan(triggered);
          expect(queue.size).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });
});
