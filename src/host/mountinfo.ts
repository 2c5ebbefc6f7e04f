import type { MountEntry } from './host.ts';

/**
 * Reads /proc/<pid>/mountinfo; format: proc(5). Lines that do not have the form are left out.
 *
 * @param text the whole file
 */
export function parseMountinfo(text: string): readonly MountEntry[] {
  return text.split('\n').flatMap((line) => parseMountinfoLine(line) ?? []);
}

/** One line of mountinfo; undefined when it has not the form. */
export function parseMountinfoLine(line: string): MountEntry | undefined {
  const fields = line.split(' ');
  const [mountId, parentId, device, root, target, options] = fields;
  // A variable number of optional fields, then a hyphen.
  const hyphen = fields.indexOf('-', 6);
  const [filesystem, source, superOptions] = fields.slice(hyphen + 1);
  if (
    hyphen < 0 ||
    !mountId ||
    !parentId ||
    !device ||
    !root ||
    !target ||
    !options ||
    !filesystem ||
    source === undefined
  )
    return undefined;
  return {
    mountId: Number(mountId),
    parentId: Number(parentId),
    device,
    root: unescapeMount(root),
    target: unescapeMount(target),
    options: options.split(','),
    filesystem: unescapeMount(filesystem),
    source: unescapeMount(source),
    superOptions: (superOptions ?? '').split(',').filter((option) => option !== ''),
  };
}

/** Undoes the kernel's mangle_path(): space, tab, newline and backslash are written as three octal digits. */
function unescapeMount(text: string): string {
  if (!text.includes('\\')) return text;
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Parses again and again what changes little: lines that were there before are not parsed anew. */
export class MountinfoReader {
  #known = new Map<string, MountEntry>();
  #text = '';
  #entries: readonly MountEntry[] = [];

  read(text: string): readonly MountEntry[] {
    if (text === this.#text) return this.#entries;
    const next = new Map<string, MountEntry>();
    for (const line of text.split('\n')) {
      const entry = this.#known.get(line) ?? parseMountinfoLine(line);
      if (entry) next.set(line, entry);
    }
    this.#known = next;
    this.#text = text;
    this.#entries = [...next.values()];
    return this.#entries;
  }
}
