import { randomBytes, randomUUID } from 'node:crypto';

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * A short random identifier of 80 bits in Crockford base 32 (16 characters): safe as a file name, an LV name and a
 * device name, and unlike to be mistaken when read aloud.
 */
export function shortId(): string {
  let id = '';
  for (const byte of randomBytes(16)) id += alphabet[byte & 31];
  return id;
}

/** A random RFC 4122 UUID, the form of an object's uid. */
export function newUid(): string {
  return randomUUID();
}
