/** The CRC-32C (Castagnoli) checksum that ext4, XFS and our own files use: reflected polynomial 0x82F63B78. */

const table = new Uint32Array(256);
for (let index = 0; index < 256; index++) {
  let remainder = index;
  for (let bit = 0; bit < 8; bit++) remainder = remainder & 1 ? (remainder >>> 1) ^ 0x82f63b78 : remainder >>> 1;
  table[index] = remainder >>> 0;
}

/**
 * Carries the checksum's register over more bytes, without the final inversion: what ext4 stores as it is and XFS
 * inverted.
 *
 * @param register 0xffffffff to start with, or the result of an earlier call to go on
 */
export function crc32cRegister(bytes: Uint8Array, register = 0xffffffff): number {
  let value = register;
  for (const byte of bytes) value = (value >>> 8) ^ (table[(value ^ byte) & 0xff] ?? 0);
  return value >>> 0;
}

/** The usual CRC-32C of RFC 3720 §B.4: "123456789" gives 0xe3069283. */
export function crc32c(bytes: Uint8Array): number {
  return ~crc32cRegister(bytes) >>> 0;
}
