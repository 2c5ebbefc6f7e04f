import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MultiIndex } from './multi-index.ts';

describe('MultiIndex', () => {
  it('says the same as a plain list, whatever is put where', () => {
    const step = fc.tuple(
      fc.constantFrom('a', 'b', 'c', 'd'),
      fc.option(fc.constantFrom('g', 'h'), { nil: undefined }),
    );
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const index = new MultiIndex();
        const plain = new Map<string, string>();
        for (const [member, group] of steps) {
          index.set(member, group);
          if (group === undefined) plain.delete(member);
          else plain.set(member, group);
        }
        for (const group of ['g', 'h']) {
          const wanted = [...plain].filter(([, of]) => of === group).map(([member]) => member);
          expect([...index.members(group)].sort()).toEqual(wanted.sort());
          expect(index.count(group)).toBe(wanted.length);
        }
        expect([...index.groups()].sort()).toEqual([...new Set(plain.values())].sort());
        for (const member of 'abcd') expect(index.groupOf(member)).toBe(plain.get(member));
      }),
    );
  });
});
