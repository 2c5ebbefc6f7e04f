import { gzipSync } from 'node:zlib';

const blockBytes = 512;

export interface TarFile {
  /** At most 100 bytes of ASCII. */
  readonly name: string;
  readonly text: string;
}

/**
 * Packs small text files into a .tar.gz in the POSIX ustar format (IEEE Std 1003.1, pax, "ustar Interchange Format").
 *
 * @param modifiedMs time stamp of every file, milliseconds since the epoch
 */
export function tarGz(files: readonly TarFile[], modifiedMs: number): Uint8Array {
  const blocks: Buffer[] = [];
  for (const { name, text } of files) {
    const content = Buffer.from(text, 'utf8');
    blocks.push(
      header(name, content.length, modifiedMs),
      content,
      Buffer.alloc((blockBytes - (content.length % blockBytes)) % blockBytes),
    );
  }
  blocks.push(Buffer.alloc(2 * blockBytes));
  return gzipSync(Buffer.concat(blocks));
}

function header(name: string, sizeBytes: number, modifiedMs: number): Buffer {
  const block = Buffer.alloc(blockBytes);
  const octal = (value: number, width: number) =>
    `${Math.floor(value)
      .toString(8)
      .padStart(width - 1, '0')}\0`;
  block.write(name, 0, 100, 'ascii');
  block.write(octal(0o600, 8), 100);
  block.write(octal(0, 8), 108);
  block.write(octal(0, 8), 116);
  block.write(octal(sizeBytes, 12), 124);
  block.write(octal(modifiedMs / 1_000, 12), 136);
  // The checksum counts its own field as eight spaces.
  block.write('        ', 148);
  block.write('0', 156);
  block.write('ustar\x0000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}
