import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sameJson } from './same-json.ts';

const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom(null, true, 0, 1, '', 'a'),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.oneof(tie('value'), fc.constant(undefined)), {
      noNullPrototype: true,
    }),
  ),
})).value;

describe('sameJson', () => {
  it('agrees with a comparison of what JSON keeps', () => {
    fc.assert(
      fc.property(value, value, (one, other) => {
        const kept = (of: unknown) => JSON.parse(JSON.stringify(of));
        expect(sameJson(one, other)).toBe(isDeepStrictEqual(kept(one), kept(other)));
        expect(sameJson(one, kept(one))).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  it('does not care for the order of keys', () => {
    expect(sameJson({ a: 1, b: [2] }, { b: [2], c: undefined, a: 1 })).toBe(true);
    expect(sameJson({ a: 1 }, { a: 1, b: 2 })).toBe(false);
    expect(sameJson([1, 2], [2, 1])).toBe(false);
  });
});
