import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LineReader } from './protocol.ts';

describe('LineReader', () => {
  it('gives back the lines however they are cut into chunks', () => {
    const line = fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\n', ' '));
    fc.assert(
      fc.property(fc.array(line), fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }), (lines, cuts) => {
        const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(''));
        const reader = new LineReader();
        const got: string[] = [];
        for (let at = 0, n = 0; at < bytes.length; n += 1) {
          const length = cuts[n % cuts.length] ?? 1;
          got.push(...reader.push(bytes.subarray(at, at + length)));
          at += length;
        }
        expect(got).toEqual(lines.map((text) => Buffer.from(text).toString('utf8')));
      }),
    );
  });
});
