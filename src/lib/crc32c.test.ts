import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c, crc32cRegister } from './crc32c.ts';

describe('crc32c', () => {
  it('gives the check values of RFC 3720 §B.4', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
    expect(crc32c(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43);
  });

  it('can be carried on over any split', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(300), (bytes, at) => {
        expect(crc32cRegister(bytes.subarray(at), crc32cRegister(bytes.subarray(0, at)))).toBe(crc32cRegister(bytes));
      }),
    );
  });

  it('notices every flipped bit', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 100 }), fc.nat(), (bytes, bit) => {
        const flipped = Uint8Array.from(bytes);
        const at = (bit >> 3) % bytes.length;
        flipped[at] = (flipped[at] ?? 0) ^ (1 << (bit & 7));
        expect(crc32c(flipped)).not.toBe(crc32c(bytes));
      }),
    );
  });
});
