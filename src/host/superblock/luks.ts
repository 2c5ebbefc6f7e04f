import type { FilesystemFacts } from './facts.ts';
import { readAt } from './io.ts';

/** Both copies of LUKS2's binary header with 16 KiB of metadata each (LUKS2 On-Disk Format, 3.1): magic, then big-endian. */
const copies = [
  { offsetBytes: 0, magic: 'LUKS\xba\xbe' },
  { offsetBytes: 16_384, magic: 'SKUL\xba\xbe' },
] as const;
const headBytes = 512;
const at = { version: 6, uuid: 168 } as const;
const uuidBytes = 40;

/** What the header of LUKS2 says; undefined when there is none. Its checksum is cryptsetup's to check. */
export function probeLuks(fd: number): FilesystemFacts | undefined {
  for (const { offsetBytes, magic } of copies) {
    const head = readAt(fd, offsetBytes, headBytes);
    if (head?.toString('latin1', 0, magic.length) !== magic || head.readUInt16BE(at.version) !== 2) continue;
    const uuid = head.toString('latin1', at.uuid, at.uuid + uuidBytes).replace(/\0.*$/s, '');
    return { filesystem: 'crypto_LUKS', uuid, clean: true, sizeBytes: 0 };
  }
  return undefined;
}
