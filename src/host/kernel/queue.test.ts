import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FairQueue } from './queue.ts';

const always = () => true;

describe('FairQueue', () => {
  it('serves domains in turn and each in its order, and loses nothing', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 30 }), (domains) => {
        const queue = new FairQueue<{ domain: string; n: number }>();
        for (const [n, domain] of domains.entries()) queue.push({ domain, n });
        const served: { domain: string; n: number }[] = [];
        for (let item = queue.take(always); item; item = queue.take(always)) served.push(item);
        expect(queue.length).toBe(0);
        expect(served.map(({ n }) => n).sort((x, y) => x - y)).toEqual(domains.map((_, n) => n));
        for (const domain of 'abc') {
          const order = served.filter((item) => item.domain === domain).map(({ n }) => n);
          expect(order).toEqual([...order].sort((x, y) => x - y));
        }
        // While several domains wait, none is served twice in a row.
        served.forEach((item, i) => {
          const others = served.slice(i).some(({ domain }) => domain !== item.domain);
          if (i > 0 && others) expect(served[i - 1]?.domain).not.toBe(item.domain);
        });
      }),
    );
  });

  it('prefers domains with nothing at work', () => {
    const queue = new FairQueue<{ domain: string }>();
    for (const domain of ['bad', 'bad', 'bad', 'good']) queue.push({ domain });
    expect(queue.take(always)?.domain).toBe('bad');
    queue.push({ domain: 'better' });
    expect(queue.take(always)?.domain).toBe('good');
    expect(queue.take(always)?.domain).toBe('better');
    expect(queue.take(always)?.domain).toBe('bad');
  });

  it('passes over domains that may not start more, drains and removes', () => {
    const queue = new FairQueue<{ domain: string }>();
    const items = ['a', 'a', 'a', 'b'].map((domain) => ({ domain }));
    for (const item of items) queue.push(item);
    const one = (_domain: string, busy: number) => busy < 1;
    expect([queue.take(one), queue.take(one), queue.take(one)]).toEqual([items[0], items[3], undefined]);
    if (items[0]) queue.done(items[0]);
    expect(queue.take(one)).toBe(items[1]);
    expect(items[2] && queue.remove(items[2])).toBe(true);
    expect(items[2] && queue.remove(items[2])).toBe(false);
    queue.push({ domain: 'c' });
    expect(queue.drain((domain) => domain === 'c')).toEqual([{ domain: 'c' }]);
    expect(queue.length).toBe(0);
  });
});
