import { readSync, writeSync } from 'node:fs';
import { AzekuraError } from '../../model/errors.ts';

/** Reads exactly so many bytes; undefined when the file ends before. */
export function readAt(fd: number, offsetBytes: number, lengthBytes: number): Buffer | undefined {
  const buffer = Buffer.alloc(lengthBytes);
  let done = 0;
  while (done < lengthBytes) {
    const count = readSync(fd, buffer, done, lengthBytes - done, offsetBytes + done);
    if (count === 0) return undefined;
    done += count;
  }
  return buffer;
}

/** Reads exactly so many bytes. @throws AzekuraError DataLoss when the file ends before */
export function mustReadAt(fd: number, offsetBytes: number, lengthBytes: number, what: string): Buffer {
  const buffer = readAt(fd, offsetBytes, lengthBytes);
  if (!buffer) throw damaged(`${what} at byte ${offsetBytes} lies beyond the end of the device`);
  return buffer;
}

/** Writes all of the bytes. */
export function writeAt(fd: number, offsetBytes: number, bytes: Uint8Array): void {
  let done = 0;
  while (done < bytes.length) done += writeSync(fd, bytes, done, bytes.length - done, offsetBytes + done);
}

export function damaged(problem: string): AzekuraError {
  return new AzekuraError('DataLoss', `the file system is damaged: ${problem}`, {
    next: 'check it with xfs_repair -n or e2fsck -n; nothing was written to it',
  });
}

/** The text form of the 16 bytes of a UUID (RFC 4122). */
export function formatUuid(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-');
}

/** The 16 bytes of a UUID. @throws AzekuraError InvalidArgument for what is none, and for the null UUID */
export function parseUuid(text: string): Buffer {
  const valid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text) && !/^[0-]+$/.test(text);
  if (!valid) throw new AzekuraError('InvalidArgument', `"${text.slice(0, 64)}" is not a UUID`);
  return Buffer.from(text.replaceAll('-', ''), 'hex');
}
