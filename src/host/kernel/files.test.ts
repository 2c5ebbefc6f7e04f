import { mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fileCalls } from './files.ts';

describe('resolve', () => {
  const kernel = fileCalls();
  let folder: string;
  const at = (name: string) => join(folder, name);
  beforeAll(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), 'azekura-files-')));
    writeFileSync(at('file'), '');
    for (const [name, target] of [
      ['link', 'file'],
      ['chain', at('link')],
      ['folder', '.'],
      ['dangling', 'gone'],
      ['round', 'round'],
    ] as const)
      symlinkSync(target, at(name));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(['file', 'link', 'chain', 'folder/file', 'folder/chain'])('follows %s to its end', (name) => {
    expect(kernel.resolve(at(name))).toBe(at('file'));
  });

  it.each(['gone', 'dangling', 'file/below'])('finds nothing at %s', (name) => {
    expect(kernel.resolve(at(name))).toBeUndefined();
  });

  it('refuses links that lead nowhere', () => {
    expect(() => kernel.resolve(at('round'))).toThrow(/ELOOP/);
  });
});
