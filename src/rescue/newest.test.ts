import { describe, expect, it } from 'vitest';
import { chooseSnapshot, chooseVolume } from './choose.ts';
import { markNewest } from './newest.ts';
import type { RescuedVolume } from './report.ts';

function volume(
  part: Partial<RescuedVolume> & { readonly name?: string; readonly uid?: string; readonly generation?: number } = {},
): RescuedVolume {
  const { name = 'db', uid = 'uid-1', generation = 1, ...rest } = part;
  return {
    volumeId: 'v1',
    place: '/a',
    file: `volumes/${rest.volumeId ?? 'v1'}/data`,
    identity: {
      name,
      uid,
      volumeId: rest.volumeId ?? 'v1',
      sizeBytes: 1,
      className: 'local-xfs',
      mode: 'filesystem',
      provisioning: 'thin',
      createdAt: '2026-01-01T00:00:00.000Z',
      generation,
    },
    sizeBytes: 1,
    allocatedBytes: 1,
    modifiedAt: '2026-01-01T00:00:00.000Z',
    recycled: false,
    newest: true,
    copies: 1,
    snapshots: [],
    ...rest,
  };
}

/** The same, with an identity file that cannot be read. */
function unlabelled(part: Partial<RescuedVolume>): RescuedVolume {
  const { identity: _lost, ...rest } = volume(part);
  return { ...rest, problem: 'identity unreadable' };
}

describe('markNewest', () => {
  it('chooses by generation before the time of the last write', () => {
    const old = volume({ place: '/old', generation: 3, modifiedAt: '2026-09-01T00:00:00.000Z' });
    const young = volume({ place: '/young', generation: 4, modifiedAt: '2026-02-01T00:00:00.000Z' });
    const marked = markNewest([old, young]);
    expect(marked.map(({ place, newest, copies }) => [place, newest, copies])).toEqual([
      ['/young', true, 2],
      ['/old', false, 2],
    ]);
  });

  it('chooses the last written of equal generations', () => {
    const first = volume({ place: '/first', modifiedAt: '2026-02-01T00:00:00.000Z' });
    const second = volume({ place: '/second', modifiedAt: '2026-03-01T00:00:00.000Z' });
    expect(markNewest([first, second]).find(({ newest }) => newest)?.place).toBe('/second');
  });

  it('prefers a living copy to a recycled one of a later generation', () => {
    const recycled = volume({ place: '/bin', recycled: true, generation: 9 });
    const living = volume({ place: '/live', generation: 2 });
    expect(markNewest([recycled, living]).find(({ newest }) => newest)?.place).toBe('/live');
  });

  it('tells volumes apart that share nothing but their name', () => {
    const marked = markNewest([volume({ uid: 'u1', volumeId: 'v1' }), volume({ uid: 'u2', volumeId: 'v2' })]);
    expect(marked.every(({ newest, copies }) => newest && copies === 1)).toBe(true);
  });
});

describe('chooseVolume', () => {
  it('finds by name, id, uid and claim', () => {
    const claimed = volume();
    const withClaim: RescuedVolume = {
      ...claimed,
      ...(claimed.identity ? { identity: { ...claimed.identity, claim: { namespace: 'shop', name: 'data' } } } : {}),
    };
    for (const word of ['db', 'v1', 'uid-1', 'shop/data']) expect(chooseVolume([withClaim], word)).toBe(withClaim);
  });

  it('finds a volume without a readable identity by its id', () => {
    const lost = unlabelled({ volumeId: 'v7' });
    expect(chooseVolume(markNewest([lost]), 'v7').volumeId).toBe('v7');
  });

  it('refuses to guess between two volumes of one name, and names their ids', () => {
    const volumes = markNewest([volume({ uid: 'u1', volumeId: 'v1' }), volume({ uid: 'u2', volumeId: 'v2' })]);
    expect(() => chooseVolume(volumes, 'db')).toThrow(
      expect.objectContaining({ code: 'InvalidArgument', next: expect.stringContaining('v1, v2') }),
    );
  });

  it('takes the living volume when a recycled one has the same name', () => {
    const volumes = markNewest([
      volume({ uid: 'u1', volumeId: 'v1', recycled: true }),
      volume({ uid: 'u2', volumeId: 'v2' }),
    ]);
    expect(chooseVolume(volumes, 'db').volumeId).toBe('v2');
  });

  it('says NotFound for what is not there', () => {
    expect(() => chooseVolume([], 'db')).toThrow(expect.objectContaining({ code: 'NotFound' }));
    expect(() => chooseSnapshot(volume(), 'monday')).toThrow(expect.objectContaining({ code: 'NotFound' }));
  });
});
