import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Clock } from '../lib/clock.ts';
import { systemClock } from '../lib/clock.ts';
import { KubeClient } from './client.ts';
import { FakeApiServer } from './fake/api-server.ts';
import { FaultyProxy } from './fake/faulty-proxy.ts';
import { LeaderElection } from './leader.ts';
import { type Lease, leaseType } from './types.ts';

/** A clock that is wrong by a constant, as the clocks of machines are. */
const skewed = (byMs: number): Clock => ({ nowMs: () => performance.now() + byMs, after: systemClock.after });

let server: FakeApiServer;
let leaders: Set<string>;
let most: number;
const closing: (() => Promise<unknown>)[] = [];
beforeEach(async () => {
  server = await FakeApiServer.start();
  leaders = new Set();
  most = 0;
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await server.close();
});

function candidate(identity: string, access = server.access, clock = skewed(0)): LeaderElection {
  const client = new KubeClient({ access, fieldManager: identity });
  const election = new LeaderElection({
    client,
    namespace: 'ns',
    name: 'azekura',
    identity,
    leaseMs: 1_000,
    renewDeadlineMs: 600,
    retryMs: 60,
    clock,
    onElected: (lost) => {
      leaders.add(identity);
      most = Math.max(most, leaders.size);
      lost.addEventListener('abort', () => leaders.delete(identity));
    },
  });
  closing.push(async () => {
    await election.close();
    client.close();
  });
  return election;
}

const only = () => (leaders.size === 1 ? [...leaders][0] : undefined);

describe('leader election', () => {
  it('elects one of several, and the next at once when it ends in order', async () => {
    const all = new Map(['a', 'b', 'c'].map((name) => [name, candidate(name)]));
    await expect.poll(only).toBeDefined();
    const first = only() ?? '';
    expect([...all].filter(([, one]) => one.leading).map(([name]) => name)).toEqual([first]);
    await all.get(first)?.close();
    expect(leaders.has(first)).toBe(false);
    await expect.poll(only).toBeDefined();
    expect(only()).not.toBe(first);
    expect(most).toBe(1);
  });

  it('gives the lease back only when what the leader did has ended', async () => {
    let end: () => void = () => {};
    const client = new KubeClient({ access: server.access, fieldManager: 'a' });
    const election = new LeaderElection({
      client,
      namespace: 'ns',
      name: 'azekura',
      identity: 'a',
      onElected: () => {},
      onLost: () => new Promise<void>((resolve) => (end = resolve)),
    });
    await expect.poll(() => election.leading).toBe(true);
    const closed = election.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const holder = async () =>
      (await client.get<Lease>(leaseType, 'azekura', { namespace: 'ns' })).spec?.holderIdentity;
    expect(await holder()).toBe('a');
    end();
    await closed;
    expect(await holder()).toBe('');
    client.close();
  });

  it('has no leader, rather than two, when the leader is cut off; it leads no more before another does', async () => {
    const proxy = await FaultyProxy.start(server.access);
    closing.push(() => proxy.close());
    const cutOff = candidate('a', proxy.access, skewed(-3_600_000));
    await expect.poll(only).toBe('a');
    candidate('b', server.access, skewed(3_600_000));
    proxy.faults = { request: () => 'stall', line: () => undefined };
    await expect.poll(only, { timeout: 10_000 }).toBe('b');
    expect(cutOff.leading).toBe(false);
    proxy.faults = undefined;
    proxy.release();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(only()).toBe('b');
    expect(most).toBe(1);
  });

  it('never has two leaders, whatever is cut off when and whoever ends', async () => {
    const step = fc.record({
      who: fc.nat({ max: 2 }),
      what: fc.constantFrom('stall' as const, 'reset' as const, 'unavailable' as const, 'heal' as const),
      forMs: fc.nat({ max: 400 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 8 }), async (steps) => {
        const proxies = await Promise.all(['a', 'b', 'c'].map(() => FaultyProxy.start(server.access)));
        for (const [index, proxy] of proxies.entries())
          candidate('abc'[index] ?? '', proxy.access, skewed(index * 9_999_999));
        for (const { who, what, forMs } of steps) {
          const proxy = proxies[who];
          if (proxy) proxy.faults = what === 'heal' ? undefined : { request: () => what, line: () => undefined };
          if (what === 'heal') proxy?.release();
          await new Promise((resolve) => setTimeout(resolve, forMs));
          expect(most).toBeLessThanOrEqual(1);
        }
        for (const proxy of proxies) {
          proxy.faults = undefined;
          proxy.release();
        }
        await expect.poll(only, { timeout: 10_000 }).toBeDefined();
        expect(most).toBe(1);
        for (const close of closing.splice(0).reverse()) await close();
        for (const proxy of proxies) await proxy.close();
      }),
      { numRuns: 6 },
    );
  }, 120_000);

  it('no longer leads when it was stopped longer than its lease lasts', async () => {
    let nowMs = 0;
    const clock: Clock = { nowMs: () => nowMs, after: systemClock.after };
    const election = candidate('a', server.access, clock);
    await expect.poll(() => election.leading).toBe(true);
    server.answerWith = () => true;
    await new Promise((resolve) => setTimeout(resolve, 100));
    nowMs += 600;
    expect(election.leading).toBe(false);
    expect(leaders.size).toBe(0);
    server.answerWith = undefined;
  });
});
