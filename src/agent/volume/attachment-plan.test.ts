import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AttachmentStep, planAttachment, type SeenAttachment, type WantedAttachment } from './attachment-plan.ts';

const paths = ['/a', '/b', '/c'] as const;
const state = fc.constantFrom('none', 'ours', 'stale', 'foreign');

/** What can be seen: nothing is mounted from a device that is not there. */
const seen: fc.Arbitrary<SeenAttachment> = fc
  .record({
    device: fc.option(fc.record({ path: fc.constant('/dev/loop1'), readOnly: fc.boolean() }), { nil: undefined }),
    staging: fc.constantFrom('none', 'ours', 'stale'),
    stagingReadOnly: fc.boolean(),
    publications: fc.array(fc.tuple(fc.constantFrom(...paths), fc.record({ state, readOnly: fc.boolean() }))),
    recorded: fc.subarray([...paths]),
  })
  .map((one) => ({ ...one, publications: new Map(one.publications) }) as SeenAttachment)
  .filter(
    (one) =>
      one.device !== undefined ||
      (one.staging !== 'ours' && [...one.publications.values()].every((at) => at.state !== 'ours')),
  );

const wanted: fc.Arbitrary<WantedAttachment> = fc.record({
  attached: fc.boolean(),
  access: fc.constantFrom('filesystem', 'block'),
  readOnly: fc.boolean(),
  staged: fc.boolean(),
  madeWhenStaged: fc.boolean(),
  published: fc.uniqueArray(
    fc.record({
      path: fc.constantFrom(...paths),
      readOnly: fc.boolean(),
      mountGroup: fc.option(fc.nat(9), { nil: undefined }),
    }),
    {
      selector: (one) => one.path,
    },
  ),
});

/** What the machine looks like after a step. Throws where the kernel would refuse. */
function apply(now: SeenAttachment, step: AttachmentStep, want: WantedAttachment): SeenAttachment {
  const publications = new Map(now.publications);
  const busy = () =>
    now.staging !== 'none' || [...publications.values()].some((one) => one.state === 'ours' || one.state === 'stale');
  switch (step.do) {
    case 'attach':
      if (now.device) throw new Error('attached already');
      return { ...now, device: { path: '/dev/loop1', readOnly: want.readOnly } };
    case 'detach':
      if (busy()) throw new Error('detached while mounted');
      return { ...now, device: undefined };
    case 'stage':
      if (!now.device || now.staging !== 'none') throw new Error('staged in the wrong state');
      return { ...now, staging: 'ours', stagingReadOnly: want.readOnly };
    case 'unstage':
      return { ...now, staging: 'none' };
    case 'publish': {
      const there = publications.get(step.path)?.state ?? 'none';
      if (there === 'foreign') return now;
      if (there !== 'none') throw new Error('published over something');
      if (want.access === 'filesystem' && now.staging !== 'ours') throw new Error('published before it was staged');
      if (!now.device) throw new Error('published without a device');
      publications.set(step.path, { state: 'ours', readOnly: step.readOnly });
      return { ...now, publications, recorded: [...new Set([...now.recorded, step.path])] };
    }
    case 'unpublish': {
      const there = publications.get(step.path)?.state ?? 'none';
      if (step.mounted && there === 'foreign') throw new Error("unmounted somebody else's mount");
      if (step.mounted) publications.set(step.path, { state: 'none', readOnly: false });
      return { ...now, publications, recorded: now.recorded.filter((path) => path !== step.path) };
    }
  }
}

describe('planAttachment', () => {
  it('leads from whatever is seen to what is wanted, in an order that the kernel accepts, and is empty then', () => {
    fc.assert(
      fc.property(seen, wanted, (before, want) => {
        let now = before;
        for (const step of planAttachment(want, now)) now = apply(now, step, want);
        const foreign = [...before.publications].filter(([, at]) => at.state === 'foreign').map(([path]) => path);
        for (const path of foreign) expect(now.publications.get(path)?.state).toBe('foreign');
        if (!want.attached) {
          expect(now.device).toBeUndefined();
          expect(now.staging).toBe('none');
          expect(now.recorded).toEqual([]);
        } else {
          // A device that waits for its staging may be there already, and stays.
          if (want.staged || !want.madeWhenStaged || now.device) expect(now.device?.readOnly).toBe(want.readOnly);
          if (!want.staged && want.madeWhenStaged && !before.device) expect(now.device).toBeUndefined();
          expect(now.staging).toBe(want.access === 'filesystem' && want.staged ? 'ours' : 'none');
          const shown = [...now.publications].filter(([, at]) => at.state === 'ours').map(([path]) => path);
          const wish = want.staged
            ? want.published.map((one) => one.path).filter((path) => !foreign.includes(path))
            : [];
          expect(shown.sort()).toEqual([...wish].sort());
        }
        const again = planAttachment(want, now).filter((step) => !('path' in step) || !foreign.includes(step.path));
        expect(again).toEqual([]);
      }),
      { numRuns: 2_000 },
    );
  });

  it('gives a file system to the group that is asked for before it is seen, and never one that is only read', () => {
    fc.assert(
      fc.property(seen, wanted, (before, want) => {
        for (const step of planAttachment(want, before)) {
          if (step.do !== 'publish') continue;
          const asked = want.published.find((one) => one.path === step.path);
          const given = want.access === 'filesystem' && !step.readOnly ? asked?.mountGroup : undefined;
          expect(step.mountGroup).toBe(given);
        }
      }),
    );
  });

  it('survives an end after any step: what is left is planned again from what is seen then', () => {
    fc.assert(
      fc.property(seen, wanted, fc.nat(10), (before, want, count) => {
        let now = before;
        for (const step of planAttachment(want, now).slice(0, count)) now = apply(now, step, want);
        for (const step of planAttachment(want, now)) now = apply(now, step, want);
        const waits = want.madeWhenStaged && !want.staged;
        if (!waits) expect(now.device === undefined).toBe(!want.attached);
        else if (!want.attached || !before.device) expect(now.device).toBeUndefined();
      }),
    );
  });
});
