import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatBytes, parseQuantity, roundUp } from './quantity.ts';

describe('parseQuantity()', () => {
  it.each([
    ['10Gi', 10 * 2 ** 30],
    ['1.5G', 1_500_000_000],
    ['4096', 4096],
    [' 1Ki ', 1024],
    ['7Pi', 7 * 2 ** 50],
    ['0.1', 1],
  ])('reads %s', (text, bytes) => {
    expect(parseQuantity(text)).toEqual({ ok: true, bytes });
  });

  it.each([
    ['ten', /is not a size/],
    ['', /is not a size/],
    ['10Gb', /unknown unit "Gb"/],
    ['0', /greater than zero/],
    ['-5Gi', /greater than zero/],
    ['9223372036854775808', /too large/],
    ['1e400', /is not a size|unknown unit/],
    ['1Gi; rm -rf /', /is not a size/],
  ])('refuses %j with one clause', (text, problem) => {
    const parsed = parseQuantity(text);
    expect(parsed.ok).toBe(false);
    expect(parsed.ok === false && parsed.problem).toMatch(problem);
  });

  it('reads back what formatBytes() wrote of whole units', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1023 }), fc.constantFrom('Ki', 'Mi', 'Gi', 'Ti'), (count, unit) => {
        const parsed = parseQuantity(`${count}${unit}`);
        expect(parsed.ok && formatBytes(parsed.bytes)).toBe(`${count}${unit}`);
      }),
    );
  });
});

describe('roundUp()', () => {
  it('gives the next multiple', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 4096 }), (bytes, multiple) => {
        const rounded = roundUp(bytes, multiple);
        expect(rounded % multiple).toBe(0);
        expect(rounded - bytes).toBeGreaterThanOrEqual(0);
        expect(rounded - bytes).toBeLessThan(multiple);
      }),
    );
  });
});
