import fc from 'fast-check';
import { expect, it } from 'vitest';
import { backoffMs } from './backoff.ts';

it('backoffMs() stays between half and the whole of its ceiling, which doubles up to the cap', () => {
  fc.assert(
    fc.property(fc.nat(200), fc.double({ min: 0, max: 0.999, noNaN: true }), (attempt, random) => {
      const ms = backoffMs(attempt, { baseMs: 100, capMs: 5_000, random: () => random });
      const ceiling = Math.min(5_000, 100 * 2 ** Math.min(attempt, 30));
      expect(ms).toBeGreaterThanOrEqual(ceiling / 2 - 1);
      expect(ms).toBeLessThanOrEqual(ceiling + 1);
    }),
  );
});
