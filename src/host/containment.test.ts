import { describe, expect, it } from 'vitest';
import { systemClock } from '../lib/clock.ts';
import { Containment } from './containment.ts';

describe('containment', () => {
  it('refuses a hung domain and what lies in it, until the process is gone', () => {
    const containment = new Containment({ ...systemClock, nowMs: () => 42_000 });
    const release = containment.add({ domain: 'pool/a', call: 'fsync', sinceMs: 2_000, pid: 7 });
    expect(containment.refusal('pool/a')).toMatchObject({ code: 'Unavailable', blame: { code: 'HungCall' } });
    expect(containment.refusal('pool/a/volume')?.message).toContain('fsync on pool/a has not answered for 40 s');
    for (const domain of ['pool', 'pool/ab', 'volume/a']) expect(containment.refusal(domain)).toBeUndefined();
    expect(containment.list()).toHaveLength(1);
    release();
    expect(containment.refusal('pool/a')).toBeUndefined();
  });

  it('refuses a whole kind of domains rather than let hung processes fill the machine', () => {
    const containment = new Containment(systemClock);
    const releases = Array.from({ length: 64 }, (_, n) =>
      containment.add({ domain: `volume/${n}`, call: 'fsync', sinceMs: 0, pid: n }),
    );
    expect(containment.refusal('volume/new')).toMatchObject({ blame: { code: 'HungCall' } });
    expect(containment.refusal('pool/a')).toBeUndefined();
    releases[0]?.();
    expect(containment.refusal('volume/new')).toBeUndefined();
  });
});
