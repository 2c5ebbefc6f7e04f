/** Tar archives with fixed times and owners, so that the same content gives the same bytes. Format: POSIX ustar and pax. */
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';

interface Entry {
  readonly type: '0' | '2' | '5' | 'x';
  readonly mode: number;
  readonly sizeBytes?: number;
  readonly link?: string;
}

/** One header; a pax record in front of it where a name is too long for ustar. */
function header(name: string, { type, mode, sizeBytes = 0, link = '' }: Entry): Buffer {
  const long = Object.entries({ path: name, linkpath: link }).filter(([, value]) => Buffer.byteLength(value) > 99);
  const before: Buffer[] = [];
  if (long.length > 0 && type !== 'x') {
    const body = Buffer.from(long.map(([key, value]) => paxRecord(key, value)).join(''));
    before.push(header('pax', { type: 'x', mode: 0o644, sizeBytes: body.length }), padded(body));
  }
  const block = Buffer.alloc(512);
  const octal = (value: number, at: number, length: number): number =>
    block.write(value.toString(8).padStart(length - 1, '0'), at);
  block.write(name, 0, 100);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(sizeBytes, 124, 12);
  octal(0, 136, 12);
  block.write('        ', 148);
  block.write(type, 156);
  block.write(link, 157, 100);
  block.write('ustar\0' + '00', 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([...before, block]);
}

/** "LENGTH KEY=VALUE\n", where LENGTH counts itself. */
function paxRecord(key: string, value: string): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + String(rest).length;
  length = rest + String(length).length;
  return `${length} ${key}=${value}\n`;
}

function padded(data: Buffer): Buffer {
  return data.length % 512 === 0 ? data : Buffer.concat([data, Buffer.alloc(512 - (data.length % 512))]);
}

/** Collects entries; of several with the same path the first stays. Folders on the way are made as needed. */
export class Tar {
  readonly #parts: Buffer[] = [];
  readonly #seen = new Set<string>();

  folder(path: string, mode = 0o755): void {
    const name = path.replaceAll(/^\/+|\/+$/g, '');
    if (name === '' || name === '.' || this.#seen.has(name)) return;
    this.folder(dirname(name));
    this.#seen.add(name);
    this.#parts.push(header(`${name}/`, { type: '5', mode }));
  }

  link(path: string, target: string): void {
    const name = this.#claim(path);
    if (name !== undefined) this.#parts.push(header(name, { type: '2', mode: 0o777, link: target }));
  }

  file(path: string, data: Buffer, mode = 0o644): void {
    const name = this.#claim(path);
    if (name === undefined) return;
    this.#parts.push(header(name, { type: '0', mode, sizeBytes: data.length }), padded(data));
  }

  /** A file, a link or a folder with everything in it, as it is on this machine. */
  copy(source: string, path: string): void {
    const stat = lstatSync(source);
    if (stat.isSymbolicLink()) this.link(path, readlinkSync(source));
    else if (stat.isDirectory()) {
      this.folder(path, stat.mode & 0o7777);
      for (const name of readdirSync(source).sort()) this.copy(join(source, name), join(path, name));
    } else if (stat.isFile()) this.file(path, readFileSync(source), stat.mode & 0o7777);
  }

  bytes(): Buffer {
    return Buffer.concat([...this.#parts, Buffer.alloc(1024)]);
  }

  #claim(path: string): string | undefined {
    const name = path.replace(/^\/+/, '');
    if (this.#seen.has(name)) return undefined;
    this.folder(dirname(name));
    this.#seen.add(name);
    return name;
  }
}
