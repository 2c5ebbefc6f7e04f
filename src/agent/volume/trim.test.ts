import { afterEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../lib/fake-clock.ts';
import { Policy } from '../../model/policy.ts';
import { change } from '../../store/change.ts';
import { AgentFixture } from '../fixture.ts';
import { trimDueMs } from './trim.ts';

const day = 24 * 3_600_000;
const made = '2026-01-01T00:00:00.000Z';
const replica = (volumeId: string, trimMs?: number, at?: string) => ({
  metadata: { creationTimestamp: made } as never,
  spec: { volumeId, policy: Policy.parse(trimMs === undefined ? {} : { trimMs }) } as never,
  status: (at === undefined ? {} : { trim: { at, trimmedBytes: 0 } }) as never,
});

describe('the time of a trim', () => {
  it('comes once a week, spread over days, and not at all when it is not wanted', () => {
    const due = Array.from({ length: 200 }, (_, n) => (trimDueMs(replica(`v${n}`)) ?? 0) - Date.parse(made));
    expect(Math.min(...due)).toBeGreaterThanOrEqual(5 * day);
    expect(Math.max(...due)).toBeLessThanOrEqual(9 * day);
    // No tenth of that time has more than a quarter of the volumes.
    const tenths = due.map((ms) => Math.floor(((ms - 5.25 * day) / (3.5 * day)) * 10));
    for (let tenth = 0; tenth < 10; tenth++) expect(tenths.filter((one) => one === tenth).length).toBeLessThan(50);
    expect(trimDueMs(replica('v', 0))).toBeUndefined();
  });

  it('counts from the last one', () => {
    const first = trimDueMs(replica('v', day)) ?? 0;
    const second = trimDueMs(replica('v', day, '2026-03-01T00:00:00.000Z')) ?? 0;
    expect(second - first).toBe(Date.parse('2026-03-01T00:00:00.000Z') - Date.parse(made));
  });
});

describe('trimming', () => {
  let fixture: AgentFixture;
  afterEach(() => fixture.close());
  const trims = async () =>
    (await fixture.store.list('Task')).items.filter(({ spec }) => spec.verb === 'TrimVolume').map(({ spec }) => spec);

  it('is done when it is asked for, once, and the task names the request', async () => {
    fixture = await AgentFixture.open();
    await fixture.addReadyReplica('db');
    await fixture.attachReady('db');
    await change(fixture.store, 'Replica', 'db-0', ({ spec }) => ({
      metadata: { annotations: { 'azekura.dev/request-id': 'r1' } },
      spec: { ...spec, trim: { requestId: 't1' } },
    }));
    await fixture.until('Replica', 'db-0', (one) => one?.status.trim?.requestId === 't1');
    await fixture.stop();
    await fixture.start();
    await change(fixture.store, 'Replica', 'db-0', ({ spec }) => ({ spec: { ...spec, volumeGeneration: 9 } }));
    await fixture.until('Replica', 'db-0', (one) => one?.status.observedGeneration === one?.metadata.generation);
    expect(await trims()).toMatchObject([{ requestId: 'r1', subject: { name: 'db' } }]);
  });

  it('comes by itself when it is due: of what is thin, mounted and writable, on a pool that is well', async () => {
    const clock = new FakeClock(Date.now());
    fixture = await AgentFixture.open({ clock });
    const policy = (part: object) => ({ policy: Policy.parse({ trimMs: day, ...part }) });
    await fixture.addReadyReplica('thin', policy({}));
    await fixture.addReadyReplica('thick', policy({ provisioning: 'thick' }));
    await fixture.addReadyReplica('never', policy({ trimMs: 0 }));
    await fixture.addReadyReplica('shown', policy({}));
    await fixture.addReadyReplica('idle', policy({}));
    for (const name of ['thin', 'thick', 'never']) await fixture.attachReady(name);
    await fixture.attachReady('shown', { readOnly: true });
    await clock.advance(day / 2);
    expect(await trims()).toEqual([]);
    await clock.advance(day);
    await expect
      .poll(async () => {
        await clock.advance(60_000);
        return (await trims()).map(({ subject }) => subject.name);
      })
      .toEqual(['thin']);
    // While its pool hangs nothing is asked of it, and afterwards the trim is made up for.
    fixture.host.hangNext('statfs');
    await expect(fixture.host.kernel('pool/main').statfs('/disk')).rejects.toThrow();
    for (let hour = 0; hour < 40; hour++) await clock.advance(day / 24);
    expect(await trims()).toHaveLength(1);
    fixture.host.releaseHangs();
    await expect
      .poll(async () => {
        await clock.advance(day / 24);
        return (await trims()).length;
      })
      .toBe(2);
  });
});
