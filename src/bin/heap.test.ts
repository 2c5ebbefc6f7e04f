import { describe, expect, it } from 'vitest';
import { systemClock } from '../lib/clock.ts';
import { FakeClock } from '../lib/fake-clock.ts';
import { collectAtRest } from './heap.ts';

const mebibyte = 2 ** 20;

function setUp() {
  const clock = new FakeClock();
  const heap = { used: 20 * mebibyte, collections: 0 };
  const stop = collectAtRest(clock, {
    usedBytes: () => heap.used,
    collect: () => {
      heap.used = 20 * mebibyte;
      heap.collections += 1;
    },
  });
  return { clock, heap, stop };
}

describe('the heap of a process at rest', () => {
  it('is collected thrice once work has ended, and not again before there was more', async () => {
    const { clock, heap } = setUp();
    await clock.advance(60_000);
    const first = heap.collections;
    await clock.advance(600_000);
    expect([first, heap.collections]).toEqual([3, 3]);
    heap.used += 5 * mebibyte;
    await clock.advance(10_000);
    expect(heap.collections).toBe(3);
    await clock.advance(600_000);
    expect(heap.collections).toBe(6);
  });

  it('is left alone while there is work, and for little', async () => {
    const { clock, heap } = setUp();
    await clock.advance(60_000);
    heap.used += mebibyte;
    await clock.advance(600_000);
    for (let look = 0; look < 20; look++) {
      heap.used += mebibyte;
      await clock.advance(10_000);
    }
    expect(heap.collections).toBe(3);
  });

  it('is left alone after the end', async () => {
    const { clock, heap, stop } = setUp();
    stop();
    await clock.advance(600_000);
    expect([heap.collections, clock.pending]).toEqual([0, 0]);
  });

  it('can be had from V8', () => {
    expect(() => collectAtRest(systemClock)()).not.toThrow();
  });
});
